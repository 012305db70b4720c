import io
import json
from pathlib import Path

import numpy as np
import pytest
import torch
import typer
from rich.console import Console
from typer.testing import CliRunner

from examples.common import judging
from examples.common.training import CHECKPOINT
from examples.gan import evaluate, train
from examples.gan.generation import load_generator, sample
from nda_augment._files import load_checkpoint, save_checkpoint


class TestJudge:
    def test_the_seed_of_the_run_plays_no_part(self, tiny):
        first, second = (evaluate.judge_of(tiny("run", f"RUN.seed={seed}"), classifier_epochs=1) for seed in (0, 1))
        assert first.references() == second.references()

    def test_features_can_be_inceptions(self, tiny, monkeypatch):
        monkeypatch.setattr(judging, "inception_features", lambda path: lambda images: images.flatten(1)[:, :7])
        judge = evaluate.judge_of(tiny("run"), classifier_epochs=1, inception=Path("weights.pth"))
        report = judge.report({})
        assert report.feature_dim == 7
        assert report.features.startswith("Inception")
        assert report.classifier_accuracy is None
        assert "Inception" in judging.table(report, "title").caption

    def test_undesired_images_can_be_what_is_forbidden(self, tiny, tmp_path):
        np.savez(tmp_path / "undesired.npz", images=np.zeros((5, 8, 8), dtype=np.uint8))
        settings = tiny("run", "AUG.nda_source=images", f"AUG.nda_path={tmp_path / 'undesired.npz'}")
        judge = evaluate.judge_of(settings, classifier_epochs=30)
        assert judge.negatives == f"images of {tmp_path / 'undesired.npz'}"
        assert judge.forbidden_share(torch.full((3, 1, 8, 8), -1.0)) == 1
        assert judge.forbidden_share(judge.held_out) == 0

    def test_without_held_out_images_there_is_nothing_to_compare_with(self, tiny):
        with pytest.raises(ValueError, match=r"only 0 images to compare; raise DATA.holdout"):
            evaluate.judge_of(tiny("a", "DATA.holdout=0"))


class TestReport:
    def test_rows_are_the_references_and_the_runs(self, tiny, tmp_path):
        runs = {"plain": train.train(tiny("plain", "AUG.apply_nda=false")), "nda": train.train(tiny("nda"))}
        report = evaluate.evaluate(runs, classifier_epochs=1)
        assert (report.n, report.feature_dim, report.nearest_k) == (8, 64, 5)
        assert report.negatives == "jigsaw,stitch,cutout"
        assert list(report.rows)[3:] == ["plain", "nda"]
        for name, folder in runs.items():
            scores = report.rows[name]
            assert scores.frechet >= 0
            assert all(0 <= value <= 1 for value in (scores.precision, scores.recall, scores.coverage))
            assert 0 <= scores.forbidden <= 1
            rows = load_checkpoint(folder / CHECKPOINT, {})["history"]
            assert scores.logit_gap == pytest.approx(rows[-1]["gap"])  # of four logged rows a tenth is one

        judging.save_report(report, tmp_path / "m.json", steps=8)
        saved = json.loads((tmp_path / "m.json").read_text())
        assert saved["rows"]["nda"]["frechet"] == report.rows["nda"].frechet
        assert saved["steps"] == 8

        console = Console(width=160, record=True, file=io.StringIO())
        console.print(judging.table(report, "title"))
        text = console.export_text()
        assert f"{report.rows['plain'].coverage:.3f}" in text
        assert "n = 8;" in text
        assert "an own classifier" in text

    def test_the_gap_is_a_mean_over_the_last_tenth_of_the_log(self, tmp_path):
        rows = [{"step": step, "gap": float(step)} for step in range(40)]
        del rows[38]["gap"]
        save_checkpoint({"history": rows}, tmp_path / CHECKPOINT)
        assert evaluate.logit_gap(tmp_path) == (36 + 37 + 39) / 3
        save_checkpoint({"history": [{"step": 1}]}, tmp_path / CHECKPOINT)
        assert evaluate.logit_gap(tmp_path) is None

    def test_generated_images_are_those_of_the_average(self, tiny):
        folder = train.train(tiny("run"))
        images = evaluate.generate(folder, 10)
        assert images.shape == (10, 1, 8, 8)
        assert torch.equal(images, evaluate.generate(folder, 10))
        expected = sample(load_generator(folder)[0], 10, seed=0, purpose="evaluation")
        assert torch.equal(images, expected)


class TestWhatRunsHaveInCommon:
    def test_runs_on_different_data_are_not_compared(self, tiny):
        with pytest.raises(ValueError, match="different data"):
            evaluate._common_settings({"a": tiny("a"), "b": tiny("b", "DATA.holdout=0.5")}, None)

    def test_the_negatives_are_those_that_a_run_was_trained_with(self, tiny):
        runs = {"plain": tiny("a", "AUG.apply_nda=false"), "nda": tiny("b", "AUG.nda_policy=cutout")}
        assert evaluate._common_settings(runs, None).AUG.nda_policy == "cutout"
        assert evaluate._common_settings({"plain": runs["plain"]}, None).AUG.nda_policy == "jigsaw,stitch,cutout"

    def test_different_negatives_need_a_choice(self, tiny):
        runs = {"a": tiny("a", "AUG.nda_policy=cutout"), "b": tiny("b", "AUG.nda_policy=stitch")}
        with pytest.raises(ValueError, match=r"different negatives, cutout; stitch: say which .* --policy"):
            evaluate._common_settings(runs, None)
        assert evaluate._common_settings(runs, "mixup").AUG.nda_policy == "mixup"


def test_the_command_line_writes_the_numbers_and_names_what_is_wrong(tiny, tmp_path):
    folder = train.train(tiny("run", "OPTIMIZATION.total_steps=1"))
    app = typer.Typer()
    app.command()(evaluate.main)
    result = CliRunner().invoke(app, [str(folder), "--output", str(tmp_path / "m.json")])
    assert result.exit_code == 0
    assert str(folder) in json.loads((tmp_path / "m.json").read_text())["rows"]
    refused = CliRunner().invoke(app, [str(folder), "--inception", "nowhere.pth"])
    assert refused.exit_code == 2
    assert "no Inception weights" in refused.output
