"""Scenes: scikit-learn's digits on photographs and textures of scikit-image and scikit-learn, their boxes known.

``python -m examples.detection.scenes scenes.npz`` writes scenes without labels, to learn features from.

Digits and backgrounds of test scenes are in no training scene.
"""

from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from torch import Tensor
from torch.nn import functional as F

from examples.common.photographs import load_whole
from examples.common.randomness import generator
from examples.common.runs import command
from examples.detection.samples import Boxed, Sample
from nda_augment._files import write_atomically

TRAINING = ("astronaut", "coffee", "rocket", "temple", "brick", "gravel", "colour", "coins")
TEST = ("cat", "flower", "motorcycle", "grass", "hubble")
CLASSES = tuple("0123456789")
_HELD_OUT = 0.25  # share of the digits
_MOST = 3  # digits in a scene
_SIDES = (0.2, 0.45)  # of a digit's cell, as shares of the scene's side
_FAINT = 0.25  # opacity from which a pixel belongs to the digit


def load(training: int, test: int, size: int) -> tuple[Boxed, Boxed]:
    """Return training and test scenes of ``size`` pixels a side; always the same."""
    return compose(training, size, held_out=False, purpose="scenes"), compose(test, size, held_out=True)


def compose(count: int, size: int, held_out: bool, purpose: str = "scenes") -> Boxed:
    """Compose scenes.

    Args:
        count: How many.
        size: Side in pixels.
        held_out: Whether digits and backgrounds are those kept for testing.
        purpose: Name of the draws; others are other scenes.
    """
    from sklearn.datasets import load_digits

    data = load_digits()
    order = torch.randperm(len(data.images), generator=generator(0, "holdout"))
    kept = round(len(order) * (1 - _HELD_OUT))
    chosen = order[kept:] if held_out else order[:kept]
    digits, labels = torch.from_numpy(data.images).float()[chosen] / 16, torch.from_numpy(data.target)[chosen]
    backgrounds = [load_whole(name) for name in (TEST if held_out else TRAINING)]
    source = generator(0, purpose, int(held_out))
    return Boxed([_scene(backgrounds, digits, labels, size, source) for _ in range(count)], CLASSES)


def _scene(backgrounds: list[Tensor], digits: Tensor, labels: Tensor, size: int, source: torch.Generator) -> Sample:
    def draw(low: float, high: float) -> float:
        return low + (high - low) * float(torch.rand((), generator=source))

    def choose(count: int) -> int:
        return int(torch.randint(count, (), generator=source))

    image = _crop(backgrounds[choose(len(backgrounds))], size, draw(0.3, 1.0), draw(0, 1), draw(0, 1))
    boxes: list[list[int]] = []
    shown: list[int] = []
    for _ in range(1 + choose(_MOST)):
        number = choose(len(digits))
        side = round(size * draw(*_SIDES))
        opacity = F.interpolate(digits[number][None, None], size=(side, side), mode="bilinear", align_corners=False)[
            0, 0
        ]
        left, top = (choose(size - side + 1) for _ in range(2))
        box = _bounds(opacity, left, top)
        colour = torch.rand(3, 1, 1, generator=source)
        if any(_overlap(box, other) for other in boxes):
            continue
        place = image[:, top : top + side, left : left + side]
        # Far from the mean of what is behind: no digit is invisible.
        behind = place.mean(dim=(1, 2), keepdim=True)
        colour = torch.where((colour - behind).abs() < 0.3, (behind + 0.5) % 1.0, colour)
        place.lerp_(colour.expand_as(place), opacity.expand_as(place))
        boxes.append(box)
        shown.append(int(labels[number]) + 1)
    return Sample((image * 255).round().to(torch.uint8), torch.tensor(boxes).float(), torch.tensor(shown))


def _crop(photograph: Tensor, size: int, share: float, down: float, right: float) -> Tensor:
    """A square of a photograph ``(3, H, W)`` uint8, whose side is a share of its shorter one; floats in [0, 1]."""
    side = max(round(share * min(photograph.shape[1:])), min(size, *photograph.shape[1:]))
    top, left = (round(at * (length - side)) for at, length in zip((down, right), photograph.shape[1:], strict=True))
    square = photograph[None, :, top : top + side, left : left + side].float() / 255
    return F.interpolate(square, size=(size, size), mode="bilinear", antialias=True)[0].clamp(0, 1)


def _bounds(opacity: Tensor, left: int, top: int) -> list[int]:
    """The box ``[x0, y0, x1, y1]`` around what is seen of a digit."""
    seen = opacity >= _FAINT
    rows, columns = seen.any(dim=1).nonzero().flatten(), seen.any(dim=0).nonzero().flatten()
    return [left + int(columns[0]), top + int(rows[0]), left + int(columns[-1]) + 1, top + int(rows[-1]) + 1]


def _overlap(box: list[int], other: list[int]) -> bool:
    return box[0] < other[2] and other[0] < box[2] and box[1] < other[3] and other[1] < box[3]


@command
def main(
    path: Annotated[Path, typer.Argument(help="The .npz to write")],
    count: Annotated[int, typer.Option(help="How many scenes")] = 2048,
    size: Annotated[int, typer.Option(help="Side in pixels")] = 96,
) -> None:
    """Write scenes of training digits and backgrounds, other ones than detectors learn from, without labels."""
    scenes = compose(count, size, held_out=False, purpose="unlabelled")
    images = np.stack([sample.image.permute(1, 2, 0).numpy() for sample in scenes.samples])
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, lambda file: np.savez(file, images=images))


if __name__ == "__main__":
    typer.run(main)
