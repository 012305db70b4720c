"""Images with boxes, and what is asked of them."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.utils.data import Dataset

from examples.common.settings import ConfigError

# By how much a box may reach over the edge: annotators round.
_ROUNDING = 1.0


@dataclass(frozen=True)
class Sample:
    """An image and what it shows.

    Attributes:
        image: ``(3, H, W)`` uint8.
        boxes: ``(N, 4)`` float, ``(x0, y0, x1, y1)`` in pixels.
        labels: ``(N,)`` int64 from 1 on; 0 is the background.
        uncounted: ``(N,)`` bool, boxes that count neither for a detector nor against it; none without.
    """

    image: Tensor
    boxes: Tensor
    labels: Tensor
    uncounted: Tensor | None = None


class Boxed(Dataset[Sample]):
    """Samples in memory, or read one by one.

    Attributes:
        classes: Names of the labels from 1 on.
    """

    def __init__(self, samples: Sequence[Sample], classes: Sequence[str]) -> None:
        self.samples, self.classes = samples, tuple(classes)

    def fingerprint(self) -> str:
        """A hash: the same for the same samples in the same order, and for no others."""
        digest = hashlib.sha256(repr(self.classes).encode())
        for sample in self.samples:
            for part in (sample.image, sample.boxes, sample.labels):
                digest.update(part.contiguous().numpy().data)
        return digest.hexdigest()

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, number: int) -> Sample:
        return self.samples[number]


def check_boxes(boxes: Sequence[Sequence[float]], width: int, height: int, where: str) -> None:
    """Refuse boxes ``(x0, y0, x1, y1)`` that are empty or outside of their image.

    Raises:
        ConfigError: If one is; the message begins with ``where`` it stands.
    """
    for number, (x0, y0, x1, y1) in enumerate(boxes):
        box = [x0, y0, x1, y1]
        if x1 <= x0 or y1 <= y0:
            raise ConfigError(f"{where}: box {number} is empty, {box}. Mend or remove it in that file")
        if min(x0, y0) < -_ROUNDING or x1 > width + _ROUNDING or y1 > height + _ROUNDING:
            raise ConfigError(
                f"{where}: box {number}, {box}, reaches out of the image, which has {width}x{height} pixels. Mend or "
                "remove it in that file; boxes are (x0, y0, x1, y1) in pixels"
            )


def flipped(sample: Sample) -> Sample:
    """The mirror image."""
    boxes = sample.boxes.clone()
    boxes[:, [0, 2]] = sample.image.shape[2] - sample.boxes[:, [2, 0]]
    return Sample(sample.image.flip(2), boxes, sample.labels, sample.uncounted)


def target_of(sample: Sample) -> dict[str, Tensor]:
    """What torchvision's detectors and torchmetrics' average precision ask for."""
    uncounted = torch.zeros(len(sample.labels), dtype=torch.bool) if sample.uncounted is None else sample.uncounted
    return {"boxes": sample.boxes, "labels": sample.labels, "iscrowd": uncounted.long()}
