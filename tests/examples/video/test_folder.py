import builtins
import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from examples.video import data, decoding, folder
from examples.video.config import Data

needs_av = pytest.mark.skipif(
    importlib.util.find_spec("av") is None,
    reason='writing and reading clips needs PyAV: pip install "nda-augment[video]"',
)


def frames_of(count: int, brightness: int = 0, height: int = 16, width: int = 24) -> np.ndarray[Any, Any]:
    """Frames of one grey each, which gets brighter from frame to frame; the left and right edges are white."""
    frames = np.full((count, height, width, 3), 255, np.uint8)
    frames[:, :, 4:-4] = (brightness + 10 * np.arange(count, dtype=np.uint8))[:, None, None, None]
    return frames


def write(path: Path, frames: np.ndarray[Any, Any]) -> None:
    """Write a clip without loss."""
    import av

    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=10)
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = "bgr0"
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())


@needs_av
def test_frames_are_taken_at_even_distances_from_the_central_square(tmp_path: Path) -> None:
    write(tmp_path / "clip.mkv", frames_of(9))
    clip = decoding.read_clip(tmp_path / "clip.mkv", 5, 8)
    assert clip.shape == (5, 3, 8, 8)
    assert clip.dtype == torch.uint8
    for place, frame in enumerate(clip):
        assert (frame == 20 * place).all()


@needs_av
def test_channels_and_rows_are_where_they_were(tmp_path: Path) -> None:
    frames = np.zeros((2, 8, 8, 3), np.uint8)
    frames[:, :4, :, 0] = 200
    frames[:, :, 4:, 2] = 100
    write(tmp_path / "clip.mkv", frames)
    clip = decoding.read_clip(tmp_path / "clip.mkv", 2, 8)
    assert torch.equal(clip, torch.from_numpy(frames).permute(0, 3, 1, 2))


@needs_av
def test_sub_folders_are_labels_also_of_test_clips(tmp_path: Path) -> None:
    for number, name in enumerate(("run/a", "run/deep/b", "wave/a")):
        write(tmp_path / "training" / f"{name}.mkv", frames_of(3, 20 * number))
    write(tmp_path / "test" / "wave" / "c.mkv", frames_of(4, 100))
    places = {"path": str(tmp_path / "training"), "test_path": str(tmp_path / "test")}
    training, test = data.load(Data(name="folder", frames=3, img_size=8, **places))
    assert training.labels is not None
    assert training.labels.tolist() == [0, 0, 1]
    assert training.images[:, 0, 0, 0, 0].tolist() == [0, 20, 40]
    assert test.labels is not None
    assert test.labels.tolist() == [1]


@needs_av
def test_without_test_clips_a_part_is_held_out(tmp_path: Path) -> None:
    for number in range(4):
        write(tmp_path / "a" / f"{number}.mkv", frames_of(2, 20 * number))
    training, test = data.load(Data(name="folder", path=str(tmp_path), frames=2, img_size=8, holdout=0.25))
    assert (len(training), len(test)) == (3, 1)
    shown = torch.cat([training.images, test.images])[:, 0, 0, 0, 0]
    assert sorted(shown.tolist()) == [0, 20, 40, 60]


@needs_av
def test_a_clip_that_is_too_short_is_named(tmp_path: Path) -> None:
    write(tmp_path / "clip.mkv", frames_of(3))
    with pytest.raises(ValueError, match=r"clip.mkv has 3 frames, 4 are asked for"):
        decoding.read_clip(tmp_path / "clip.mkv", 4, 8)


@needs_av
@pytest.mark.parametrize("content", [b"", b"no clip" * 100], ids=["empty", "text"])
def test_a_file_that_cannot_be_decoded_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "clip.mp4").write_bytes(content)
    with pytest.raises(ValueError, match=r"clip.mp4 cannot be decoded"):
        decoding.read_clip(tmp_path / "clip.mp4", 2, 8)


@needs_av
def test_a_file_without_pictures_is_named(tmp_path: Path) -> None:
    import av

    with av.open(str(tmp_path / "clip.mkv"), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000, layout="mono")
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), format="s16", layout="mono")
        sound.sample_rate = 8000
        container.mux(stream.encode(sound))
        container.mux(stream.encode())
    with pytest.raises(ValueError, match=r"clip.mkv cannot be decoded"):
        decoding.read_clip(tmp_path / "clip.mkv", 2, 8)


def test_without_the_decoder_the_error_names_the_fix(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    original = builtins.__import__

    def without(name: str, *rest: Any, **named: Any) -> Any:
        if name == "av":
            raise OSError("libavcodec.so: cannot open shared object file")
        return original(name, *rest, **named)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ImportError, match=r'pip install "nda-augment\[video\]"'):
        decoding.read_clip(tmp_path / "clip.mp4", 2, 8)


def test_folders_that_cannot_be_used_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="missing is not a folder"):
        folder.read(str(tmp_path / "missing"), 2, 8)
    with pytest.raises(ValueError, match=r"no clip in .*known by their endings: .avi, .gif"):
        folder.read(str(tmp_path), 2, 8)
    (tmp_path / "wave").mkdir()
    (tmp_path / "wave" / "a.mp4").touch()
    with pytest.raises(ValueError, match=r"sub-folders \['wave'\], which are no labels; those are \['run'\]"):
        folder.read(str(tmp_path), 2, 8, classes=["run"])
    (tmp_path / "loose.MP4").touch()
    with pytest.raises(ValueError, match=r"itself holds \['loose.MP4'\]"):
        folder.read(str(tmp_path), 2, 8)
