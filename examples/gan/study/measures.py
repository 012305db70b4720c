"""How good a generator is, judged by images that nobody has trained on."""

from itertools import pairwise
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from examples.common.judging import near_copies
from examples.gan.study.data import Split
from nda_augment.metrics import precision_recall_density_coverage

_FEATURES = 64
_EPOCHS = 6


class Judge:
    """Measures of generated images; the same judge for all runs on a data set.

    Args:
        split: The data. A small classifier learns the classes of its labelled images; Fréchet distance and coverage
            are taken on its last features.
        cache: File to keep the classifier's weights in; nowhere by default.
    """

    def __init__(self, split: Split, cache: Path | None = None) -> None:
        self.network = Classifier(split.images.shape[1])
        if cache is not None and cache.exists():
            self.network.load_state_dict(torch.load(cache, weights_only=True))
        else:
            _fit(self.network, split)
            if cache is not None:
                torch.save(self.network.state_dict(), cache)
        self.network.eval()
        self._held_out = split.held_out
        self._features = self.features(split.held_out)

    @torch.no_grad()
    def features(self, images: Tensor) -> Tensor:
        """Features ``(N, 64)``."""
        features: Tensor = self.network.features(images)
        return features

    def score(self, images: Tensor, training: Tensor) -> dict[str, float]:
        """Compare generated images with held-out ones, and with those that their generator learned from.

        Returns:
            ``frechet``, ``coverage``, ``recall``; ``copies``, see :func:`examples.common.judging.near_copies`.
        """
        features = self.features(images)
        count = min(1000, len(images), len(self._held_out))
        shares = precision_recall_density_coverage(self._features[:count], features[:count])
        return {
            "frechet": frechet_distance(features, self._features),
            "coverage": shares.coverage.item(),
            "recall": shares.recall.item(),
            "copies": near_copies(images, training, self._held_out),
        }


def frechet_distance(first: Tensor, second: Tensor) -> float:
    """Fréchet distance between Gaussians fitted to two sets of features ``(N, D)``."""
    (mean, covariance), (other_mean, other) = (_moments(features.double()) for features in (first, second))
    values, vectors = torch.linalg.eigh(covariance)
    root = vectors * values.clamp_min(0).sqrt() @ vectors.T
    cross = torch.linalg.eigvalsh(root @ other @ root).clamp_min(0).sqrt().sum()
    distance: Tensor = (mean - other_mean).square().sum() + covariance.trace() + other.trace() - 2 * cross
    return float(distance)


def _moments(features: Tensor) -> tuple[Tensor, Tensor]:
    return features.mean(0), features.T.cov()


class Classifier(nn.Module):
    """Images ``(B, channels, 16, 16)`` to logits ``(B, classes)``, by way of 64 features."""

    def __init__(self, channels: int, classes: int = 10) -> None:
        super().__init__()
        widths = [channels, 32, 64, _FEATURES]
        layers: list[nn.Module] = []
        for before, after in pairwise(widths):
            layers += [nn.Conv2d(before, after, 3, stride=2, padding=1), nn.BatchNorm2d(after), nn.ReLU()]
        self.features = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.head = nn.Linear(_FEATURES, classes)

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.head(self.features(images))
        return logits


def _fit(network: nn.Module, split: Split) -> None:
    draws = torch.Generator().manual_seed(0)
    torch.manual_seed(0)
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            module.reset_parameters()
    batches = len(split.images) // 64
    optimizer = torch.optim.AdamW(network.parameters(), 2e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 4e-3, total_steps=_EPOCHS * batches)
    for _ in range(_EPOCHS):
        for chosen in torch.randperm(len(split.images), generator=draws)[: batches * 64].view(-1, 64):
            optimizer.zero_grad()
            torch.autograd.backward(F.cross_entropy(network(split.images[chosen]), split.labels[chosen]))
            optimizer.step()
            schedule.step()
