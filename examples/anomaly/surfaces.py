"""Detectors and baselines on surfaces with real defects: ``python -m examples.anomaly.surfaces roads.npz``.

A file holds uint8 grey images ``train``, ``good`` and ``bad``, ``(N, H, W)``, and ``mask``, bool, of the bad ones, or
none. Every arm has its default settings. Each run is kept as JSON, and none is made twice. With ``--by-hand``
settings can be chosen without a look at ``good`` and ``bad``: a fifth of the training images is held out and damaged.
"""

import json
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from kornia.filters import gaussian_blur2d
from rich.console import Console
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from examples.anomaly.damage import KINDS, damaged
from nda_augment._files import write_text
from nda_augment.anomaly import (
    ClassifierDetector,
    DensityDetector,
    Detector,
    Encoder,
    Features,
    PatchDetector,
    SegmentationDetector,
    auroc,
    average_precision,
    defect,
    defect_negatives,
    per_region_overlap,
)

console = Console()
BATCH = 8
SHARE = 0.03


@dataclass(frozen=True)
class Surface:
    """Images ``(N, 1, H, W)`` in [0, 1], and masks of the bad ones."""

    train: Tensor
    good: Tensor
    bad: Tensor
    mask: Tensor | None


def load(path: Path) -> Surface:
    """Read a file."""
    with np.load(path) as file:
        train, good, bad = (torch.from_numpy(file[name])[:, None].float() / 255 for name in ("train", "good", "bad"))
        mask = torch.from_numpy(file["mask"])[:, None] if file["mask"].size else None
    return Surface(train, good, bad, mask)


def by_hand(surface: Surface) -> Surface:
    """Hold out the last fifth of the training images, and damage each of them by hand in every way."""
    kept = len(surface.train) * 4 // 5
    held_out = surface.train[kept:]
    bad, masks = zip(*(damaged(held_out, kind) for kind in KINDS), strict=True)
    return Surface(surface.train[:kept], held_out, torch.cat(bad), torch.cat(masks))


class LocalMean(nn.Module):
    """Distance of every pixel to the mean around it."""

    def fit(self, images: Tensor) -> None:
        """Learn nothing."""

    def forward(self, images: Tensor) -> Tensor:
        """Maps ``(B, 1, H, W)``."""
        return _blurred((images - F.avg_pool2d(F.pad(images, (7,) * 4, mode="reflect"), 15, 1)).abs())


class PatchPCA(nn.Module):
    """Squared error of patches of 8 pixels, rebuilt from 16 principal components of normal ones."""

    side, kept = 8, 16

    def fit(self, images: Tensor) -> None:
        """Find the components."""
        patches = F.unfold(images, self.side, stride=4).transpose(1, 2).flatten(0, 1).double()
        self.mean = patches.mean(dim=0)
        apart = patches - self.mean
        basis = torch.linalg.eigh(apart.T @ apart).eigenvectors[:, -self.kept :]
        self.rest = (torch.eye(self.side**2) - basis @ basis.T).float()

    def forward(self, images: Tensor) -> Tensor:
        """Maps ``(B, 1, H, W)``."""
        patches = F.unfold(images, self.side, stride=2).transpose(1, 2) - self.mean.float()
        errors = (patches @ self.rest).square().mean(dim=-1)
        rows = (images.shape[-2] - self.side) // 2 + 1
        return _blurred(F.interpolate(errors.view(len(images), 1, rows, -1), images.shape[-2:], mode="bilinear"), 2)


def _blurred(maps: Tensor, sigma: float = 1.0) -> Tensor:
    side = 2 * round(3 * sigma) + 1
    return gaussian_blur2d(maps, (side, side), (sigma, sigma))


class RandomConvolutions(nn.Module):
    """Two layers of random convolutions."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(1, 32, 5, 2, 2), nn.ReLU())
        self.second = nn.Sequential(nn.Conv2d(32, 64, 3, 2, 1), nn.ReLU())

    def forward(self, images: Tensor) -> Tensor:
        """The maps of the last layer."""
        maps: Tensor = self.second(self.first(images - 0.5))
        return maps


def classifier() -> ClassifierDetector:
    """CutPaste's way: windows are told from their negatives."""
    encoder = Encoder(channels=1, width=16)
    return ClassifierDetector(encoder, encoder.features, defect_negatives(), patch=0.25)


def untrained() -> Detector:
    """The network of the classifier as it was drawn."""
    detector = classifier()
    detector._fit = partial(DensityDetector._fit, detector)  # type: ignore[method-assign]
    return detector


