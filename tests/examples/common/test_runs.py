import errno
import json
import os
from pathlib import Path

import pytest
import torch
import typer
from typer.testing import CliRunner

from examples.common import runs
from examples.common.runs import DivergedError, Watch, check_finite, check_same_run, command, hold, once
from examples.common.settings import ConfigError
from nda_augment._files import CheckpointError, InUseError


class TestHold:
    def test_a_second_run_in_the_folder_is_refused_and_what_kills_left_is_gone(self, tmp_path):
        folder = tmp_path / "new" / "run"
        with hold(folder / "c.pt"):
            with pytest.raises(InUseError, match=f"another process is writing {folder}"), hold(folder / "c.pt"):
                pass
            (folder / ".c.pt.1.tmp").touch()
        with hold(folder / "c.pt"):
            pass
        assert os.listdir(folder) == []


SAVED = {"RUN.seed": 0, "RUN.threads": 1, "MODEL.dim": 4, "DATA.path": "a"}


class TestSameRun:
    def test_what_is_free_may_change(self):
        check_same_run(Path("x"), SAVED, SAVED | {"RUN.threads": 2, "DATA.path": "b"}, ("RUN.", "DATA.path"))

    def test_the_rest_and_what_is_bound_may_not(self):
        given = SAVED | {"RUN.seed": 1, "MODEL.dim": 8}
        message = r"x holds a run with other settings: MODEL.dim \(was 4, now 8\), RUN.seed \(was 0, now 1\)\. Choose"
        with pytest.raises(ConfigError, match=message):
            check_same_run(Path("x"), SAVED, given, ("RUN.",), ("RUN.seed",))


class TestWatch:
    GOOD, BAD = torch.tensor(1.0), torch.tensor(torch.nan)

    def test_the_first_step_that_is_not_finite_is_named_with_its_terms(self):
        watch = Watch()
        watch.see(1, {"real": self.GOOD, "fake": self.GOOD})
        with pytest.raises(DivergedError, match=r"at step 2 the loss is not finite: fake = nan\. The last checkpoint"):
            watch.see(2, {"real": self.GOOD, "fake": self.BAD})

    def test_steps_that_are_looked_at_together_are_told_apart(self):
        watch = Watch(every=4)
        for step, loss in enumerate([self.GOOD, torch.tensor(-torch.inf), self.BAD], start=1):
            watch.see(step, {"real": loss})
        with pytest.raises(DivergedError, match=r"at step 2 .* real = -inf"):
            watch.look()

    def test_patience_is_for_steps_in_a_row(self):
        watch = Watch(patience=2)
        for step, loss in enumerate([self.BAD, self.BAD, self.GOOD, self.BAD, self.BAD], start=1):
            watch.see(step, {"real": loss})
        with pytest.raises(DivergedError, match="at step 6"):
            watch.see(6, {"real": self.BAD})


def test_a_state_that_is_not_finite_is_not_saved():
    check_finite({"step": 3, "history": [{"gap": float("nan")}], "net": {"a": torch.ones(2)}}, 3)
    with pytest.raises(DivergedError, match="at step 3 net has weights that are not finite"):
        check_finite({"net": {"a": [torch.ones(2), torch.tensor([1.0, torch.inf])]}}, 3)


class TestOnce:
    def test_a_run_is_run_once(self, tmp_path):
        found = [once(tmp_path / "r.json", {"seed": 0, "at": (1, 2)}, lambda n=n: {"n": n}) for n in (1, 2)]
        assert found == [{"n": 1}, {"n": 1}]
        assert json.loads((tmp_path / "r.json").read_text())["results"] == {"n": 1}

    def test_other_settings_and_damage_are_told(self, tmp_path):
        once(tmp_path / "r.json", {"seed": 0}, dict)
        with pytest.raises(ConfigError, match="other settings"):
            once(tmp_path / "r.json", {"seed": 1}, dict)
        (tmp_path / "r.json").write_text("{")
        with pytest.raises(ConfigError, match=r"r\.json is damaged"):
            once(tmp_path / "r.json", {"seed": 0}, dict)


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (ConfigError("MODEL.dim is wrong"), 2, "MODEL.dim is wrong"),
        (CheckpointError("c.pt is empty. Remove it"), 1, "c.pt is empty. Remove it"),
        (InUseError("another process is writing x"), 1, "another process is writing x"),
        (DivergedError("at step 3 the loss is nan"), 1, "at step 3 the loss is nan"),
        (ImportError('pip install "nda-augment[video]"'), 1, 'pip install "nda-augment[video]"'),
        (
            OSError(errno.ENOSPC, "No space left on device", "c.pt"),
            1,
            "No space left on device: c.pt. What was saved is",
        ),
        (
            PermissionError(errno.EACCES, "Permission denied", "run"),
            1,
            "Permission denied: run. What was saved is whole",
        ),
        (KeyboardInterrupt(), 130, "Stopped. The same command goes on from the last checkpoint"),
    ],
)
def test_what_a_user_can_mend_is_one_line_and_no_traceback(error, code, message, monkeypatch):
    monkeypatch.setattr(runs, "console", runs.Console(width=200))

    @command
    def main(word: str = "x") -> None:
        raise error

    app = typer.Typer()
    app.command()(main)
    result = CliRunner().invoke(app, ["--word", "y"], env={"COLUMNS": "200"})
    assert result.exit_code == code
    assert message in result.output
    assert "Traceback" not in result.output
    if code != 2:
        assert len(result.output.strip().splitlines()) == 1


def test_a_mistake_of_ours_keeps_its_traceback():
    @command
    def main() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        main()


def test_arms_are_read_with_their_seeds():
    arms = {"plain": [], "jigsaw": []}
    assert runs.parse_arms(["plain=3", "jigsaw"], arms) == {"plain": 3, "jigsaw": 1}
    for word in ("jigsav", "plain=0", "plain=x", ""):
        with pytest.raises(ConfigError, match="an arm is NAME or NAME=SEEDS with one of plain, jigsaw"):
            runs.parse_arms([word], arms)
