import os
import re
import signal
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import torch

from nda_augment import _files
from nda_augment._files import CheckpointError, InUseError, load_checkpoint, lock, restoring, save_checkpoint, sweep

ROOT = Path(__file__).parents[1]
LIKE = {"step": int, "weights": dict}
posix = pytest.mark.skipif(os.name != "posix", reason="signals and locks of files are POSIX")


@pytest.fixture
def path(tmp_path):
    save_checkpoint(state(1), tmp_path / "c.pt")
    return tmp_path / "c.pt"


def state(step):
    return {"step": step, "weights": {"a": torch.arange(400.0)}, "history": [{"gap": 0.5}]}


def test_round_trip(path):
    loaded, saved = load_checkpoint(path, LIKE), state(1)
    assert torch.equal(loaded.pop("weights")["a"], saved.pop("weights")["a"])
    assert loaded == saved
    assert os.listdir(path.parent) == ["c.pt"]


@pytest.mark.parametrize("broken", ["torch.save", "os.fsync", "os.replace"])
def test_a_failure_at_any_point_leaves_the_old_file_and_nothing_else(path, monkeypatch, broken):
    def fail(*_):
        raise OSError("disk full")

    monkeypatch.setattr(f"nda_augment._files.{broken}", fail)
    with pytest.raises(OSError, match="disk full"):
        save_checkpoint(state(2), path)
    assert load_checkpoint(path, LIKE)["step"] == 1
    assert os.listdir(path.parent) == ["c.pt"]


@posix
def test_a_kill_between_write_and_replace_leaves_the_old_file_and_a_temporary_that_sweep_removes(path):
    (path.parent / "other.pt").write_bytes(b"")
    code = (
        "import os, signal, sys; from pathlib import Path; from nda_augment import _files\n"
        "os.replace = lambda *_: os.kill(os.getpid(), signal.SIGKILL)\n"
        "_files.save_checkpoint({'step': 2}, Path(sys.argv[1]))"
    )
    killed = subprocess.run([sys.executable, "-c", code, str(path)], cwd=ROOT, check=False)
    assert killed.returncode == -signal.SIGKILL
    assert load_checkpoint(path, LIKE)["step"] == 1
    assert len(os.listdir(path.parent)) == 3

    stale = sweep(path)
    assert len(stale) == 1
    assert sorted(os.listdir(path.parent)) == ["c.pt", "other.pt"]
    assert sweep(path) == []


def test_the_file_is_on_disk_before_it_takes_the_place(tmp_path, monkeypatch):
    calls = []
    fsync, replace = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda descriptor: (calls.append("fsync"), fsync(descriptor)))
    monkeypatch.setattr(os, "replace", lambda *paths: (calls.append("replace"), replace(*paths)))
    _files.write_text("text", tmp_path / "file")
    assert calls == ["fsync", "replace", "fsync"]
    assert (tmp_path / "file").read_text() == "text"


def flip(content, place):
    return content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]


def test_every_flipped_byte_of_what_was_saved_is_told(path):
    with zipfile.ZipFile(path) as archive:
        weights = archive.read(next(name for name in archive.namelist() if name.endswith("data/0")))
    content = path.read_bytes()
    start = content.index(weights)
    for place in range(start, start + len(weights), 97):
        path.write_bytes(flip(content, place))
        with pytest.raises(CheckpointError, match=r"c\.pt is damaged: .* is not what was written\. Put an intact copy"):
            load_checkpoint(path, LIKE)


def test_a_flipped_byte_anywhere_is_told_or_changes_nothing(path):
    content = path.read_bytes()
    for place in range(0, len(content), 31):
        path.write_bytes(flip(content, place))
        try:
            loaded = load_checkpoint(path, LIKE)
        except CheckpointError:
            continue
        assert torch.equal(loaded.pop("weights")["a"], torch.arange(400.0))
        assert loaded == {"step": 1, "history": [{"gap": 0.5}]}


@pytest.mark.parametrize("kept", [0, 1, 100, 0.5, 0.99])
def test_what_is_left_of_a_file_is_told(path, kept):
    content = path.read_bytes()
    path.write_bytes(content[: kept if isinstance(kept, int) else int(kept * len(content))])
    with pytest.raises(CheckpointError, match=r"is empty" if kept == 0 else r"is cut off, or no checkpoint at all"):
        load_checkpoint(path, LIKE)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"step": -5, "weights": {}}, "has step=-5"),
        ({"step": 1.5, "weights": {}}, "has step=1.5"),
        ({"step": 1}, "is no checkpoint of this kind: it has no 'weights'"),
        ({"step": 1, "weights": [1]}, "has a list as 'weights'"),
        ([1, 2], "holds a list, no state"),
        ({"step": 1, "weights": {}, "path": Path("x")}, "holds more than tensors and plain values"),
    ],
)
def test_a_state_that_cannot_be_is_told_and_unsafe_loading_is_never_advised(path, content, message):
    save_checkpoint(content, path)
    with pytest.raises(CheckpointError, match=re.escape(message)) as caught:
        load_checkpoint(path, LIKE)
    assert str(caught.value).startswith(str(path))
    assert "remove it to begin anew" in str(caught.value)
    assert "weights_only" not in str(caught.value)


def test_other_archives_and_folders_are_told(tmp_path):
    with zipfile.ZipFile(tmp_path / "c.pt", "w") as archive:
        archive.writestr("readme", "no checkpoint")
    with pytest.raises(CheckpointError, match="not written by this program"):
        load_checkpoint(tmp_path / "c.pt", LIKE)
    (tmp_path / "d.pt").mkdir()
    with pytest.raises(CheckpointError, match="is a folder where a checkpoint should be"):
        load_checkpoint(tmp_path / "d.pt", LIKE)


def test_what_does_not_fit_is_told(path):
    network = torch.nn.Linear(2, 2)
    with pytest.raises(CheckpointError, match=r"does not fit here .*in loading state_dict"), restoring(path):
        network.load_state_dict(state(1)["weights"])
    with pytest.raises(CheckpointError, match="'other'"), restoring(path):
        state(1)["other"]


@posix
def test_a_lock_keeps_others_out_until_it_is_let_go_of(path):
    with lock(path):
        with pytest.raises(InUseError, match="another process is writing"), lock(path):
            pass
        with lock(path.parent / "other.pt"):
            pass
    with lock(path):
        pass
    assert os.listdir(path.parent) == ["c.pt"]


@posix
def test_a_kill_lets_go_of_the_lock(path):
    code = (
        "import os, signal, sys; from pathlib import Path; from nda_augment._files import lock\n"
        "with lock(Path(sys.argv[1])):\n"
        "    print(flush=True)\n"
        "    sys.stdin.read()"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", code, str(path)], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    holder.stdout.readline()
    with pytest.raises(InUseError), lock(path):
        pass
    holder.kill()
    holder.communicate()
    with lock(path):
        pass
