import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from examples.gan import checkpoint

ROOT = Path(__file__).parents[3]


def test_round_trip(tmp_path):
    state = {"step": 3, "weights": {"a": torch.arange(4.0)}, "history": [{"gap": 0.5}]}
    checkpoint.save(state, tmp_path / "c.pt")
    loaded = checkpoint.load(tmp_path / "c.pt")
    assert torch.equal(loaded.pop("weights")["a"], state.pop("weights")["a"])
    assert loaded == state
    assert os.listdir(tmp_path) == ["c.pt"]


@pytest.mark.parametrize("broken", ["torch.save", "os.fsync", "os.replace"])
def test_a_failure_at_any_point_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch, broken):
    path = tmp_path / "c.pt"
    checkpoint.save({"step": 1}, path)

    def fail(*_):
        raise RuntimeError("disk full")

    monkeypatch.setattr(f"examples.gan.checkpoint.{broken}", fail)
    with pytest.raises(RuntimeError, match="disk full"):
        checkpoint.save({"step": 2}, path)
    assert checkpoint.load(path) == {"step": 1}
    assert os.listdir(tmp_path) == ["c.pt"]


@pytest.mark.skipif(os.name != "posix", reason="SIGKILL is POSIX")
def test_a_kill_between_write_and_replace_leaves_the_old_file_and_a_temporary_that_sweep_removes(tmp_path):
    path = tmp_path / "c.pt"
    checkpoint.save({"step": 1}, path)
    (tmp_path / "other.pt").write_bytes(b"")
    code = (
        "import os, signal, sys; from pathlib import Path; from examples.gan import checkpoint\n"
        "os.replace = lambda *_: os.kill(os.getpid(), signal.SIGKILL)\n"
        "checkpoint.save({'step': 2}, Path(sys.argv[1]))"
    )
    killed = subprocess.run([sys.executable, "-c", code, str(path)], cwd=ROOT, check=False)
    assert killed.returncode == -signal.SIGKILL
    assert checkpoint.load(path) == {"step": 1}
    assert len(os.listdir(tmp_path)) == 3

    stale = checkpoint.sweep(path)
    assert len(stale) == 1
    assert sorted(os.listdir(tmp_path)) == ["c.pt", "other.pt"]
    assert checkpoint.sweep(path) == []


def test_the_file_is_on_disk_before_it_takes_the_place(tmp_path, monkeypatch):
    calls = []
    fsync, replace = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda descriptor: (calls.append("fsync"), fsync(descriptor)))
    monkeypatch.setattr(os, "replace", lambda *paths: (calls.append("replace"), replace(*paths)))
    checkpoint.save({"step": 1}, tmp_path / "c.pt")
    assert calls == ["fsync", "replace", "fsync"]


def test_only_tensors_and_plain_containers_are_loaded(tmp_path):
    checkpoint.save({"path": Path("x")}, tmp_path / "c.pt")
    with pytest.raises(Exception, match=r"weights_only|Weights only"):
        checkpoint.load(tmp_path / "c.pt")
