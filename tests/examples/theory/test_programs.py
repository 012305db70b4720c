"""Each program runs, says that its claims hold, and draws; a claim that does not hold stops it."""

import importlib
import json
import math

import pytest
import torch
import typer
from PIL import Image
from typer.testing import CliRunner

from examples.theory import discrete, dots, leaks, overlap, report, ring, runs
from examples.theory.adversary import Settings

QUICK = {
    "atoms": ["--starts", "2"],
    "hinge": ["--starts", "5"],
    "overlap": ["--starts", "1"],
    "ring": ["--seeds", "1", "--steps", "20"],
    "dots": ["--seeds", "1", "--steps", "1"],
    "leaks": ["--seeds", "1", "--steps", "2"],
}


def call(name, path, monkeypatch):
    monkeypatch.setattr(report.console, "width", 200)
    module = importlib.import_module(f"examples.theory.{name}")
    app = typer.Typer(pretty_exceptions_enable=False)
    app.command()(module.main)
    with report.console.capture() as capture:
        result = CliRunner().invoke(app, ["--output", str(path), *QUICK[name]], catch_exceptions=False)
    assert result.exit_code == 0
    return capture.get()


@pytest.mark.parametrize("name", list(QUICK))
def test_claims_hold_and_figures_are_drawn(name, tmp_path, monkeypatch):
    path = tmp_path / name if name in ("ring", "dots", "leaks") else tmp_path / name / "figure.png"
    output = call(name, path, monkeypatch)
    assert output.count("✓") >= 2
    figures = list((tmp_path / name).glob("*.png"))
    assert len(figures) == (2 if name == "ring" else 1)
    for figure in figures:
        assert str(figure) in output
        with Image.open(figure) as picture:
            assert min(picture.size) > 300


@pytest.mark.parametrize(
    "all_runs", [dots.settings_of([4, 5], 30), ring.settings_of([4, 5], 30, 0.5)], ids=["dots", "ring"]
)
def test_runs_have_the_seeds_and_the_length_that_were_asked_for(all_runs):
    assert {(each.seed, each.steps, each.blend) for each in all_runs} == {(4, 30, 0.0), (5, 30, 0.0)}
    assert len(set(all_runs)) == len(all_runs)


@pytest.mark.parametrize("name", ["atoms", "overlap"])
def test_a_wrong_formula_stops_the_program(name, tmp_path, monkeypatch):
    exact = discrete.minimum
    monkeypatch.setattr(discrete, "minimum", lambda *arguments: exact(*arguments) + 1e-3)
    with pytest.raises(report.ClaimError, match=r"off by 0.001, more than 1e-09"):
        call(name, tmp_path / "figure.png", monkeypatch)


def test_a_claim_that_is_not_a_number_does_not_hold():
    with pytest.raises(report.ClaimError, match="x: off by nan"):
        report.confirm("x", math.nan, 1.0)


class TestOverlap:
    def test_the_released_jigsaw_returns_one_in_23(self):
        assert overlap.leaked_share_of_transposed_jigsaw() == pytest.approx(1 / 23)

    @pytest.mark.parametrize("leak", [0.0, 1 / 23, 0.5])
    def test_what_a_fault_costs(self, leak):
        price = overlap.measured_price(0.25, leak) / overlap.measured_price(0.25, 0)
        assert price == pytest.approx(overlap.price_of_leak(0.25, leak), abs=1e-3)

    def test_the_weight_at_which_a_mode_goes(self):
        for share in overlap.OVERLAPS:
            at = overlap.critical_weight(0.1, share)
            assert discrete.optimum(discrete.DATA, overlap.overlapping(share), at - 1e-4)[3] == 0
            assert discrete.optimum(discrete.DATA, overlap.overlapping(share), at + 1e-4)[3] > 0


class TestRuns:
    SETTINGS = Settings("hinge", 0.5, seed=4)

    def test_what_was_run_is_not_run_again(self, tmp_path):
        calls = []

        def run(settings):
            calls.append(settings)
            return {"value": len(calls)}

        first = runs.run_all([self.SETTINGS], run, tmp_path)
        assert runs.run_all([self.SETTINGS], run, tmp_path) == first == {self.SETTINGS: {"value": 1}}
        other = Settings("hinge", 0.5, seed=4, steps=7)
        assert runs.run_all([other], run, tmp_path) == {other: {"value": 2}}
        assert [path.name for path in tmp_path.iterdir()] == ["hinge-0.5-4.json"]

    def test_a_run_that_fails_leaves_no_result(self, tmp_path):
        def run(settings):
            raise RuntimeError("out of power")

        with pytest.raises(RuntimeError, match="out of power"):
            runs.run_all([self.SETTINGS], run, tmp_path)
        assert list(tmp_path.iterdir()) == []

    def test_files_are_plain(self, tmp_path):
        runs.run_all([self.SETTINGS], lambda _: {"value": 1}, tmp_path)
        saved = json.loads((tmp_path / "hinge-0.5-4.json").read_text())
        assert saved["settings"]["fake_weight"] == 0.5

    def test_spread(self):
        assert runs.spread([1.0, 2.0, 3.0], 1) == "2.0 ± 1.0"
        assert runs.spread([0.25]) == "0.250"


class TestLeaks:
    def test_the_best_generators_share_of_augmented_images_is_where_the_two_mixtures_meet(self):
        """What it makes and the negatives, weighed, are distributed as the augmented data: p of both are augmented."""
        for arm in leaks.arms(steps=1):
            if arm.everywhere or arm.negative != arm.augmentation:
                assert arm.best == (0.0 if arm.everywhere else arm.share)
                continue
            mixed = arm.fake_weight * arm.best + (1 - arm.fake_weight)
            assert mixed == pytest.approx(arm.share)

    def test_the_augmentation_that_all_see_is_that_of_a_share_of_images(self):
        draws = torch.Generator().manual_seed(0)
        images = leaks.images_of(0)[:400]
        changed = (leaks.Sometimes("turn", 0.3, draws)(images) != images).flatten(1).any(1).float().mean()
        assert 0.22 < changed < 0.38
