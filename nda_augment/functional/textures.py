"""Kernels that keep the texture of an image and nothing else."""

import math
from collections.abc import Iterator
from itertools import groupby

import torch
from torch import Tensor

from nda_augment._checks import check_images, check_parameter
from nda_augment._constants import kept
from nda_augment.functional._kernels import fused
from nda_augment.functional._layout import (
    as_images,
    as_planes,
    every_span,
    in_caches,
    in_order,
    may_loop,
    mix,
    pick,
    size_of,
    take,
)
from nda_augment.functional._precision import to_dtype, working_dtype

__all__ = ["patch_tile", "texture_resample"]


def patch_tile(images: Tensor, side: Tensor, windows: Tensor) -> Tensor:
    """Tile every image with square windows of itself.

    Args:
        images: Images ``(B, C, H, W)`` or clips ``(B, T, C, H, W)``, any dtype and range.
        side: int64 ``(B,)``, the side of the tiles in pixels.
        windows: int64 ``(B, rows, cols, 2)``, the upper left corner ``(x, y)`` of the window that each tile shows;
            the windows lie inside the image, and there are enough rows and columns to cover it.

    Returns:
        Tensor like ``images``: same shape, dtype, device and memory format.

    Raises:
        ValueError: If a shape is wrong, a window leaves the image, or there are too few.
        TypeError: If the images are no tensor.

    Example:
        >>> image = torch.tensor([[[[1.0, 2.0, 3.0]]]])
        >>> patch_tile(image, torch.tensor([1]), torch.tensor([[[[2, 0], [2, 0], [1, 0]]]])).flatten().tolist()
        [3.0, 3.0, 2.0]

    Source: Ge et al., Robust contrastive learning using negative samples with diminished semantics, NeurIPS 2021.
    """
    check_images(images)
    check_parameter(side, "side", (len(images),))
    check_parameter(windows, "windows", (len(images), *windows.shape[1:3], 2))
    planes = as_planes(images)
    _check_windows(side, windows, size_of(planes), moved=0)
    if kernel := fused("tile", planes, side, windows):
        joined: Tensor = kernel(planes, side, windows)
        return as_images(joined, images)
    if not may_loop(planes, side, windows):
        return as_images(_tiled(planes, side, windows), images)
    order = side.argsort()
    first = take(_firsts(planes, side, windows), order)
    tiled = (_tiled_alike(planes, first[some], length) for some, length in _alike(take(side, order), planes))
    return as_images(in_order(tiled, order, planes), images)


def texture_resample(images: Tensor, side: Tensor, windows: Tensor) -> Tensor:
    """Cover every image with overlapping square windows of itself that fade into each other.

    Four tilings, each half a tile from the next, are averaged with weights sin² across the tile, which are 0 at its
    border and sum to 1 over the four: there are no seams, and no value leaves the image's range. Where windows
    overlap the contrast is lower.

    Args:
        images: Images ``(B, C, H, W)`` or clips ``(B, T, C, H, W)``, floating point or uint8, any range.
        side: int64 ``(B,)``, the side of the tiles in pixels, at least 2.
        windows: int64 ``(B, 4, rows, cols, 2)``, the upper left corner ``(x, y)`` of the window that each tile of
            each tiling shows; there are enough rows and columns to cover the image and half a tile.

    Returns:
        Tensor like ``images``: same shape, dtype, device and memory format.

    Raises:
        ValueError: If a shape is wrong, a window leaves the image, or there are too few.
        TypeError: If the images are neither floating point nor uint8.

    Example:
        >>> image = torch.ones(1, 1, 4, 4)
        >>> texture_resample(image, torch.tensor([2]), torch.zeros(1, 4, 3, 3, 2).long()).unique().tolist()
        [1.0]

    Source: after the tiling and blending of Heitz and Neyret, High-performance by-example noise, 2018; Ge et al.,
    NeurIPS 2021, use synthesised texture as negatives.
    """
    check_images(images)
    check_parameter(side, "side", (len(images),))
    check_parameter(windows, "windows", (len(images), 4, *windows.shape[2:4], 2))
    planes = as_planes(images)
    _check_windows(side, windows, size_of(planes), moved=1)
    if kernel := fused("average_tiles", planes, side, windows):
        average: Tensor = kernel(planes, side, windows, *(_fading(length, side) for length in size_of(planes)))
        return as_images(average, images)
    if not may_loop(planes, side, windows):
        return as_images(_resampled(planes, side, windows), images)
    order = side.argsort()
    return as_images(in_order(_resampled_alike(planes, side, windows, order), order, planes), images)


