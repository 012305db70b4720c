"""Regions of an image as masks ``(B, 1, H, W)``: boxes, strips, and islands of Perlin noise."""

import math

import torch
from torch import Tensor

from nda_augment._checks import check_parameter
from nda_augment._constants import counted
from nda_augment._tracing import is_plain
from nda_augment.functional.fields import perlin_noise


def box(boxes: Tensor, size: tuple[int, int]) -> Tensor:
    """Return the inside of boxes.

    Args:
        boxes: int64 ``(B, 4)`` of ``(x0, y0, x1, y1)`` in pixels, half-open.
        size: Height and width of the images.

    Returns:
        bool ``(B, 1, H, W)``.

    Example:
        >>> box(torch.tensor([[0, 0, 2, 1]]), (2, 2))[0, 0].tolist()
        [[True, True], [False, False]]
    """
    rows, cols = box_sides(boxes, size)
    return (rows.unsqueeze(2) & cols.unsqueeze(1)).unsqueeze(1)


def box_sides(boxes: Tensor, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Return bool ``(B, H)`` and ``(B, W)``, True on the rows and on the columns of the boxes."""
    # Both at once, and the shorter one cut off: these are small, and what counts is the number of operations.
    place, (low, high) = counted(max(size), boxes.device), boxes.view(-1, 2, 2, 1).unbind(1)
    cols, rows = ((place >= low) & (place < high)).unbind(1)
    return rows[:, : size[0]], cols[:, : size[1]]


def soft_box(boxes: Tensor, size: tuple[int, int], feather: float) -> Tensor:
    """Return boxes whose weight rises from their border to their middle.

    Args:
        boxes: int64 ``(B, 4)`` of ``(x0, y0, x1, y1)`` in pixels, half-open.
        size: Height and width of the images.
        feather: Share of a half side that the rise takes, in [0, 1]; 0 is a hard box.

    Returns:
        float32 ``(B, 1, H, W)`` in [0, 1], positive exactly inside the boxes.

    Example:
        >>> soft_box(torch.tensor([[0, 0, 4, 1]]), (1, 4), feather=1.0).flatten().tolist()
        [0.25, 0.75, 0.75, 0.25]
    """
    down, across = soft_sides(boxes, size, feather)
    return (down.unsqueeze(2) * across.unsqueeze(1)).unsqueeze(1)


def soft_sides(boxes: Tensor, size: tuple[int, int], feather: float) -> tuple[Tensor, Tensor]:
    """Return the weights ``(B, H)`` and ``(B, W)`` whose products are the soft boxes."""
    x0, y0, x1, y1 = boxes.unsqueeze(-1).unbind(dim=1)
    ramps = []
    for low, high, length in ((y0, y1, size[0]), (x0, x1, size[1])):
        middle = torch.arange(length, device=boxes.device) + 0.5
        depth = torch.minimum(middle - low, high - middle)
        # A pixel's middle lies half a pixel deep at least, so that the outermost line still counts.
        ramps.append((depth / (feather * (high - low) / 2).clamp(min=0.5)).clamp(0.0, 1.0))
    return ramps[0], ramps[1]


def strip(centres: Tensor, extents: Tensor, angles: Tensor, size: tuple[int, int]) -> Tensor:
    """Return thin turned rectangles.

    Args:
        centres: int64 ``(B, 2)``, the middle pixel ``(x, y)``, which always belongs to the strip.
        extents: Length and width in pixels, ``(B, 2)``.
        angles: Turn from the horizontal, ``(B,)``, in radians, clockwise as displayed.
        size: Height and width of the images.

    Returns:
        bool ``(B, 1, H, W)``.

    Example:
        >>> strip(torch.tensor([[1, 0]]), torch.tensor([[3, 1]]), torch.zeros(1), (2, 3))[0, 0].tolist()
        [[True, True, True], [False, False, False]]
    """
    along, across = strip_coordinates(centres, angles, size)
    return _within(extents, along, across).unsqueeze(1)


def strip_coordinates(centres: Tensor, angles: Tensor, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Return each pixel's place along and across a strip, ``(B, H, W)`` pixels from its middle."""
    check_parameter(angles, "angles", (len(centres),))
    x = torch.arange(size[1], device=centres.device).view(1, 1, -1) - centres[:, 0].view(-1, 1, 1)
    y = torch.arange(size[0], device=centres.device).view(1, -1, 1) - centres[:, 1].view(-1, 1, 1)
    return _turned(x, y, angles)


def strip_pixels(
    centres: Tensor, extents: Tensor, angles: Tensor, size: tuple[int, int]
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Return the pixels of strips on the CPU: image, row and column, and the place along and across, each ``(N,)``."""
    # The corners of a turned rectangle lie within half its diagonal.
    reach = math.ceil(extents.max().item() / math.sqrt(2)) if len(extents) else 0
    offset = torch.arange(-reach, reach + 1)
    along, across = _turned(offset.view(1, 1, -1), offset.view(1, -1, 1), angles)
    col, row = (centre.unsqueeze(1) + offset for centre in centres.unbind(1))
    visible = ((row >= 0) & (row < size[0])).unsqueeze(2) & ((col >= 0) & (col < size[1])).unsqueeze(1)
    inside = _within(extents, along, across) & visible
    image, down, right = inside.nonzero(as_tuple=True)
    return image, row[image, down], col[image, right], along[inside], across[inside]


def _turned(x: Tensor, y: Tensor, angles: Tensor) -> tuple[Tensor, Tensor]:
    cos, sin = angles.cos().view(-1, 1, 1), angles.sin().view(-1, 1, 1)
    return cos * x + sin * y, cos * y - sin * x


def _within(extents: Tensor, along: Tensor, across: Tensor) -> Tensor:
    reach = (extents.to(along.dtype) / 2).view(-1, 2, 1, 1)
    inside = [(-half <= place) & (place < half) for place, half in zip((along, across), reach.unbind(1), strict=True)]
    return inside[0] & inside[1]


def perlin(
    angles: Tensor,
    frequencies: Tensor,
    rotations: Tensor,
    size: tuple[int, int],
    *,
    threshold: float = 0.5,
    least: float = 0.02,
) -> Tensor:
    """Return the islands where Perlin noise is high.

    Args:
        angles: Directions of the lattice's gradients, ``(B, N, N)``, see :func:`perlin_noise`.
        frequencies: int64 ``(B, 2)``, lattice cells per image ``(x, y)``.
        rotations: Turn of the lattice, ``(B,)``, in radians.
        size: Height and width of the images.
        threshold: Noise above it belongs to the mask.
        least: Smallest share of the image; the threshold is lowered where the mask would be smaller.

    Returns:
        bool ``(B, 1, H, W)``, never empty.

    Example:
        >>> mask = perlin(torch.rand(1, 5, 5), torch.tensor([[2, 2]]), torch.zeros(1), (16, 16))
        >>> bool(mask.any())
        True

    Source: Zavrtanik et al., DRAEM, ICCV 2021 (where masks may be empty).
    """
    return islands(perlin_noise(angles, frequencies, rotations, size), threshold, least).bool()


def fewest(size: tuple[int, int], least: float = 0.02) -> int:
    """Return how many pixels the islands in an image have at least."""
    return math.ceil(least * size[0] * size[1])


def islands(noise: Tensor, threshold: float = 0.5, least: float = 0.02) -> Tensor:
    """Return the islands where noise ``(B, H, W)`` is high, as :func:`perlin` does, in numbers: 1 inside, 0 outside."""
    pixels = fewest((noise.shape[1], noise.shape[2]), least)
    if noise.device.type != "cpu" or not is_plain(noise):
        limit = _highest(noise, pixels).clamp(max=threshold)
        return (noise >= limit).to(noise.dtype).unsqueeze(1)
    # On the CPU truth values are written and read one by one, and a sort takes longer than the noise; few need one.
    above = torch.ge(noise, threshold, out=torch.empty_like(noise))
    small = above.sum((1, 2)) < pixels
    if small.any():
        above[small] = torch.ge(noise[small], _highest(noise[small], pixels)).to(noise.dtype)
    return above.unsqueeze(1)


def _highest(noise: Tensor, pixels: int) -> Tensor:
    """Return the value ``(B, 1, 1)`` that so many pixels of each image reach."""
    return noise.flatten(1).topk(pixels, dim=1).values[:, -1:].unsqueeze(2)
