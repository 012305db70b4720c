import warnings

import pytest
import torch

import nda_augment as nda
from nda_augment.anomaly import (
    ClassifierDetector,
    DensityDetector,
    Detector,
    DiscriminatorDetector,
    Encoder,
    SegmentationDetector,
    ShiftDetector,
    Training,
    _training,
    rotations,
    simclr_views,
)

QUICK = Training(epochs=2, lr=3e-3, accelerator="cpu")


@pytest.fixture(scope="session", autouse=True)
def _fabric_is_loaded() -> None:
    """The first import of Lightning takes seconds, and warns about things that are not ours."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        _training._fabric(QUICK)


def make(kind: str, training: Training = QUICK) -> Detector:
    """A small detector of each kind for grey images of 8 pixels, always with the same weights."""
    torch.manual_seed(1)
    encoder = Encoder(channels=1, width=4)
    views = simclr_views((8, 8))
    if kind == "density":
        return DensityDetector(encoder, encoder.features)
    if kind == "classifier":
        return ClassifierDetector(encoder, encoder.features, [nda.CutPaste(), nda.Stitch()], training=training)
    if kind == "windows":
        return ClassifierDetector(encoder, encoder.features, [nda.CutPaste()], patch=0.5, training=training)
    if kind in ("segmentation", "restoring"):
        return SegmentationDetector(1, width=2, restore=kind == "restoring", training=training)
    if kind == "discriminator":
        generator = torch.nn.Sequential(torch.nn.Linear(4, 64), torch.nn.Sigmoid(), torch.nn.Unflatten(1, (1, 8, 8)))
        layers = (torch.nn.Flatten(), torch.nn.Linear(64, 32), torch.nn.LeakyReLU(), torch.nn.Linear(32, 1))
        head = torch.nn.Sequential(*layers)
        return DiscriminatorDetector(generator, head, 4, nda.Rotate90(), lr=(1e-3, 1e-2), training=training)
    method = "uniclr" if kind == "uniclr" else "csi"
    shifts = {"simclr": [], "random": [nda.Jigsaw(), nda.Stitch()]}.get(kind, rotations())
    return ShiftDetector(encoder, encoder.features, shifts, method, views=views, dim=8, test_views=2, training=training)


NETS = ["density", "classifier", "windows", "segmentation", "restoring"]
KINDS = [*NETS, "discriminator", "csi", "simclr", "random", "uniclr"]


def stripes(count: int, *, upright: bool = True, seed: int = 0) -> torch.Tensor:
    """Normal images are bright at the top; others at the left."""
    noise = 0.1 * torch.rand(count, 1, 8, 8, generator=torch.Generator().manual_seed(seed))
    ramp = torch.linspace(0.9, 0.0, 8)
    return noise + (ramp[:, None] if upright else ramp).expand(8, 8)


@pytest.fixture
def normal() -> torch.Tensor:
    return stripes(64)
