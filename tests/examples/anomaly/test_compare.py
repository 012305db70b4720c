import json

import numpy as np
import pytest
from typer.testing import CliRunner

import examples.anomaly.__main__ as command
from examples.anomaly import compare
from examples.anomaly.compare import Protocol
from examples.anomaly.config import DIGITS
from examples.common.settings import ConfigError


def run(words, *more, protocol=Protocol.ONE_CLASS, arms=("density:none", "csi:rotation"), seeds=(0, 1), outside=None):
    return compare.compare(protocol, DIGITS, [*words, *more], arms, seeds, (0, 2), outside or {})


def test_one_class_asks_every_arm_seed_and_class(words, tmp_path) -> None:
    rows = run(words)
    assert list(rows) == ["density:none", "csi:rotation"]
    assert [list(row) for row in rows["csi:rotation"]] == [["0", "2"], ["0", "2"]]
    assert len(list((tmp_path / "runs").glob("*.json"))) == 8
    assert not list((tmp_path / "runs").glob("*.tmp"))


def test_runs_that_are_there_are_not_repeated(words, monkeypatch) -> None:
    first = run(words)
    monkeypatch.setattr(compare, "one_class", None)  # would raise if it were called
    assert run(words) == first


def test_runs_with_other_settings_are_refused(words) -> None:
    run(words)
    with pytest.raises(ConfigError, match="holds a run with other settings"):
        run(words, "MODEL.width=3")


def test_out_of_distribution(words, tmp_path) -> None:
    np.savez(tmp_path / "grey.npz", images=np.full((20, 8, 8), 255, dtype=np.uint8))
    arms = ("density:none", "classes:none", "classes:jigsaw")
    rows = run(words, protocol=Protocol.OOD, arms=arms, seeds=(0,), outside={"grey": tmp_path / "grey.npz"})
    ways = ("max-softmax", "energy", "density")
    assert list(rows) == ["density:none", *(f"{arm}, {way}" for arm in arms[1:] for way in ways)]
    assert list(rows["density:none"][0])[:2] == ["grey", "tiles of photographs"]
    assert len(rows["density:none"][0]) == 7


def test_table_has_means_and_deviations() -> None:
    rows = {"arm": [{"a": {"AUROC": 50.0}, "b": {"AUROC": 70.0}}, {"a": {"AUROC": 60.0}, "b": {"AUROC": 70.0}}]}
    assert "| arm | 55.0 ± 7.1 | 70.0 ± 0.0 | 62.5 ± 3.5 |" in compare.table(rows, ["AUROC"]).splitlines()
    assert compare.table(rows, ["AUROC"]).startswith("| AUROC %, anomalies positive | a | b | mean |")


def test_command_writes_the_table(words, tmp_path) -> None:
    arguments = ["one-class", *words, "--arm", "density:none", "--seeds", "1", "--normal", "1"]
    done = CliRunner().invoke(_app(compare.main), arguments)
    assert done.exit_code == 0, done.output
    assert (tmp_path / "runs" / "one-class.md").read_text() in done.output


@pytest.mark.parametrize(
    "arguments", [["--arm", "cis:rotation"], ["--arm", "csi:rotatoin"], ["--outside", "grey"], ["DATA.nmae=digits"]]
)
def test_command_says_what_is_wrong(words, arguments) -> None:
    done = CliRunner().invoke(_app(compare.main), ["ood", *words, *arguments])
    assert done.exit_code == 2
    assert "Traceback" not in done.output


def test_default_command(words, tmp_path) -> None:
    done = CliRunner().invoke(_app(command.main), [*words, "--normal", "0", "--normal", "1"])
    assert done.exit_code == 0, done.output
    assert "anomalies are the positives" in done.output
    assert (tmp_path / "runs" / "scores.png").stat().st_size > 1000
    report = json.loads((tmp_path / "runs" / "results.json").read_text())
    assert list(report["classes"]) == ["0", "1"]
    assert report["config"]["DATA"]["img_size"] == 8


def test_default_command_asks_all_classes(tiny) -> None:
    assert list(command.run(tiny("MODEL.detector=density"))) == [0, 1, 2]


def test_unknown_classes_are_refused(words) -> None:
    done = CliRunner().invoke(_app(command.main), [*words, "--normal", "7"])
    assert done.exit_code == 2
    assert "there is no class 7" in done.output


def _app(main):
    import typer

    app = typer.Typer()
    app.command()(main)
    return app