ARMS: dict[str, Callable[[], Any]] = {
    "local mean": LocalMean,
    "PCA of patches": PatchPCA,
    "random neighbours": lambda: PatchDetector(Features(RandomConvolutions(), ["first", "second"])),
    "random Gaussian": lambda: PatchDetector(Features(RandomConvolutions(), ["first", "second"]), "gaussian"),
    "untrained": untrained,
    "classifier": classifier,
    "segmentation": lambda: defect(channels=1),
    "segmentation, restored": lambda: SegmentationDetector(channels=1, restore=True),
}


def run(arm: str, surface: Surface, seed: int, steps: int | None = None) -> dict[str, float]:
    """Fit an arm on good images and measure it, in percent; ``minutes`` are those of one core for the fit.

    Args:
        arm: One of ``ARMS``.
        surface: What to learn from and to measure on.
        seed: Seed of weights, order and negatives.
        steps: Steps of the training; ``None`` leaves the detector its own.
    """
    start = time.process_time()
    torch.manual_seed(seed)
    model = ARMS[arm]()
    if isinstance(model, Detector):
        if isinstance(model, (ClassifierDetector, SegmentationDetector)):
            settings = replace(model.training_settings, seed=seed, accelerator="cpu")
            model.training_settings = settings if steps is None else replace(settings, steps=steps, epochs=None)
        model.fit(DataLoader(TensorDataset(surface.train), BATCH, shuffle=True, drop_last=True))
        look = model.heatmap
    else:
        model.fit(surface.train)
        look = model
    minutes = (time.process_time() - start) / 60
    images = torch.cat([surface.good, surface.bad])
    anomalous = torch.arange(len(images)) >= len(surface.good)
    maps = torch.cat([look(some) for some in torch.split(images, 32)])
    if isinstance(model, Detector):
        scores = torch.cat([model.score(some) for some in torch.split(images, 32)])
    else:
        scores = maps.flatten(1).topk(round(SHARE * maps[0].numel()), dim=1).values.mean(dim=1)
    found = {"image AUROC": auroc(scores, anomalous), "image AP": average_precision(scores, anomalous)}
    if surface.mask is not None:
        mask = torch.cat([torch.zeros(surface.good.shape, dtype=torch.bool), surface.mask])
        found |= {"pixel AUROC": auroc(maps, mask), "pixel AP": average_precision(maps, mask)}
        found["PRO"] = per_region_overlap(maps, mask)
    return {name: 100 * value for name, value in found.items()} | {"minutes": minutes}


def table(rows: dict[str, list[dict[str, float]]]) -> str:
    """Markdown: mean and standard deviation over seeds."""
    columns = list(next(iter(rows.values()))[0])
    lines = [f"| | {' | '.join(columns)} |", "| --- |" + " --- |" * len(columns)]
    for arm, found in rows.items():
        cells = [[row[column] for row in found] for column in columns]
        shown = [f"{statistics.mean(c):.1f} ± {statistics.stdev(c) if len(c) > 1 else 0:.1f}" for c in cells]
        lines.append(f"| {arm} | {' | '.join(shown)} |")
    return "\n".join(lines)


def main(
    data: Annotated[Path, typer.Argument(help="An .npz of a surface")],
    arm: Annotated[list[str] | None, typer.Option(help=f"One of {', '.join(ARMS)}; may be repeated")] = None,
    seeds: Annotated[int, typer.Option(help="How many, from 0 on")] = 3,
    output: Annotated[Path, typer.Option(help="Folder of the runs")] = Path("runs/anomaly/surfaces"),
    damage_by_hand: Annotated[
        bool, typer.Option("--by-hand", help="Measure on training images that are held out and damaged by hand")
    ] = False,
    steps: Annotated[int | None, typer.Option(help="Steps of every training, in place of the detector's own")] = None,
) -> None:
    """Compare detectors and baselines."""
    torch.set_num_threads(1)
    surface = by_hand(load(data)) if damage_by_hand else load(data)
    what = data.stem + ("-by_hand" if damage_by_hand else "") + ("" if steps is None else f"-{steps}_steps")
    rows: dict[str, list[dict[str, float]]] = {}
    output.mkdir(parents=True, exist_ok=True)
    for name in arm or ARMS:
        for seed in range(seeds):
            file = output / f"{what}-{name.replace(' ', '_')}-{seed}.json"
            if not file.exists():
                write_text(json.dumps(run(name, surface, seed, steps)) + "\n", file)
            rows.setdefault(name, []).append(json.loads(file.read_text()))
            console.print(file.stem, rows[name][-1])
    print(table(rows))


if __name__ == "__main__":
    typer.run(main)
