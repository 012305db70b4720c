"""Kernels that bend an image or its colours by smooth random fields."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from nda_augment._checks import check_images
from nda_augment._constants import kept
from nda_augment.functional._kernels import fused
from nda_augment.functional._layout import as_images, as_planes, by_chunks, size_of
from nda_augment.functional._precision import to_dtype, working_dtype
from nda_augment.functional.fields import check_noise, gaussian_field, weights_of_nodes

__all__ = ["field_color", "field_warp"]


def field_warp(images: Tensor, noise: Tensor, correlation: float) -> Tensor:
    """Warp every image by an affine map whose parameters vary from place to place.

    Six Gaussian fields give, at each pixel, a turn, two scales, a shear and two shifts; the pixel shows what lies at
    its place after this map, interpolated, mirrored at the borders.

    Args:
        images: Images ``(B, C, H, W)`` or clips ``(B, T, C, H, W)``, floating point or uint8, any range.
        noise: Normal numbers ``(B, 6, N, N)``, scaled to the fields' standard deviations: turn in radians, log of
            the scale along x and y, shear, shift along x and y as fractions of the sides. ``N`` from
            :func:`~nda_augment.functional.gaussian_field_nodes`.
        correlation: Correlation length ℓ of the fields as a fraction of the sides.

    Returns:
        Tensor like ``images``: same shape, dtype, device and memory format.

    Raises:
        ValueError: If a shape is wrong.
        TypeError: If the images are neither floating point nor uint8.

    Example:
        >>> from nda_augment.functional import gaussian_field_nodes
        >>> nodes = gaussian_field_nodes(0.2)
        >>> image = torch.rand(1, 3, 8, 8)
        >>> torch.allclose(field_warp(image, torch.zeros(1, 6, nodes, nodes), 0.2), image, atol=1e-5)
        True

    Source: inspired by Mansfield et al., Random Field Augmentations, 2023.
    """
    check_images(images)
    check_noise(noise, (len(images), 6), correlation)
    if (warped := _by_kernel("warp", images, noise, correlation, _UNITS_OF_WARP)) is not None:
        return warped
    return by_chunks(lambda part, own: _warped(part, own, correlation), images, noise)


def _by_kernel(name: str, images: Tensor, noise: Tensor, correlation: float, units: tuple[float, ...]) -> Tensor | None:
    """Return what a fused kernel makes of images and fields, if there is one."""
    planes, dtype = as_planes(images), working_dtype(images)
    kernel = fused(name, planes, noise) if dtype == torch.float32 else None
    if kernel is None:
        return None
    scaled = noise.to(dtype) * kept(_as_column, units, dtype, device=images.device)
    down, across = weights_of_nodes(scaled, correlation, size_of(planes))
    return as_images(kernel(planes, scaled, down, across.T), images)


def _warped(images: Tensor, noise: Tensor, correlation: float) -> Tensor:
    height, width = images.shape[-2:]
    dtype, device = working_dtype(images), images.device
    turn, scale_x, scale_y, shear, shift_x, shift_y = _fields(images, noise, correlation, _UNITS_OF_WARP).unbind(1)
    x = kept(_middles, width, dtype, device=device).view(1, 1, -1)
    y = kept(_middles, height, dtype, device=device).view(1, -1, 1)
    sheared_x, sheared_y = scale_x.exp2() * torch.addcmul(x, shear, y), scale_y.exp2() * y
    cos, sin = turn.cos(), turn.sin()
    grid_x = torch.addcmul(torch.addcmul(shift_x, cos, sheared_x), sin, sheared_y, value=-1)
    grid_y = torch.addcmul(torch.addcmul(shift_y, sin, sheared_x), cos, sheared_y)
    # Both lie apart: to write them in turns would take longer than to read them so.
    grid = torch.stack([grid_x, grid_y], dim=1).movedim(1, -1)
    planes = images.flatten(1, -3).to(dtype)
    warped = F.grid_sample(planes, grid, mode="bilinear", padding_mode="reflection", align_corners=False)
    return _like(to_dtype(warped, images.dtype).view(images.shape), images)


# What fields are scaled by: logs become those to base 2, of which the power is the faster one, and shifts, as shares
# of a side, become those of half a side, which grids are made of.
_LOG2E = 1 / math.log(2)
_UNITS_OF_WARP = (1.0, _LOG2E, _LOG2E, 1.0, 2.0, 2.0)
_UNITS_OF_COLOUR = (1.0, _LOG2E, _LOG2E)


def _fields(images: Tensor, noise: Tensor, correlation: float, units: tuple[float, ...]) -> Tensor:
    """Return the fields ``(B, F, H, W)`` over images, each in its unit."""
    dtype, size = working_dtype(images), (images.shape[-2], images.shape[-1])
    scale = kept(_as_column, units, dtype, device=images.device)
    return gaussian_field(noise.to(dtype) * scale, correlation, size)


def _as_column(units: tuple[float, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
    return torch.stack([torch.full((1, 1), unit, dtype=dtype, device=device) for unit in units])


def _middles(length: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Return the middles of the pixels along a side, which goes from -1 to 1."""
    return (torch.arange(length, device=device, dtype=dtype) * 2 + 1) / length - 1


