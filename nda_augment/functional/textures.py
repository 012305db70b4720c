"""Kernels that keep the texture of an image and nothing else."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from nda_augment._checks import check_images, check_parameter
from nda_augment.functional._layout import as_images, as_planes, by_chunks, pick, size_of, slices_pay
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
        ValueError: If a shape is wrong.
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
    if slices_pay(2 * len(planes), planes, side, windows):
        return as_images(_map_images(_tiled_image, planes, side, windows), images)
    return as_images(by_chunks(_tiled, planes, side, windows), images)


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
    if slices_pay(8 * len(planes), planes, side, windows):
        return as_images(_map_images(_resampled_image, planes, side, windows), images)
    return as_images(by_chunks(_resampled, planes, side, windows), images)


# The four tilings: whether each lies half a tile lower, and half a tile further right.
_HALVES = ((0, 0), (0, 1), (1, 0), (1, 1))


def _resampled(planes: Tensor, side: Tensor, windows: Tensor) -> Tensor:
    height, width = size_of(planes)
    rows, cols = _fading(height, side), _fading(width, side)
    total = torch.zeros((), device=planes.device, dtype=working_dtype(planes))
    for number, (down, right) in enumerate(_HALVES):
        tiled = _tiled(planes, side, windows[:, number], down, right).to(total.dtype)
        weight = rows[down][:, None, :, None, None] * cols[right][:, None, None, :, None]
        total = total + tiled * weight.to(total.dtype)
    return to_dtype(total, planes.dtype)


def _resampled_image(image: Tensor, side: Tensor, windows: Tensor) -> Tensor:
    _, height, width, _ = image.shape
    rows, cols = (_fading(length, side.view(1)) for length in (height, width))
    total = torch.zeros(image.shape, dtype=working_dtype(image))
    for number, (down, right) in enumerate(_HALVES):
        weight = rows[down].view(-1, 1, 1).to(total.dtype) * cols[right].view(-1, 1).to(total.dtype)
        total.addcmul_(_tiled_image(image, side, windows[number], down, right).to(total.dtype), weight)
    return to_dtype(total, image.dtype)


def _map_images(kernel: Callable[..., Tensor], planes: Tensor, side: Tensor, windows: Tensor) -> Tensor:
    result = torch.empty_like(planes)
    for target, *given in zip(result.unbind(), planes.unbind(), side.unbind(), windows.unbind(), strict=True):
        target.copy_(kernel(*given))
    return result


def _tiled(planes: Tensor, side: Tensor, windows: Tensor, down: int = 0, right: int = 0) -> Tensor:
    """Show in tiles what the windows show, the tiling moved up by ``down`` half tiles and left by ``right``."""
    height, width = size_of(planes)
    side = side.view(-1, 1)
    row = torch.arange(height, device=planes.device) + down * (side // 2)
    col = torch.arange(width, device=planes.device) + right * (side // 2)
    # A corner is one number, that of its pixel, and so is each pixel's place in its tile.
    corner = windows[..., 1] * width + windows[..., 0]
    lines = corner.gather(1, (row // side).unsqueeze(2).expand(-1, -1, corner.shape[2]))
    lines = lines + (row % side * width).unsqueeze(2)
    places = lines.gather(2, (col // side).unsqueeze(1).expand(-1, height, -1))
    return pick(planes, places + (col % side).unsqueeze(1))


def _tiled_image(image: Tensor, side: Tensor, windows: Tensor, down: int = 0, right: int = 0) -> Tensor:
    """Do so for planes ``(P, H, W, S)`` of one image on the CPU, by copying the lines of windows as a whole."""
    count, height, width, values = image.shape
    length = int(side)
    start = right * (length // 2)
    tiles = -(-(start + width) // length)
    row = torch.arange(height) + down * (length // 2)
    corner = (windows[:, :tiles, 1] * width + windows[:, :tiles, 0]).index_select(0, row // length)
    line = corner + (row % length * width).unsqueeze(1)
    line = (line + torch.arange(0, count * height * width, height * width).view(-1, 1, 1)) * values
    # Every line of pixels there is, from every pixel on: a view, from which whole lines are copied.
    flat, span = image.reshape(-1), length * values
    lines = flat.as_strided((flat.numel() - span + 1, span), (1, 1)).index_select(0, line.flatten())
    return lines.view(count, height, tiles * length, values)[:, :, start : start + width]


def _fading(length: int, side: Tensor) -> tuple[Tensor, Tensor]:
    """Return the weights ``(B, length)`` along a side of tiles in their place and of those half a tile further."""
    side = side.view(-1, 1)
    place = torch.arange(length, device=side.device)
    bumps = [torch.sin(math.pi * ((place + move) % side + 0.5) / side) ** 2 for move in (0, side // 2)]
    total = bumps[0] + bumps[1]
    return bumps[0] / total, bumps[1] / total
