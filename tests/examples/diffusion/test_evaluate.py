import json

import pytest
import typer
from typer.testing import CliRunner

from examples.common.settings import ConfigError
from examples.diffusion import evaluate, measure, sample, train
from nda_augment._files import load_checkpoint


def invoke(command, *words):
    app = typer.Typer()
    app.command()(command)
    return CliRunner().invoke(app, [str(word) for word in words])


@pytest.fixture
def runs(tiny):
    words = ["OPTIMIZATION.total_steps=2"]
    return {
        "plain": train.train(tiny("plain", "AUG.apply_nda=false", *words)),
        "nda": train.train(tiny("nda", *words)),
    }


def test_a_run_has_a_row_for_each_scale_that_it_can_be_guided_at(runs):
    report = evaluate.evaluate(runs, [0.0, 2.0], classifier_epochs=1)
    assert list(report.rows)[3:] == ["plain, s = 0", "nda, s = 0", "nda, s = 2"]
    assert report.negatives == "jigsaw,stitch"
    for row in list(report.rows.values())[3:]:
        assert all(0 <= value <= 1 for value in (row.recall, row.coverage, row.forbidden, row.copies))


def test_only_what_is_alike_is_compared(runs, tiny):
    other = train.train(tiny("other", "DATA.holdout=0.5", "OPTIMIZATION.total_steps=1"))
    with pytest.raises(ConfigError, match="different data"):
        evaluate.evaluate({**runs, "other": other})
    other = train.train(tiny("cut", "AUG.nda_policy=cutout", "OPTIMIZATION.total_steps=1"))
    with pytest.raises(ConfigError, match=r"different negatives, cutout; jigsaw,stitch: say .* --policy"):
        evaluate.evaluate({**runs, "other": other})


def test_the_command_lines(runs, tmp_path):
    done = invoke(evaluate.main, runs["nda"], "--scale", "1", "--output", tmp_path / "m.json")
    assert done.exit_code == 0, done.output
    assert f"{runs['nda']}, s = 1" in json.loads((tmp_path / "m.json").read_text())["rows"]
    done = invoke(sample.main, runs["nda"], "SAMPLING.scale=1", "--count", "3")
    assert done.exit_code == 0, done.output
    assert (runs["nda"] / "samples.png").exists()
    done = invoke(sample.main, tmp_path, "--count", "3")
    assert done.exit_code == 2
    assert "has no config.yaml" in " ".join(done.output.replace("│", " ").split())


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    folder = tmp_path_factory.mktemp("measure")
    words = ["DATA.img_size=8", "MODEL.widths=[8]", "MODEL.norm_groups=4", "DATA.limit=24", "DATA.holdout=0.9"]
    words += [
        "OPTIMIZATION.batch_size=6",
        "OPTIMIZATION.total_steps=4",
        "SAMPLING.steps=2",
        f"RUN.save_dir={folder}",
    ]
    arguments = (measure.DIGITS, words, {"plain": 2, "jigsaw": 2, "repulsion": 1}, 12, 1)
    return measure.measure(*arguments), arguments


class TestMeasure:
    def test_every_run_has_a_row_for_every_scale(self, measured):
        folder, _ = measured
        results = {path.parent.name: json.loads(path.read_text()) for path in folder.glob("*/result.json")}
        assert sorted(results) == ["jigsaw-1", "jigsaw-2", "plain-1", "plain-2", "repulsion-1"]
        assert list(results["jigsaw-1"]["scales"]) == list(results["plain-1"]["scales"]) == ["0", "0.5", "1", "2"]
        assert list(results["repulsion-1"]["scales"]) == ["0"]
        gradients = results["repulsion-1"]["gradients"]
        assert 0 < gradients["repulsion"] < gradients["denoising"]
        assert results["plain-1"]["gradients"] is None
        images = load_checkpoint(folder / "plain-1" / "images.pt", {})["images"]
        assert (images["0"] != images["2"]).any()

    def test_the_report_compares_with_the_plain_runs_seed_by_seed(self, measured):
        folder, _ = measured
        lines = (folder / "report.md").read_text().splitlines()
        assert [line.split(" | ")[0].strip("| ") for line in lines[2:6]] == ["plain", *["autoguidance"] * 3]
        found = {path.parent.name: json.loads(path.read_text())["scales"] for path in folder.glob("*/result.json")}
        apart = [found[f"jigsaw-{seed}"]["1"]["frechet"] - found[f"plain-{seed}"]["0"]["frechet"] for seed in (1, 2)]
        (row,) = (line for line in lines if line.startswith("| jigsaw | 1 "))
        assert f"{sum(apart) / 2:+.2f} [" in row
        assert {path.name for path in folder.glob("*.png")} == {"curves.png", "samples.png"}

    def test_what_is_done_is_not_done_again(self, measured, monkeypatch):
        folder, arguments = measured
        before = (folder / "report.md").read_text()
        monkeypatch.setattr(measure, "train", None)
        measure.measure(*arguments)
        assert (folder / "report.md").read_text() == before
