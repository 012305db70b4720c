"""The two questions asked of a detector: is this the normal class, and is this from the data set at all?"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from examples.anomaly.config import Config
from examples.anomaly.detectors import fit, scores
from examples.anomaly.metrics import Measures, detection
from examples.common.corruptions import CORRUPTIONS, FIVE_STRENGTHS, corrupt
from examples.common.data import Images, labels_of
from examples.common.photographs import load_photographs

Score = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class OneClass:
    """A detector that learned one class, asked about the test images of all."""

    normal: int
    scores: Tensor
    is_anomaly: Tensor

    @property
    def measures(self) -> Measures:
        return detection(self.scores[~self.is_anomaly], self.scores[self.is_anomaly])


def one_class(settings: Config, training: Images, test: Images, normal: int) -> OneClass:
    """Learn the training images of one class; test images of the others are anomalies."""
    detector = fit(settings, training.images[labels_of(training) == normal])
    return OneClass(normal, scores(detector, test.images), labels_of(test) != normal)


def out_of_distribution(score: Score, test: Tensor, outside: Mapping[str, Tensor]) -> dict[str, Measures]:
    """Ask something that learned a whole data set about its test images and about others, set by set.

    Args:
        score: From uint8 images to scores.
        test: The normal images, uint8 ``(N, 3, H, W)``.
        outside: Sets of other images by name.
    """
    normal = score(test)
    return {name: detection(normal, score(images)) for name, images in outside.items()}


def corrupted(images: Tensor) -> dict[str, Tensor]:
    """All corruptions of uint8 images, mixed, one set for each strength."""
    parts = images.chunk(len(CORRUPTIONS))
    return {
        f"corrupted, strength {strength}": torch.cat(
            [
                (255 * corrupt(part.float() / 255, name, strength)).round().to(torch.uint8)
                for part, name in zip(parts, CORRUPTIONS, strict=False)
            ]
        )
        for strength in FIVE_STRENGTHS
    }


def photographs(size: int) -> Tensor:
    """Tiles of the photographs that ship with scikit-image and scikit-learn: uint8 ``(384, 3, size, size)``."""
    pictures, _ = load_photographs(8 * size)
    tiles = pictures.unfold(2, size, size).unfold(3, size, size).permute(0, 2, 3, 1, 4, 5).flatten(0, 2)
    return (255 * tiles).round().to(torch.uint8)
