"""The tour writes what it says, and compares arms that share their seeds."""

import json
import statistics

import pytest
from PIL import Image
from scipy import stats

from examples import demo
from examples.gan.study import measures

# Fresh networks judge batches this small alike by chance.
pytestmark = pytest.mark.filterwarnings("ignore:all logits of this batch lie in")


def test_the_tour(tmp_path, monkeypatch) -> None:
    wall = iter((90.0, 91.0, 95.0))
    monkeypatch.setattr(measures, "_EPOCHS", 1)
    monkeypatch.setattr(demo.defects, "run", lambda steps, seed, output: {"images": {"AUROC": next(wall)}})
    rows = demo.demo(tmp_path, demo.Budget(gan=2, contrastive=1, anomaly=1))
    assert [row.use for row in rows] == ["GAN", "GAN", "contrastive", "anomaly detection"]
    assert rows[-1].negatives == [90.0, 91.0, 95.0]
    for row in rows:
        assert len(row.plain) == len(row.negatives) == len(demo.SEEDS)
    assert json.loads((tmp_path / "metrics.json").read_text()) == [row._asdict() for row in rows]
    for name in ("gallery.png", "gan.png"):
        with Image.open(tmp_path / name) as picture:
            assert min(picture.size) > 300


def test_the_interval_is_students() -> None:
    row = demo.Comparison("", "", (1.0, 2.0, 4.0), (2.0, 5.0, 6.0))
    mean, half = row.difference()
    low, high = stats.t.interval(0.95, 2, loc=2.0, scale=stats.sem([1.0, 3.0, 2.0]))
    assert (mean - half, mean + half) == pytest.approx((low, high), abs=1e-3)
    assert mean == statistics.mean([1.0, 3.0, 2.0])


def test_the_gallery_has_a_soft_jigsaw() -> None:
    assert str(demo.GALLERY["jigsaw, soft"]) == "jigsaw(offset=random,feather=0.5)"
