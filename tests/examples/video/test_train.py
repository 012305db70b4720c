import json
from pathlib import Path
from typing import Any

import pytest
import torch
from typer.testing import CliRunner

from examples.common.contrastive import learning, methods
from examples.common.fitting import RESULTS
from examples.common.settings import ConfigError, differences, flat
from examples.video import compare, config, paired, train
from examples.video.config import Config
from tests.examples.contrastive.conftest import LIGHTNING_WARNS
from tests.examples.contrastive.test_train import _app, assert_same_run, state_of
from tests.examples.video.conftest import METHODS, TINY, Tiny

pytestmark = pytest.mark.filterwarnings(LIGHTNING_WARNS)


@pytest.mark.parametrize("method", METHODS)
def test_a_run_that_was_killed_ends_as_if_it_had_not_been(
    tiny: Tiny, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, killed = (tiny(name, *METHODS[method]) for name in ("whole", "killed"))
    expected = train.train(whole)
    folder = Path(whole.RUN.save_dir)
    assert json.loads((folder / RESULTS).read_text()) == expected
    assert config.load(folder / "config.yaml") == whole
    assert expected["epochs"] == 3

    cls = train.KNOWN[method]
    loss = cls.loss

    def dies(self: Any, *batch: Any) -> Any:
        if batch[-1] == 4:  # in the middle of the second epoch
            raise SystemError("killed")
        return loss(self, *batch)

    monkeypatch.setattr(cls, "loss", dies)
    with pytest.raises(SystemError, match="killed"):
        train.train(killed)
    assert state_of(killed)["epoch"] == 0  # type: ignore[arg-type]
    monkeypatch.undo()
    torch.randn(100)  # another state of the global generator than in the uninterrupted run

    results = train.train(killed)
    assert_same_run(killed, whole)  # type: ignore[arg-type]
    assert {**results, "seconds": 0} == {**expected, "seconds": 0}


def test_training_learns(tiny: Tiny) -> None:
    words = ("AUG.apply_nda=false", "OPTIMIZATION.epochs=1", "DATA.clips=64", "MODEL.width=4")
    method_before = methods.make(
        settings := tiny("run", *words), train.data.load(settings.DATA)[0], lambda: train.parts(settings)
    )
    train.train(settings)
    before = method_before.state_dict()
    after = state_of(settings)["state_dict"]  # type: ignore[arg-type]
    changed = [key for key, value in before.items() if not torch.equal(value, after[key])]
    assert {key for key in before if key.endswith("weight")} <= set(changed)


def test_a_finished_run_is_not_run_again_but_evaluated_anew_if_asked_otherwise(
    tiny: Tiny, monkeypatch: pytest.MonkeyPatch
) -> None:
    results = train.train(tiny("run", "OPTIMIZATION.epochs=1"))

    def never(*_: Any) -> None:
        raise AssertionError("trained again")

    monkeypatch.setattr(methods.SimCLR, "training_step", never)
    assert train.train(tiny("run", "OPTIMIZATION.epochs=1")) == results
    monkeypatch.setattr(learning, "measures", lambda *_: {"knn": 0.125})
    anew = train.train(tiny("run", "OPTIMIZATION.epochs=1", "EVAL.knn_k=1"))
    assert (anew["epochs"], anew["knn"]) == (1, 0.125)


def test_a_folder_with_another_run_is_refused(tiny: Tiny) -> None:
    train.train(tiny("run", "OPTIMIZATION.epochs=1"))
    with pytest.raises(ConfigError, match=r"other settings: MODEL.dim \(was 8, now 4\)"):
        train.train(tiny("run", "OPTIMIZATION.epochs=1", "MODEL.dim=4"))


def test_too_few_clips_are_refused(tiny: Tiny) -> None:
    with pytest.raises(ValueError, match="24 training images do not fill a batch of 32"):
        train.train(tiny("run", "OPTIMIZATION.batch_size=32"))


def test_the_command_line_trains(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Config] = []

    def remember(settings: Config) -> dict[str, float]:
        asked.append(settings)
        return {"knn": 0.5, "linear": 0.25}

    monkeypatch.setattr(train, "train", remember)
    runner, app = CliRunner(), _app(train.main)
    result = runner.invoke(app, [*TINY, f"RUN.save_dir={tmp_path}"])
    assert result.exit_code == 0, result.output
    assert "kNN 50.0%, linear 25.0%" in result.output
    assert asked[0].DATA.frames == 4
    assert asked[0].RUN.threads == 1  # of the file
    failed = runner.invoke(app, ["DATA.frame=3"])
    assert failed.exit_code == 2
    assert "DATA.frames" in failed.output


def test_the_command_line_compares(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Config] = []

    def remember(settings: Config) -> dict[str, float]:
        asked.append(settings)
        return {"knn": 0.5 + 0.1 * settings.AUG.apply_nda, "linear": 0.25 + 0.02 * settings.RUN.seed}

    monkeypatch.setattr(compare, "train", remember)
    words = ["--arm", "plain", "--arm", "both=jigsaw,frameshuffle:2", "--seeds", "2", f"RUN.save_dir={tmp_path}"]
    result = CliRunner().invoke(_app(compare.main), words)
    assert result.exit_code == 0, result.output
    plain, both = (tmp_path / "comparison.md").read_text().splitlines()[2:]
    assert plain.startswith("| plain | 50.00 ± 0.00 |  | 26.00 ± 1.41 |  |")
    assert both.startswith("| both | 60.00 ± 0.00 | +10.00 ± 0.00 | 26.00 ± 1.41 | +0.00 ± 0.00 |")
    assert [Path(each.RUN.save_dir).name for each in asked] == ["plain-0", "both-0", "plain-1", "both-1"]
    assert set(differences(flat(asked[1]), flat(asked[0]))) == {"AUG.apply_nda", "AUG.nda_policy", "RUN.save_dir"}
    assert asked[1].AUG.nda_policy == "jigsaw,frameshuffle:2"
    assert CliRunner().invoke(_app(compare.main), ["--arm", "jigsw"]).exit_code == 2


def test_pairs_of_runs_are_compared_clip_by_clip(tiny: Tiny) -> None:
    results = []
    for arm in ("plain", "jigsaw"):
        settings = tiny(f"{arm}-0", "OPTIMIZATION.epochs=1", f"AUG.apply_nda={arm != 'plain'}")
        results.append(train.train(settings))
    folder = Path(settings.RUN.save_dir).parent
    words = [str(folder), "jigsaw", "plain", "--seeds", "1"]
    result = CliRunner().invoke(_app(paired.main), words)
    assert result.exit_code == 0, result.output
    rows = [line.split(" | ") for line in result.output.splitlines()[2:]]
    for row, measure in zip(rows, ("knn", "linear"), strict=True):
        assert row[0] == f"| {measure}"
        assert float(row[1]) == pytest.approx(100 * (results[1][measure] - results[0][measure]), abs=0.01)
        low, high = map(float, row[2].split(" to "))
        assert low <= float(row[1]) <= high
    assert CliRunner().invoke(_app(paired.main), [str(folder), "stitch"]).exit_code == 2