def _check_windows(side: Tensor, windows: Tensor, size: tuple[int, int], moved: int) -> None:
    """Raise unless windows lie in the images, and as many tiles, moved by so many halves of one, cover these."""
    if not (may_loop(side, windows) and len(side)):
        return
    least = int(side.min())
    if least < 1:
        raise ValueError(f"side must be at least 1 pixel, got {least}")
    for name, length, tiles in zip("xy", reversed(size), reversed(windows.shape[-3:-1]), strict=True):
        if tiles * least - moved * (least // 2) < length:
            raise ValueError(f"{tiles} windows along {name} with a side of {least} px do not cover {length} px")
    first, last = windows.flatten(1, -2).aminmax(dim=1)
    begins, ends = first.amin(0).tolist(), (last + side.unsqueeze(1)).amax(0).tolist()
    for name, length, begin, end in zip("xy", reversed(size), begins, ends, strict=True):
        if begin < 0 or end > length:
            raise ValueError(
                f"windows must lie within images of {size[0]}x{size[1]} px, got {name} from {begin} to {end} "
                "with the side"
            )


# The four tilings: whether each lies half a tile lower, and half a tile further right.
_HALVES = ((0, 0), (0, 1), (1, 0), (1, 1))


def _resampled(planes: Tensor, side: Tensor, windows: Tensor) -> Tensor:
    rows, cols = (_fading(length, side) for length in size_of(planes))
    tiled = (_tiled(planes, side, windows[:, number], *halves) for number, halves in enumerate(_HALVES))
    return _averaged(tiled, rows[:, None, :, None, None], cols[:, None, None, :, None])


def _resampled_alike(planes: Tensor, side: Tensor, windows: Tensor, order: Tensor) -> Iterator[Tensor]:
    """Do so on the CPU, and yield images in an order that is that of their sides, those at once that have the same."""
    rows, cols = (take(_fading(length, side), order) for length in size_of(planes))
    rows, cols = rows[:, None, :, None, None], cols[:, None, None, :, None]
    tilings = [
        (take(_firsts(planes, side, windows[:, number], down), order), right)
        for number, (down, right) in enumerate(_HALVES)
    ]
    for some, length in _alike(take(side, order), planes):
        tiled = (_tiled_alike(planes, first[some], length, right) for first, right in tilings)
        yield _averaged(tiled, rows[some], cols[some])


def _averaged(tiled: Iterator[Tensor], row: Tensor, col: Tensor) -> Tensor:
    """Average the four tilings, made one after the other, given the weights of the lower ones and of the right ones."""
    first = next(tiled)
    working = working_dtype(first)
    row, col = row.to(working), col.to(working)
    upper = mix(col, next(tiled).to(working), first.to(working))
    third = next(tiled).to(working)
    lower = mix(col, next(tiled).to(working), third)
    return to_dtype(mix(row, lower, upper), first.dtype, within=True)


def _tiled(planes: Tensor, side: Tensor, windows: Tensor, down: int = 0, right: int = 0) -> Tensor:
    """Show in tiles what the windows show, the tiling moved up by ``down`` half tiles and left by ``right``."""
    height, width = size_of(planes)
    lines, side = _lines(windows, side, (height, width), down), side.view(-1, 1)
    col = torch.arange(width, device=planes.device) + right * (side // 2)
    places = lines.gather(2, (col // side).unsqueeze(1).expand(-1, height, -1))
    return pick(planes, places + (col % side).unsqueeze(1))


def _alike(side: Tensor, planes: Tensor) -> Iterator[tuple[slice, int]]:
    """Yield, of images whose sides ascend, those of the same side, a few at once, and this side."""
    few, start = in_caches(planes), 0
    for length, alike in groupby(side.tolist()):
        stop = start + len(list(alike))
        for low in range(start, stop, few):
            yield slice(low, min(low + few, stop)), length
        start = stop


def _firsts(planes: Tensor, side: Tensor, windows: Tensor, down: int = 0) -> Tensor:
    """Return the value of the batch that each line of each tile of each image begins with, ``(B, 1, H, cols)``."""
    size = planes.shape[1:].numel()
    image = torch.arange(0, len(planes) * size, size).view(-1, 1, 1)
    return (_lines(windows, side, size_of(planes), down) * planes.shape[-1] + image).unsqueeze(1)


def _tiled_alike(planes: Tensor, first: Tensor, length: int, right: int = 0) -> Tensor:
    """Show tiles of a common side in some images on the CPU, by copying the lines of windows as a whole."""
    count, height, width, values = planes.shape[1:]
    start = right * (length // 2)
    tiles = -(-(start + width) // length)
    line = first[..., :tiles] + kept(_planes, count, height * width * values, device=planes.device)
    found = every_span(planes, length * values).index_select(0, line.flatten())
    return found.view(len(first), count, height, tiles * length, values)[..., start : start + width, :]


def _planes(count: int, size: int, device: torch.device) -> Tensor:
    """Return the first value of each plane of an image, ``(count, 1, 1)``."""
    return torch.arange(0, count * size, size, device=device).view(-1, 1, 1)


def _lines(windows: Tensor, side: Tensor, size: tuple[int, int], down: int) -> Tensor:
    """Return the pixel at which each line of each tile begins in the image, ``(B, H, cols)``."""
    side = side.view(-1, 1)
    row = torch.arange(size[0], device=side.device) + down * (side // 2)
    # A corner is one number, that of its pixel, and so is each pixel's place in its tile.
    corner = windows[..., 1] * size[1] + windows[..., 0]
    lines = corner.gather(1, (row // side).unsqueeze(2).expand(-1, -1, corner.shape[2]))
    return lines + (row % side * size[1]).unsqueeze(2)


def _fading(length: int, side: Tensor) -> Tensor:
    """Return along a side the weights ``(B, length)`` of tiles that lie half a tile further; others have the rest."""
    side = side.view(-1, 1)
    place = torch.arange(length, device=side.device)
    bumps = [torch.sin(math.pi * ((place + move) % side + 0.5) / side) ** 2 for move in (0, side // 2)]
    return bumps[1] / (bumps[0] + bumps[1])