def field_color(images: Tensor, noise: Tensor, correlation: float) -> Tensor:
    """Turn hues, stretch saturation and stretch contrast, by amounts that vary from place to place.

    Colour is split into grey and the rest. The rest is turned about the grey axis and scaled, the grey is scaled
    about its mean over the image: linear at every pixel, whatever the range. Strong settings leave the range.

    Args:
        images: Images ``(B, 3, H, W)`` or clips ``(B, T, 3, H, W)``, floating point or uint8 (rounded and held to
            0..255).
        noise: Normal numbers ``(B, 3, N, N)``, scaled to the fields' standard deviations: hue in radians, log of the
            saturation's factor, log of the contrast's factor. ``N`` from
            :func:`~nda_augment.functional.gaussian_field_nodes`.
        correlation: Correlation length ℓ of the fields as a fraction of the sides.

    Returns:
        Tensor like ``images``: same shape, dtype, device and memory format.

    Raises:
        ValueError: If a shape is wrong or the images have not three channels.
        TypeError: If the images are neither floating point nor uint8.

    Example:
        >>> from nda_augment.functional import gaussian_field_nodes
        >>> nodes = gaussian_field_nodes(0.2)
        >>> image = torch.rand(1, 3, 8, 8)
        >>> torch.allclose(field_color(image, torch.zeros(1, 3, nodes, nodes), 0.2), image, atol=1e-5)
        True

    Source: inspired by Mansfield et al., Random Field Augmentations, 2023.
    """
    check_images(images)
    if images.shape[-3] != 3:
        raise ValueError(f"colour fields need 3 channels, got images of shape {tuple(images.shape)}")
    check_noise(noise, (len(images), 3), correlation)
    if (coloured := _by_kernel("colour", images, noise, correlation, _UNITS_OF_COLOUR)) is not None:
        return coloured
    return by_chunks(lambda part, own: _coloured(part, own, correlation), images, noise)


def _coloured(images: Tensor, noise: Tensor, correlation: float) -> Tensor:
    fields = _fields(images, noise, correlation, _UNITS_OF_COLOUR)
    # The same for all channels, and frames.
    fields = fields.view(*fields.shape[:2], *(1,) * (images.ndim - 3), *fields.shape[2:])
    hue, saturation, contrast = fields.unbind(1)
    stretch = saturation.exp2()
    values = images.to(stretch.dtype)
    total = values.sum(-3, keepdim=True)
    middle = total.mean(dim=(-2, -1), keepdim=True)
    # Colour less grey, turned about the grey axis: of each channel itself, and of the difference of the other two.
    own, others = hue.cos() * stretch, hue.sin() * stretch
    red, green, blue = values.unbind(-3)
    differences = torch.stack([blue - green, red - blue, green - red], dim=-3)
    rest = torch.addcmul(middle / 3, total - middle, contrast.exp2(), value=1 / 3).addcmul(own, total, value=-1 / 3)
    turned = torch.addcmul(rest, own, values).addcmul(others, differences, value=1 / math.sqrt(3))
    return _like(to_dtype(turned, images.dtype), images)


def _like(result: Tensor, images: Tensor) -> Tensor:
    """Return a result in the memory format of the images."""
    if images.is_contiguous() or images.ndim != 4 or not images.is_contiguous(memory_format=torch.channels_last):
        return result.contiguous()
    return result.contiguous(memory_format=torch.channels_last)
