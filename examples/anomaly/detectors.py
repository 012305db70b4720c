"""From a config to a detector of ``nda_augment.anomaly``, with weights that depend on the seed only."""

from collections.abc import Callable
from typing import cast

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

import nda_augment as nda
from examples.anomaly.config import Config, negatives
from examples.common.networks import sngan
from examples.common.randomness import seeded
from nda_augment.anomaly import (
    ClassifierDetector,
    DensityDetector,
    Detector,
    DiscriminatorDetector,
    Encoder,
    ShiftDetector,
    Training,
    simclr_views,
)
from nda_augment.anomaly.shifted import Method


def make(settings: Config) -> Detector:
    """Build the detector of a config for RGB images in [0, 1]."""
    with seeded(settings.RUN.seed, "weights"):
        detector = _MAKERS[settings.MODEL.detector](settings)
    return detector.to(memory_format=torch.channels_last)  # a third faster, on CPUs as well


def fit(settings: Config, images: Tensor) -> Detector:
    """Train the detector of a config on normal uint8 images ``(N, 3, H, W)``."""
    return make(settings).fit(batches(images, settings.OPTIMIZATION.batch_size))


def batches(images: Tensor, batch_size: int) -> DataLoader[tuple[Tensor, ...]]:
    """Shuffled batches of uint8 images as floats in [0, 1]; incomplete ones are left out."""
    if len(images) < batch_size:
        raise ValueError(f"{len(images)} normal images do not fill a batch of {batch_size}")
    return DataLoader(TensorDataset(images.float() / 255), batch_size, shuffle=True, drop_last=True)


def scores(detector: Detector, images: Tensor, batch_size: int = 500) -> Tensor:
    """Scores ``(N,)`` of uint8 images ``(N, 3, H, W)``, on the CPU."""
    return torch.cat([detector.score(some.float() / 255).cpu() for some in torch.split(images, batch_size)])


def training(settings: Config) -> Training:
    """How detectors of this config learn."""
    optimization, run = settings.OPTIMIZATION, settings.RUN
    return Training(optimization.epochs, optimization.lr, seed=run.seed, accelerator=run.accelerator)


def _views(settings: Config) -> nn.Module:
    size, aug = settings.DATA.img_size, settings.AUG
    return simclr_views((size, size), color=aug.color, flip=aug.flip, min_scale=aug.min_scale)


def _density(settings: Config) -> Detector:
    encoder = Encoder(3, settings.MODEL.width)
    return DensityDetector(encoder, encoder.features)


def _classifier(settings: Config) -> Detector:
    encoder = Encoder(3, settings.MODEL.width)
    return ClassifierDetector(
        encoder,
        encoder.features,
        negatives(settings.AUG.negatives),
        patch=settings.AUG.patch or None,
        views=_views(settings),
        training=training(settings),
    )


def _shifted(settings: Config) -> Detector:
    encoder = Encoder(3, settings.MODEL.width)
    return ShiftDetector(
        encoder,
        encoder.features,
        negatives(settings.AUG.negatives),
        cast(Method, settings.MODEL.detector),
        views=_views(settings),
        dim=settings.MODEL.dim,
        test_views=settings.AUG.test_views,
        training=training(settings),
    )


def _discriminator(settings: Config) -> Detector:
    size, model = settings.DATA.img_size, settings.MODEL
    members = negatives(settings.AUG.negatives)
    return DiscriminatorDetector(
        nn.Sequential(sngan.generator(size, 3, model.width, model.z_dim), _Affine(0.5, 0.5)),
        nn.Sequential(_Affine(2.0, -1.0), sngan.discriminator(size, 3, model.width), nn.Flatten(0)),
        settings.MODEL.z_dim,
        nda.Mixture(members) if members else None,
        fake_weight=settings.AUG.fake_weight if members else 1.0,
        training=training(settings),
    )


_MAKERS: dict[str, Callable[[Config], Detector]] = {
    "density": _density,
    "classifier": _classifier,
    "csi": _shifted,
    "uniclr": _shifted,
    "discriminator": _discriminator,
}


class _Affine(nn.Module):
    """Between the detectors' [0, 1] and the [-1, 1] of the GAN's networks."""

    def __init__(self, scale: float, shift: float) -> None:
        super().__init__()
        self.scale, self.shift = scale, shift

    def forward(self, images: Tensor) -> Tensor:
        return images * self.scale + self.shift
