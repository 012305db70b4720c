"""Kernels that keep the texture of an image and nothing else."""

import math

import torch
from torch import Tensor

from nda_augment._checks import check_images, check_parameter
from nda_augment.functional._layout import as_images, as_planes, pick, size_of
from nda_augment.functional._precision import to_dtype, working_dtype


def patch_tile(images: Tensor, side: Tensor, windows: Tensor) -> Tensor:
    """Tile every image with square windows of itself.

    Args:
        images: ``(B, C, H, W)`` or ``(B, T, C, H, W)``, floating point or uint8, any range.
        side: int64 ``(B,)``, the side of the tiles in pixels.
        windows: int64 ``(B, rows, cols, 2)``, the upper left corner ``(x, y)`` of the window that each tile shows;
            the windows lie inside the image, and there are enough rows and columns to cover it.

    Returns:
        Tensor like ``images``: same shape, dtype, device and memory format.

    Raises:
        ValueError: If a shape is wrong.
        TypeError: If the images are neither floating point nor uint8.

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
    row, col = _lines(size_of(planes), images.device)
    return as_images(_tiled(planes, side, windows, row, col), images)


def texture_resample(images: Tensor, side: Tensor, windows: Tensor) -> Tensor:
    """Cover every image with overlapping square windows of itself that fade into each other.

    Four tilings, each half a tile from the next, are averaged with weights sin² across the tile, which are 0 at its
    border and sum to 1 over the four: there are no seams, and no value leaves the image's range. Where windows
    overlap the contrast is lower.

    Args:
        images: ``(B, C, H, W)`` or ``(B, T, C, H, W)``, floating point or uint8, any range.
        side: int64 ``(B,)``, the side of the tiles in pixels, at least 2.
        windows: int64 ``(B, 4, rows, cols, 2)``, the upper left corner ``(x, y)`` of the window that each tile of
            each tiling shows; there are enough rows and columns to cover the image and half a tile.

    Returns:
        Tensor like ``images``: same shape, dtype, device and memory format.

    Raises:
        ValueError: If a shape is wrong.
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
    dtype = working_dtype(planes)
    half = (side // 2).view(-1, 1)
    total = weight_sum = torch.zeros((), device=images.device, dtype=dtype)
    for number, (down, right) in enumerate(((0, 0), (0, 1), (1, 0), (1, 1))):
        row, col = _lines(size_of(planes), images.device)
        row, col = row + down * half, col + right * half
        weight = _bump(row, side).unsqueeze(2) * _bump(col, side).unsqueeze(1)
        weight = weight[:, None, :, :, None].to(dtype)
        total = total + weight * _tiled(planes, side, windows[:, number], row, col).to(dtype)
        weight_sum = weight_sum + weight
    return as_images(to_dtype(total / weight_sum, images.dtype), images)


def _lines(size: tuple[int, int], device: torch.device) -> tuple[Tensor, Tensor]:
    height, width = size
    return torch.arange(height, device=device).view(1, -1), torch.arange(width, device=device).view(1, -1)


def _tiled(planes: Tensor, side: Tensor, windows: Tensor, row: Tensor, col: Tensor) -> Tensor:
    """Show at tiling coordinates ``row (B, H)`` and ``col (B, W)`` what the windows show there."""
    batch, _, cols, _ = windows.shape
    side = side.view(-1, 1)
    tile = (row // side).unsqueeze(2) * cols + (col // side).unsqueeze(1)
    x, y = windows.flatten(1, 2).unbind(-1)
    size = (batch, row.shape[1], col.shape[1])
    y, x = (corner.gather(1, tile.flatten(1)).view(size) for corner in (y, x))
    return pick(planes, (y + (row % side).unsqueeze(2)) * planes.shape[3] + x + (col % side).unsqueeze(1))


def _bump(line: Tensor, side: Tensor) -> Tensor:
    side = side.view(-1, 1)
    return torch.sin(math.pi * (line % side + 0.5) / side) ** 2
