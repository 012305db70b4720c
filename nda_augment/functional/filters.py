"""Kernels that compute every pixel from its surroundings, or add noise to it."""

import torch
import torch.nn.functional as F
from torch import Tensor

from nda_augment._checks import as_positive, check_images, check_parameter
from nda_augment.functional._layout import in_layout_of
from nda_augment.functional._precision import to_dtype, without_autocast, working_dtype

__all__ = ["add_noise", "blur", "sobel"]


def add_noise(images: Tensor, noise: Tensor) -> Tensor:
    """Add noise, the same to all frames of a clip: the kernel of :class:`nda_augment.Noise`.

    Args:
        images: Images ``(B, C, H, W)`` or clips ``(B, T, C, H, W)``, floating point or uint8, any range.
        noise: Noise ``(B, C, H, W)``, in standard deviations of the channel that it is added to.

    Returns:
        Tensor like ``images``: same shape, dtype, device and memory format.

    Raises:
        ValueError: If a shape is wrong.
        TypeError: If the images are neither floating point nor uint8.

    Example:
        >>> add_noise(torch.tensor([[[[-1.0, 1.0]]]]), torch.tensor([[[[0.5, 0.0]]]])).tolist()
        [[[[-0.5, 1.0]]]]
    """
    check_images(images)
    check_parameter(noise, "noise", (len(images), *images.shape[-3:]))
    if len(images) == 0:  # no deviation, and a warning of it
        return images.clone()
    values = images.to(working_dtype(images))
    deviation = values.std(dim=(-2, -1), correction=0, keepdim=True)
    own = noise.to(values.dtype).view(len(images), *(1,) * (images.ndim - 4), *images.shape[-3:])
    return in_layout_of(images, to_dtype(values + deviation * own, images.dtype))


def blur(images: Tensor, sigma: float) -> Tensor:
    """Average every pixel's surroundings with the weights of a Gaussian: the kernel of :class:`nda_augment.Blur`.

    The Gaussian reaches three deviations to either side, or as far as the image does; beyond its border the image is
    mirrored.

    Args:
        images: Images ``(B, C, H, W)`` or clips ``(B, T, C, H, W)``, floating point or uint8, any range.
        sigma: Standard deviation of the Gaussian as a share of the image's shorter side.

    Returns:
        Tensor like ``images``: same shape, dtype, device and memory format.

    Raises:
        ValueError: If a shape is wrong, or the deviation is not positive and finite.
        TypeError: If the images are neither floating point nor uint8.

    Example:
        >>> spread = blur(torch.tensor([[0.0, 0.0, 1.0, 0.0, 0.0]]).expand(1, 1, 5, 5), 0.1).mean(dim=2)
        >>> bool(spread[0, 0, 1] > 0.1 and spread[0, 0, 2] < 0.8)
        True
    """
    check_images(images)
    shorter = min(images.shape[-2:])
    deviation = as_positive(sigma, "sigma") * shorter
    reach = min(max(1, round(3 * deviation)), (shorter - 1) // 2)
    values = images.to(working_dtype(images))
    places = torch.arange(-reach, reach + 1, device=images.device, dtype=values.dtype)
    weights = torch.exp(-0.5 * (places / deviation).square())
    weights = weights / weights.sum()
    padded = F.pad(values.reshape(-1, 1, *images.shape[-2:]), (reach,) * 4, mode="reflect")
    with without_autocast(images):
        blurred = F.conv2d(F.conv2d(padded, weights.view(1, 1, -1, 1)), weights.view(1, 1, 1, -1))
    return in_layout_of(images, to_dtype(blurred, images.dtype).view(images.shape))


def sobel(images: Tensor) -> Tensor:
    """Return the size of each channel's slope after Sobel: the kernel of :class:`nda_augment.Sobel`.

    Both filters are scaled to weights whose sizes sum to 1, and the image is continued beyond its border by its
    outermost pixels.

    Args:
        images: Images ``(B, C, H, W)`` or clips ``(B, T, C, H, W)``, floating point or uint8, any range.

    Returns:
        Tensor like ``images``: same shape, dtype, device and memory format; above 0, and 0.001 where an image is flat.

    Raises:
        ValueError: If a shape is wrong.
        TypeError: If the images are neither floating point nor uint8.

    Example:
        >>> sobel(torch.tensor([0.0, 1.0, 2.0]).expand(1, 1, 3, 3))[0, 0, 1].round(decimals=3).tolist()
        [0.5, 1.0, 0.5]
    """
    check_images(images)
    values = images.to(working_dtype(images)).reshape(-1, 1, *images.shape[-2:])
    padded = F.pad(values, (1, 1, 1, 1), mode="replicate")
    across = padded[..., 2:] - padded[..., :-2]
    down = padded[..., 2:, :] - padded[..., :-2, :]
    across = (across[..., :-2, :] + 2 * across[..., 1:-1, :] + across[..., 2:, :]) / 8
    down = (down[..., :-2] + 2 * down[..., 1:-1] + down[..., 2:]) / 8
    # The constant keeps the root's slope finite where an image is flat.
    size = (across.square() + down.square() + 1e-6).sqrt()
    return in_layout_of(images, to_dtype(size, images.dtype).view(images.shape))
