import json

import pytest
import torch
import typer
from PIL import Image
from typer.testing import CliRunner

from examples.translation import data, evaluate, train
from examples.translation.evaluate import Report, Scores, edge_agreement, score, spread


def line(column, size=9):
    edges = torch.full((1, 1, size, size), -1.0)
    edges[..., column] = 1.0
    return edges


class TestEdgeAgreement:
    def test_forgives_one_pixel_and_no_more(self):
        assert edge_agreement(line(4), line(4)) == 1
        assert edge_agreement(line(5), line(4)) == 1
        assert edge_agreement(line(6), line(4)) == 0

    def test_is_the_harmonic_mean_of_precision_and_recall(self):
        both = torch.maximum(line(1), line(7))
        assert edge_agreement(line(1), both) == pytest.approx(2 * 1 * 0.5 / 1.5)
        assert edge_agreement(both, line(1)) == pytest.approx(2 * 0.5 * 1 / 1.5)

    def test_without_edges(self):
        nothing = torch.full((1, 1, 9, 9), -1.0)
        assert edge_agreement(nothing, nothing) == 1
        assert edge_agreement(line(3), nothing) == edge_agreement(nothing, line(3)) == 0


class TestScore:
    def test_the_photograph_itself_is_perfect(self, tiny):
        source = tiny("run").DATA
        _, held_out = data.load(source)
        assert score(held_out.photographs, held_out.photographs, source) == Scores(0.0, pytest.approx(1.0), 1.0)

    def test_distances_are_in_units_of_the_range(self, tiny):
        black = torch.full((2, 3, 16, 16), -1.0)
        assert score(black, -black, tiny("run").DATA).l1 == 1


def test_a_report_of_runs(tiny, tmp_path):
    folders = [train.train(tiny(f"plain-{seed}", "AUG.apply_nda=false", f"RUN.seed={seed}")) for seed in (0, 1)]
    report = evaluate.evaluate(folders)
    assert report.n == 52
    assert list(report.rows) == ["mean colour", "plain-0", "plain-1"]
    _, held_out = data.load(tiny("x").DATA)
    translated = train.translate(train.load_translator(folders[0]), held_out.edges)
    assert report.rows["plain-0"].l1 == pytest.approx((translated - held_out.photographs).abs().mean().item() / 2)

    evaluate.draw(folders, tmp_path / "picture.png", count=5)
    with Image.open(tmp_path / "picture.png") as picture:
        assert picture.size == (5 * 17 - 1, 4 * 17 - 1)
    app = typer.Typer()
    app.command()(evaluate.main)
    result = CliRunner().invoke(app, [*map(str, folders), "--output", str(tmp_path / "m.json")])
    assert result.exit_code == 0
    assert json.loads((tmp_path / "m.json").read_text())["rows"]["plain-1"]["l1"] == report.rows["plain-1"].l1


def test_seeds_are_summed_up_by_arm():
    rows = {"mean colour": Scores(0.5, 0.1, 0.0), "a-0": Scores(0.1, 0.2, 0.3), "a-1": Scores(0.3, 0.2, 0.5)}
    values = spread(Report(3, rows))
    assert list(values) == ["mean colour", "a"]
    assert values["a"]["l1"] == pytest.approx((0.2, 0.02**0.5))
    assert values["a"]["ssim"] == (0.2, 0)
    assert values["mean colour"]["l1"] == (0.5, 0)
    assert evaluate.table(Report(3, rows)).row_count == 4


def test_runs_on_different_data_are_not_compared(tiny):
    words = ["OPTIMIZATION.total_steps=1"]
    a, b = train.train(tiny("a", *words)), train.train(tiny("b", *words, "DATA.high_threshold=0.3"))
    with pytest.raises(ValueError, match="different data"):
        evaluate.evaluate([a, b])
