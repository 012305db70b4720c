"""A network that judges pixels by their surroundings at several scales, and learns in minutes on one core."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nda_augment._constants import kept

_SCALES = (0.7, 1.4, 2.8, 5.6)
_FINE = 3
_LEAST_CONTRAST = 0.03
_DILATIONS = (1, 3, 6, 12)


class Derivatives(nn.Module):
    """Edges, lines and spots of four sizes: what there is to see of a small defect, without a weight to learn.

    At each scale four maps: how an image changes by smoothing it, the size of its gradient, and the larger and the
    smaller eigenvalue of its second derivatives, which tell bright and dark lines from spots whatever their direction.
    All are in units of the image's own fine contrast, so that a coarser surface looks like a finer one; the smoothed
    image itself, in its own units, comes last.

    Args:
        channels: Channels of the images; each has its own maps.

    Shape:
        ``(B, channels, H, W)`` to ``(B, 17 * channels, H, W)``.

    Example:
        >>> Derivatives(channels=3)(torch.rand(2, 3, 24, 20)).shape
        torch.Size([2, 51, 24, 20])

    Source: Lindeberg, Feature Detection with Automatic Scale Selection, IJCV 1998; as features of pixels: Sommer et
    al., ilastik, ISBI 2011.
    """

    def __init__(self, channels: int = 3) -> None:
        super().__init__()
        self.features = channels * (4 * len(_SCALES) + 1)

    def forward(self, images: Tensor) -> Tensor:
        """Maps of a batch of images."""
        batch, channels, height, width = images.shape
        values = images.reshape(batch * channels, 1, height, width)
        smooth = [values, *(_smoothed(values, scale) for scale in _SCALES)]
        contrast = (values - smooth[_FINE]).square().mean(dim=(1, 2, 3), keepdim=True).sqrt().clamp(min=_LEAST_CONTRAST)
        maps = []
        for scale, finer, coarser in zip(_SCALES, smooth, smooth[1:], strict=False):
            slope, high, low = _derivatives(coarser)
            maps += [each / contrast for each in (finer - coarser, scale * slope, scale**2 * high, scale**2 * low)]
        return torch.cat([*maps, smooth[-1]], dim=1).view(batch, self.features, height, width)


class PixelNet(nn.Module):
    """A few convolutions on :class:`Derivatives`; every pixel sees 22 pixels around it, and the scales beyond.

    Args:
        channels: Channels of the images.
        outputs: Channels of what comes out.
        width: Channels of the convolutions.

    Shape:
        ``(B, channels, H, W)`` to ``(B, outputs, H, W)``.

    Example:
        >>> PixelNet(channels=1, width=4)(torch.rand(2, 1, 24, 20)).shape
        torch.Size([2, 1, 24, 20])
    """

    def __init__(self, channels: int = 3, outputs: int = 1, width: int = 16) -> None:
        super().__init__()
        if min(channels, outputs, width) < 1:
            raise ValueError(f"channels, outputs and width must be at least 1, got {channels}, {outputs} and {width}")
        self.channels, self.outputs, self.width = channels, outputs, width
        self.derivatives = Derivatives(channels)
        features = self.derivatives.features
        self.layers = nn.Sequential(
            nn.BatchNorm2d(features),
            *_layer(nn.Conv2d(features, width, 1, bias=False)),
            *(
                part
                for dilation in _DILATIONS
                for part in _layer(nn.Conv2d(width, width, 3, padding=dilation, dilation=dilation, bias=False))
            ),
            nn.Conv2d(width, outputs, 1),
        )

    def arguments(self) -> dict[str, int]:
        """Return the constructor's arguments by name."""
        return {name: getattr(self, name) for name in ("channels", "outputs", "width")}

    def forward(self, images: Tensor) -> Tensor:
        """One vector of outputs for every pixel."""
        maps: Tensor = self.layers(self.derivatives(images).contiguous(memory_format=torch.channels_last))
        return maps


def _layer(convolution: nn.Conv2d) -> tuple[nn.Module, ...]:
    return convolution, nn.BatchNorm2d(convolution.out_channels), nn.ReLU()


def _smoothed(images: Tensor, sigma: float) -> Tensor:
    # Of crops and tiles, which have few pixels, products of matrices take less time than any convolution.
    down, across = (kept(_smoothing, length, sigma, images.dtype, device=images.device) for length in images.shape[-2:])
    return down @ images @ across.T


def _smoothing(length: int, sigma: float, dtype: torch.dtype, device: torch.device) -> Tensor:
    """The matrix ``(length, length)`` that smooths a line of pixels, which is mirrored at its ends."""
    reach, last = min(math.ceil(3 * sigma), length - 1), length - 1
    real = torch.promote_types(dtype, torch.float32)  # half precision cannot count the pixels of a line
    bell = torch.exp(-0.5 * (torch.arange(-reach, reach + 1, dtype=real, device=device) / sigma).square()).sum()
    at = torch.arange(length, dtype=real, device=device)
    # A pixel itself, and its reflections in the first and in the last, which have none of their own.
    apart = torch.stack([at, torch.where(at > 0, -at, torch.inf), torch.where(at < last, 2 * last - at, torch.inf)])
    apart = (apart.unsqueeze(1) - at.unsqueeze(1)).abs()
    weights = torch.where(apart <= reach, torch.exp(-0.5 * (apart / sigma).square()), 0.0)
    return (weights.sum(dim=0) / bell).to(dtype)


def _derivatives(images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Size of the gradient, and the larger and the smaller eigenvalue of the second derivatives."""
    padded = F.pad(images, (1, 1, 1, 1), mode="replicate")
    left, right = padded[..., 1:-1, :-2], padded[..., 1:-1, 2:]
    above, below = padded[..., :-2, 1:-1], padded[..., 2:, 1:-1]
    corners = padded[..., 2:, 2:] + padded[..., :-2, :-2] - padded[..., 2:, :-2] - padded[..., :-2, 2:]
    across, down, mixed = left + right - 2 * images, above + below - 2 * images, corners / 4
    tiny = 1e-8  # the gradient of a root at 0
    slope = (((right - left) / 2).square() + ((below - above) / 2).square() + tiny).sqrt()
    middle, spread = (across + down) / 2, (((across - down) / 2).square() + mixed.square() + tiny).sqrt()
    return slope, middle + spread, middle - spread
