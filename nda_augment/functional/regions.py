"""Kernels that overwrite a region of an image, and the masks that describe regions."""

import math

import torch
from torch import Tensor

from nda_augment.functional._canvas import as_canvas, as_images
from nda_augment.functional._checks import check_images, check_parameter

Fill = str | float | tuple[float, ...]
FILLS = ("patch_mean", "image_mean", "zero")


def cutout(images: Tensor, boxes: Tensor, fill: Fill = "patch_mean") -> Tensor:
    """Fill a box of every image with a flat colour.

    Args:
        images: ``(B, C, H, W)`` or ``(B, T, C, H, W)``, floating point or uint8, any range.
        boxes: int64 ``(B, 4)`` of ``(x0, y0, x1, y1)`` in pixels, half-open, not empty.
        fill: ``"patch_mean"``, each channel's mean over the box (the paper's); ``"image_mean"``, its mean over the
            image; ``"zero"``; a number; or one number per channel. Numbers are in the images' own range.

    Returns:
        Tensor like ``images``: same shape, dtype, device and memory format. Means of uint8 images are rounded.

    Raises:
        ValueError: If a shape is wrong, or the fill is an unknown word or has not one number per channel.
        TypeError: If the images are neither floating point nor uint8.

    Example:
        >>> image = torch.tensor([[[[1.0, 3.0], [5.0, 7.0]]]])
        >>> cutout(image, torch.tensor([[0, 0, 2, 1]]))[0, 0].tolist()
        [[2.0, 2.0], [5.0, 7.0]]

    Source: Sinha et al., Negative Data Augmentation, ICLR 2021, "Cutout", whose fill is the mean of the patch;
    DeVries and Taylor, 2017, fill with zero.
    """
    check_images(images)
    check_parameter(boxes, "boxes", (images.shape[0], 4))
    canvas = as_canvas(images)
    colour = _colour(canvas, boxes, check_fill(fill), channels=images.shape[-3])
    return as_images(torch.where(outside_boxes(boxes, canvas), canvas, colour), images)


def check_fill(fill: Fill) -> Fill:
    """Return the fill, or raise if it is a word that no kernel knows or a number that is not one."""
    if isinstance(fill, str):
        if fill not in FILLS:
            raise ValueError(f"unknown fill {fill!r}; known are {', '.join(FILLS)}, a number, or one per channel")
        return fill
    numbers = (fill,) if isinstance(fill, (int, float)) else tuple(fill)
    if not numbers or not all(math.isfinite(number) for number in numbers):
        raise ValueError(f"fill must be made of finite numbers, got {fill}")
    return fill if isinstance(fill, (int, float)) else numbers


def outside_boxes(boxes: Tensor, canvas: Tensor) -> Tensor:
    """Return bool ``(B, 1, H, W, 1)``, True outside the boxes."""
    rows, cols = _box_sides(boxes, canvas)
    return (~rows.unsqueeze(2) | ~cols.unsqueeze(1))[:, None, :, :, None]


def _box_sides(boxes: Tensor, canvas: Tensor) -> tuple[Tensor, Tensor]:
    """Return bool ``(B, H)`` and ``(B, W)``, True on the rows and columns of the boxes."""
    x0, y0, x1, y1 = boxes.unsqueeze(-1).unbind(dim=1)
    row = torch.arange(canvas.shape[2], device=boxes.device)
    col = torch.arange(canvas.shape[3], device=boxes.device)
    return (row >= y0) & (row < y1), (col >= x0) & (col < x1)


def _colour(canvas: Tensor, boxes: Tensor, fill: Fill, channels: int) -> Tensor:
    """Return the colour of each box, broadcastable to the canvas and of its dtype."""
    if fill == "patch_mean":
        return _to_dtype(_box_mean(canvas, boxes), canvas.dtype)
    if fill == "image_mean":
        return _to_dtype(canvas.mean(dim=(2, 3), keepdim=True, dtype=_mean_dtype(canvas)), canvas.dtype)
    if fill == "zero":
        return canvas.new_zeros(())
    if isinstance(fill, (int, float)):
        return canvas.new_full((), fill)
    assert not isinstance(fill, str)
    if len(fill) != channels:
        raise ValueError(f"fill={fill} has {len(fill)} numbers for images of {channels} channels")
    # A channels_last canvas holds the channels in the pixel; a contiguous one has them, frame by frame, as planes.
    planes, values = canvas.shape[1], canvas.shape[4]
    per_channel = torch.tensor(fill, dtype=canvas.dtype, device=canvas.device)
    return (
        per_channel.view(1, 1, 1, 1, -1) if values > 1 else per_channel.repeat(planes // channels).view(1, -1, 1, 1, 1)
    )


def _box_mean(canvas: Tensor, boxes: Tensor) -> Tensor:
    """Return each plane's mean over the box, ``(B, P, 1, 1, S)``.

    A product with the box's rows comes first: it reads the images once, at the speed of the memory.
    """
    dtype = _mean_dtype(canvas)
    rows, cols = (side.to(dtype) for side in _box_sides(boxes, canvas))
    lines = (rows[:, None, None, :] @ canvas.flatten(3).to(dtype)).view(canvas[:, :, :1].shape)
    total = (lines * cols[:, None, None, :, None]).sum(dim=3, keepdim=True)
    return total / (rows.sum(1) * cols.sum(1)).view(-1, 1, 1, 1, 1)


def _mean_dtype(canvas: Tensor) -> torch.dtype:
    return torch.float64 if canvas.dtype == torch.float64 else torch.float32


def _to_dtype(colour: Tensor, dtype: torch.dtype) -> Tensor:
    return colour.to(dtype) if dtype.is_floating_point else colour.round().to(dtype)
