from pathlib import Path

import pytest
import torch

from examples.video import data, splits
from examples.video.config import Data
from tests.examples.video.test_folder import frames_of, needs_av, write

UCF = {"train": ("Run/a", "Run/b", "Wave/c"), "test": ("Run/d", "Wave/e")}


@pytest.fixture
def ucf(tmp_path: Path) -> Data:
    """Five videos in the form of UCF-101, each a brightness of its own."""
    (tmp_path / "lists").mkdir()
    names = {"Run": 1, "Wave": 2}
    for number, name in enumerate((*UCF["train"], *UCF["test"])):
        write(tmp_path / "videos" / f"{name}.avi", frames_of(7, 20 * number))
    training = [f"{name}.avi {names[name.split('/')[0]]}" for name in UCF["train"]]
    (tmp_path / "lists" / "trainlist02.txt").write_text("\n".join(training) + "\n")
    (tmp_path / "lists" / "testlist02.txt").write_text("\r\n".join(f"{name}.avi" for name in UCF["test"]) + "\n\n")
    return Data(
        name="ucf101",
        path=str(tmp_path / "videos"),
        split_path=str(tmp_path / "lists"),
        split=2,
        frames=2,
        length=3,
        stride=2,
        img_size=8,
    )


@needs_av
def test_ucf101_is_divided_as_its_lists_say(ucf: Data) -> None:
    training, test = data.load(ucf)
    assert training.names == test.names == ("Run", "Wave")
    assert training.labels is not None
    assert test.labels is not None
    assert training.labels.tolist() == [0, 0, 1]
    assert test.labels.tolist() == [0, 1]
    # Every second frame around the middle of seven; the brightness rises by ten a frame.
    assert training.images[:, :, 0, 0, 0].tolist() == [[x + 10, x + 30, x + 50] for x in (0, 20, 40)]
    assert test.images[:, 0, 0, 0, 0].tolist() == [70, 90]


@needs_av
def test_hmdb51_is_divided_as_its_lists_say(tmp_path: Path) -> None:
    lists = {"run": "a b.avi 1\nc.avi 2 \nd.avi 0\n", "wave": "e#1.avi 2\nf.avi 1\n"}
    for label, lines in lists.items():
        (tmp_path / f"{label}_test_split1.txt").write_text(lines)
        (tmp_path / f"{label}_test_split2.txt").write_text("")
    for number, name in enumerate(("run/a b", "run/c", "wave/e#1", "wave/f")):
        write(tmp_path / f"{name}.avi", frames_of(3, 20 * number))
    settings = Data(name="hmdb51", path=str(tmp_path), split_path=str(tmp_path), frames=3, img_size=8)
    training, test = data.load(settings)
    assert [part.images[:, 0, 0, 0, 0].tolist() for part in (training, test)] == [[0, 60], [20, 40]]
    assert [labels.tolist() for part in (training, test) if (labels := part.labels) is not None] == [[0, 1], [0, 1]]


def test_videos_that_are_missing_are_named(ucf: Data) -> None:
    (Path(ucf.path) / "Run" / "b.avi").unlink()
    with pytest.raises(ValueError, match=r"trainlist02.txt names 1 videos .* such as Run/b.avi. Set DATA.path"):
        data.load(ucf)


@needs_av
def test_a_video_that_cannot_be_decoded_is_named_and_left_out(ucf: Data) -> None:
    (Path(ucf.path) / "Run" / "b.avi").write_bytes(b"no video")
    with pytest.warns(UserWarning, match=r"1 of 3 videos are left out: .*b.avi cannot be decoded"):
        training, _ = data.load(ucf)
    assert training.labels is not None
    assert training.labels.tolist() == [0, 1]


@needs_av
def test_a_video_that_is_too_short_is_named(ucf: Data) -> None:
    write(Path(ucf.path) / "Run" / "b.avi", frames_of(2))
    with pytest.raises(ValueError, match=r"b.avi has 2 frames, 3 are asked for. Lower DATA.length or DATA.frames"):
        data.load(ucf)


def test_split_files_that_cannot_be_used_are_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"no split file .*trainlist01.txt; DATA.split_path is the folder"):
        splits.ucf101(tmp_path, 1)
    (tmp_path / "trainlist01.txt").write_text("a.avi 1\n")
    with pytest.raises(
        ValueError, match=r"line 1 of .*trainlist01.txt must begin with <class>/<video>.avi, got 'a.avi'"
    ):
        splits.ucf101(tmp_path, 1)
    (tmp_path / "trainlist01.txt").write_text("\n")
    with pytest.raises(ValueError, match=r"trainlist01.txt names no video"):
        splits.ucf101(tmp_path, 1)
    with pytest.raises(ValueError, match=r"has no file <class>_test_split1.txt"):
        splits.hmdb51(tmp_path, 1)
    (tmp_path / "run_test_split1.txt").write_text("a.avi 1\nb.avi 3\n")
    with pytest.raises(
        ValueError, match=r"line 2 of .*run_test_split1.txt must be a video and 0, 1 or 2, got 'b.avi 3'"
    ):
        splits.hmdb51(tmp_path, 1)
    (tmp_path / "run_test_split1.txt").write_text("a.avi 1\n")
    with pytest.raises(ValueError, match=r"mark no video with 2, for test"):
        splits.hmdb51(tmp_path, 1)


@needs_av
def test_a_class_without_training_videos_is_refused(ucf: Data) -> None:
    path = Path(ucf.split_path) / "trainlist02.txt"
    path.write_text("Run/a.avi 1\nRun/b.avi 1\n")
    with pytest.raises(
        ValueError, match=r"testlist02.txt has the classes \['Wave'\], of which .*trainlist02.txt has no"
    ):
        data.load(ucf)


def test_frames_are_taken_around_the_middle_or_spread() -> None:
    from examples.video.decoding import places

    assert places(9, 3, 0) == [0, 4, 8]
    assert places(9, 3, 1) == [3, 4, 5]
    assert places(9, 3, 3) == [1, 4, 7]
    assert places(7, 3, 3) == [0, 3, 6]
    assert places(6, 3, 3) == [0, 2, 5]  # too short for every third
    assert torch.tensor(places(100, 7, 5)).diff().tolist() == [5] * 6
