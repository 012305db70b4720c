"""What judges whether the structure of images is whole."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from nda_augment.auditing.measuring.distances import clusters
from nda_augment.auditing.measuring.intervals import share
from nda_augment.auditing.measuring.probes import FEATURE_RIDGE, ridge_regression, with_one

_CLUSTERS, _IMAGES_PER_CLUSTER = 10, 8
# A classifier must be right on this part, at least, of what chance leaves wrong.
_LEAST_SKILL = 0.15


@dataclass(frozen=True)
class Structure:
    """Judges whether images still show what their sources show.

    Attributes:
        name: Name of what judges.
        kept: Map of the features ``(n, D)`` of what became of the sources, to whether each is still what it was,
            ``(n,)``.
        clean: Value of that map for the sources themselves, ``(n,)``.
        chance: Share that is to be expected if nothing is left.
        stands_in: Whether it only stands for labels.
    """

    name: str
    kept: Callable[[Tensor], Tensor]
    clean: Tensor
    chance: float
    stands_in: bool

    @property
    def judges(self) -> bool:
        """Whether it is far enough above chance to say anything."""
        return self.chance < 1 and (share(self.clean).low - self.chance) / (1 - self.chance) >= _LEAST_SKILL

    def broken(self, kept: Tensor, some: Tensor) -> float:
        """Return what is lost of the sources' share, as a part of what can be lost; 0 where nothing can.

        Args:
            kept: Answers of :attr:`kept`, ``(n,)``.
            some: Mask of the images to look at, bool ``(n,)``.
        """
        clean = float(self.clean[some].mean())
        return (clean - float(kept[some].mean())) / (clean - self.chance) if clean > self.chance else 0.0


def structure_of(
    real: Tensor, sources: Tensor, labels: Tensor | None, groups: Tensor, generator: torch.Generator
) -> Structure:
    """Make a judge: a linear classifier of the labels, or, without labels, clusters of the real features.

    The classifier that judges a group of sources has learned from the real images and from the other groups.

    Args:
        real: Features of the real images, ``(n, D)``.
        sources: Features of the sources, ``(n, D)``.
        labels: Classes of the real images and of the sources, ``(2n,)``, or ``None``.
        groups: Number of the group of each source, ``(n,)``.
        generator: Source of the first cluster centres.

    Raises:
        ValueError: If the classifier is not better than chance.
    """
    if labels is None:
        centres = clusters(real, max(2, min(_CLUSTERS, len(real) // _IMAGES_PER_CLUSTER)), generator=generator)

        def nearest(features: Tensor) -> Tensor:
            return torch.cdist(features, centres).argmin(1)

        own = nearest(sources)
        chance = float((own.bincount() / len(own)).square().sum())
        return Structure(
            f"{len(centres)} clusters of features, which stand for labels",
            lambda features: (nearest(features) == own).float(),
            torch.ones_like(own, dtype=torch.float32),
            chance,
            stands_in=True,
        )
    names, numbers = torch.unique(labels, return_inverse=True)
    targets = F.one_hot(numbers, len(names)).to(real.dtype)
    truth = numbers[len(real) :]
    weights = []
    for group in range(int(groups.max()) + 1):
        others = torch.cat([torch.ones_like(groups, dtype=torch.bool), groups != group])
        weights.append(ridge_regression(torch.cat([real, sources])[others], targets[others], ridge=FEATURE_RIDGE))

    def right(features: Tensor) -> Tensor:
        scores = torch.stack([with_one(features) @ weight for weight in weights], dim=1)
        own: Tensor = scores[torch.arange(len(groups), device=groups.device), groups]
        return own.argmax(1).eq(truth).float()

    clean = right(sources)
    chance = float((truth.bincount() / len(truth)).square().sum())
    if share(clean).low <= chance:
        raise ValueError(
            f"a linear classifier of the labels is right on {share(clean)} of real images, where chance is "
            f"{chance:.2f}: too little to see what negatives break. Give more images, another encoder, or no labels"
        )
    return Structure(
        f"a linear classifier of {len(names)} classes on the features", right, clean, chance, stands_in=False
    )
