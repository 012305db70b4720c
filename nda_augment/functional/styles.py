"""Kernels that change the style of images: mean and deviation of their channels."""

import torch
from torch import Tensor

from nda_augment._checks import check_images, check_parameter
from nda_augment.functional._layout import in_layout_of

__all__ = ["channel_statistics", "restyle"]


def channel_statistics(images: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean and standard deviation of each channel of each image; of a clip, over all of its frames.

    Args:
        images: Images ``(B, C, H, W)`` or clips ``(B, T, C, H, W)``, floating point, any range.

    Returns:
        Means and deviations, ``(B, C)`` each, in float32 or wider.

    Raises:
        TypeError: If the images are not floating point.

    Example:
        >>> channel_statistics(torch.tensor([1.0, 3.0]).view(1, 1, 1, 2))
        (tensor([[2.]]), tensor([[1.]]))
    """
    values = _channels_first(images)
    deviation, mean = torch.std_mean(values, dim=(2, 3), correction=0)
    return mean, deviation


def restyle(images: Tensor, means: Tensor, deviations: Tensor) -> Tensor:
    """Give each channel of each image another mean and deviation: the kernel of :class:`nda_augment.AdversarialStyle`.

    A flat channel has no deviation to stretch; it takes the mean alone.

    Args:
        images: Images ``(B, C, H, W)`` or clips ``(B, T, C, H, W)``, floating point, any range.
        means: Mean that each channel gets, ``(B, C)``.
        deviations: Standard deviation that each channel gets, ``(B, C)``; below 0 it turns light and dark around.

    Returns:
        Tensor like ``images``: same shape, dtype, device and memory format.

    Raises:
        ValueError: If a shape is wrong.
        TypeError: If the images are not floating point.

    Example:
        >>> restyle(torch.tensor([1.0, 3.0]).view(1, 1, 1, 2), torch.tensor([[0.0]]), torch.tensor([[5.0]])).flatten()
        tensor([-5.,  5.])

    Source: Huang and Belongie, Adaptive Instance Normalization, ICCV 2017.
    """
    check_images(images)
    mean, deviation = channel_statistics(images)
    for name, values in (("means", means), ("deviations", deviations)):
        check_parameter(values, name, tuple(mean.shape))
    shape = (len(images), *(1,) * (images.ndim - 4), mean.shape[1], 1, 1)
    flat = deviation == 0
    scale = torch.where(flat, 0.0, deviations / torch.where(flat, 1.0, deviation)).view(shape)
    styled = (images.to(mean.dtype) - mean.view(shape)) * scale + means.view(shape)
    return in_layout_of(images, styled.to(images.dtype))


def _channels_first(images: Tensor) -> Tensor:
    """View images as ``(B, C, frames · H, W)``, in float32 or wider."""
    if not images.is_floating_point():
        raise TypeError(f"a style is changed in floating point, got {images.dtype}; convert with .float() / 255")
    values = images.to(torch.promote_types(images.dtype, torch.float32))
    return values if values.ndim == 4 else values.transpose(1, 2).flatten(2, 3)
