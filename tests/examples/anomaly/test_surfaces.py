import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from examples.anomaly import surfaces
from nda_augment.anomaly import SegmentationDetector


@pytest.fixture
def surface(tmp_path: Path) -> Path:
    """Noise, and noise with a bright square."""
    source = np.random.default_rng(0)
    images = source.integers(90, 130, (60, 32, 32)).astype(np.uint8)
    mask = np.zeros((12, 32, 32), dtype=bool)
    mask[:, 8:16, 10:18] = True
    bad = np.where(mask, 250, images[:12]).astype(np.uint8)
    np.savez(tmp_path / "noise.npz", train=images[12:48], good=images[48:], bad=bad, mask=mask)
    return tmp_path / "noise.npz"


@pytest.mark.parametrize("arm", ["local mean", "PCA of patches", "random neighbours", "random Gaussian", "untrained"])
def test_baselines_find_what_stands_out(surface: Path, arm: str) -> None:
    found = surfaces.run(arm, surfaces.load(surface), seed=0)
    assert list(found) == ["image AUROC", "image AP", "pixel AUROC", "pixel AP", "PRO", "minutes"]
    assert found["image AUROC"] > 95
    assert found["pixel AUROC"] > 80


def test_without_masks_images_alone_are_measured(surface: Path, tmp_path: Path) -> None:
    with np.load(surface) as file:
        np.savez(tmp_path / "bare.npz", **{**file, "mask": np.zeros(0, dtype=bool)})
    assert list(surfaces.run("local mean", surfaces.load(tmp_path / "bare.npz"), 0)) == [
        "image AUROC",
        "image AP",
        "minutes",
    ]


def test_patches_are_rebuilt_from_their_principal_components() -> None:
    """Images made of sixteen patterns are rebuilt without error, and what is none of them is not."""
    source = torch.Generator().manual_seed(0)
    patterns = torch.rand(16, 64, generator=source)
    patches = torch.rand(200, 16, generator=source) @ patterns
    images = patches.view(200, 1, 8, 8)
    model = surfaces.PatchPCA()
    model.fit(images)
    apart = F.unfold(torch.rand(5, 1, 8, 8, generator=source), 8).transpose(1, 2) - model.mean.float()
    assert ((F.unfold(images, 8).transpose(1, 2) - model.mean.float()) @ model.rest).abs().max() < 1e-3
    assert (apart @ model.rest).abs().max() > 0.1


def test_a_run_is_made_once_and_a_table_has_means_and_spreads(surface: Path, tmp_path: Path, capsys) -> None:
    surfaces.main(surface, ["local mean"], seeds=2, output=tmp_path / "runs")
    first = capsys.readouterr().out
    assert "| local mean | 100.0 ± 0.0 |" in first
    row = tmp_path / "runs" / "noise-local_mean-1.json"
    row.write_text(json.dumps(json.loads(row.read_text()) | {"image AUROC": 98.0}))
    surfaces.main(surface, ["local mean"], seeds=2, output=tmp_path / "runs")
    assert "| local mean | 99.0 ± 1.4 |" in capsys.readouterr().out


def test_settings_are_chosen_on_training_images_that_are_damaged_by_hand(surface: Path, tmp_path: Path, capsys) -> None:
    real = surfaces.load(surface)
    chosen_on = surfaces.by_hand(real)
    assert torch.equal(torch.cat([chosen_on.train, chosen_on.good]), real.train)
    assert len(chosen_on.good) == 8  # a fifth of 36, rounded up
    assert len(chosen_on.bad) == len(chosen_on.mask) == 4 * 8
    assert not torch.equal(chosen_on.bad[:8], chosen_on.good)
    surfaces.main(surface, ["local mean"], seeds=1, output=tmp_path / "runs", damage_by_hand=True)
    assert [file.name for file in (tmp_path / "runs").iterdir()] == ["noise-by_hand-local_mean-0.json"]
    assert "| local mean |" in capsys.readouterr().out


def test_a_length_of_training_is_set_for_all(surface: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lengths = []
    monkeypatch.setattr(surfaces.SegmentationDetector, "_fit", lambda self, _: lengths.append(self.training_settings))
    surfaces.run("segmentation", surfaces.load(surface), 1, steps=7)
    surfaces.run("segmentation", surfaces.load(surface), 1)
    assert [(each.steps, each.seed) for each in lengths] == [
        (7, 1),
        (SegmentationDetector().training_settings.steps, 1),
    ]
