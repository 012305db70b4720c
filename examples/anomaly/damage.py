"""Damage drawn by hand, in ways that share nothing with the negatives: what settings of detectors are chosen on."""

import numpy as np
import torch
from kornia.filters import gaussian_blur2d
from torch import Tensor

KINDS = ("crack", "stain", "smear", "scratch")


def damaged(images: Tensor, kind: str, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Damage every image once.

    Args:
        images: Grey images ``(N, 1, H, W)`` in [0, 1].
        kind: One of ``KINDS``: a dark random walk, a soft dark spot, a place that is smeared, a bright straight line.
        seed: Seed of the places and shapes.

    Returns:
        The damaged images, and masks, bool, of the same shape.
    """
    source = np.random.default_rng((KINDS.index(kind), seed))
    draw = {"crack": _crack, "stain": _stain, "smear": _smear, "scratch": _scratch}[kind]
    pairs = [draw(image[0], source) for image in images]
    return torch.stack([image for image, _ in pairs])[:, None], torch.stack([mask for _, mask in pairs])[:, None]


def _crack(image: Tensor, source: np.random.Generator) -> tuple[Tensor, Tensor]:
    place, angle = _somewhere(image, source), source.uniform(0, 2 * np.pi)
    mask = torch.zeros_like(image)
    for _ in range(source.integers(40, 120)):
        row, column = (round(at) for at in place)
        if not (0 <= row < image.shape[0] and 0 <= column < image.shape[1]):
            break
        mask[row, column] = 1.0
        angle += source.normal(0, 0.4)
        place = place + np.array([np.sin(angle), np.cos(angle)])
    return _blended(image, mask, image - source.uniform(0.08, 0.3), 0.6)


def _stain(image: Tensor, source: np.random.Generator) -> tuple[Tensor, Tensor]:
    rows, columns = _grid(image, _somewhere(image, source))
    radius = source.uniform(0.04, 0.12) * min(image.shape)
    wobble = 1 + 0.3 * torch.sin(torch.atan2(rows, columns) * int(source.integers(2, 6)) + source.uniform(0, 6))
    mask = ((rows.square() + columns.square()).sqrt() < radius * wobble).to(image.dtype)
    return _blended(image, mask, image * source.uniform(0.6, 0.85), 1.0)


def _smear(image: Tensor, source: np.random.Generator) -> tuple[Tensor, Tensor]:
    rows, columns = _grid(image, _somewhere(image, source))
    radius, angle = source.uniform(0.06, 0.15) * min(image.shape), source.uniform(0, np.pi)
    along, across = columns * np.cos(angle) + rows * np.sin(angle), rows * np.cos(angle) - columns * np.sin(angle)
    mask = ((along / (2 * radius)).square() + (across / radius).square() < 1).to(image.dtype)
    shifts = [torch.roll(image, (round(k * np.sin(angle)), round(k * np.cos(angle))), (0, 1)) for k in range(-4, 5)]
    return _blended(image, mask, torch.stack(shifts).mean(dim=0), 1.0)


def _scratch(image: Tensor, source: np.random.Generator) -> tuple[Tensor, Tensor]:
    rows, columns = _grid(image, _somewhere(image, source))
    length, angle = source.uniform(0.15, 0.5) * min(image.shape), source.uniform(0, np.pi)
    along, across = columns * np.cos(angle) + rows * np.sin(angle), rows * np.cos(angle) - columns * np.sin(angle)
    mask = ((across.abs() < 0.7) & (along.abs() < length / 2)).to(image.dtype)
    return _blended(image, mask, image + source.uniform(0.1, 0.35), 0.5)


def _somewhere(image: Tensor, source: np.random.Generator) -> np.ndarray:
    """A place in the middle half."""
    return np.array([source.uniform(0.25, 0.75) * length for length in image.shape])


def _grid(image: Tensor, middle: np.ndarray) -> tuple[Tensor, Tensor]:
    """Rows and columns from a place."""
    rows, columns = (torch.arange(length) - at for length, at in zip(image.shape, middle, strict=True))
    return rows[:, None].expand(image.shape), columns.expand(image.shape)


def _blended(image: Tensor, mask: Tensor, material: Tensor, sigma: float) -> tuple[Tensor, Tensor]:
    """A material where a mask is, with a soft border; the mask is where half of it or more is seen."""
    side = 2 * round(3 * sigma) + 1
    soft = gaussian_blur2d(mask[None, None], (side, side), (sigma, sigma))[0, 0]
    soft = soft / soft.max()
    return (image + soft * (material - image)).clamp(0, 1), soft >= 0.5
