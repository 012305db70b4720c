"""The two players: small residual networks, the discriminator with spectral normalisation (Miyato et al. 2018)."""

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import spectral_norm

_SMALLEST = 4  # side of the feature map that the generator starts from and the discriminator ends on


class Generator(nn.Module):
    """Latent vectors ``(B, z_dim)`` to images ``(B, channels, size, size)`` in [-1, 1].

    Args:
        size: Side of the images, 4 times a power of two.
        channels: Of the images.
        z_dim: Length of a latent vector.
        width: Feature maps at full resolution; each coarser level has twice as many, up to four times.
    """

    def __init__(self, size: int, channels: int, z_dim: int, width: int) -> None:
        super().__init__()
        widths = _widths(size, width)[::-1]
        self.z_dim = z_dim
        self.start = nn.Linear(z_dim, widths[0] * _SMALLEST**2)
        self.blocks = nn.Sequential(*[_UpBlock(i, o) for i, o in pairwise(widths)])
        self.end = nn.Sequential(nn.BatchNorm2d(widths[-1]), nn.ReLU(), nn.Conv2d(widths[-1], channels, 3, padding=1))

    def forward(self, latents: Tensor) -> Tensor:
        """Images of a batch of latents."""
        features = self.start(latents).unflatten(1, (-1, _SMALLEST, _SMALLEST))
        images: Tensor = self.end(self.blocks(features)).tanh()
        return images


class Discriminator(nn.Module):
    """Images ``(B, channels, size, size)`` in [-1, 1] to logits ``(B,)``; high means real.

    Args:
        size: Side of the images, 4 times a power of two.
        channels: Of the images.
        width: Feature maps at full resolution; each coarser level has twice as many, up to four times.
    """

    def __init__(self, size: int, channels: int, width: int) -> None:
        super().__init__()
        widths = _widths(size, width)[:-1]
        self.blocks = nn.Sequential(
            _DownBlock(channels, widths[0], activate=False),
            *[_DownBlock(i, o) for i, o in pairwise(widths)],
            _DownBlock(widths[-1], widths[-1], pool=False),
            nn.ReLU(),
        )
        self.end = spectral_norm(nn.Linear(widths[-1], 1))

    def forward(self, images: Tensor) -> Tensor:
        """Logits of a batch of images."""
        logits: Tensor = self.end(self.blocks(images).sum(dim=(2, 3))).squeeze(1)
        return logits


class _UpBlock(nn.Module):
    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.norm1 = nn.BatchNorm2d(in_channels)
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(out_channels)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1)
        self.shortcut = nn.Conv2d(in_channels, out_channels, 1)

    def forward(self, features: Tensor) -> Tensor:
        upsampled = self.conv1(F.interpolate(self.norm1(features).relu(), scale_factor=2))
        residual: Tensor = self.conv2(self.norm2(upsampled).relu())
        # A 1x1 convolution and nearest upsampling commute; this order costs a quarter.
        return residual + F.interpolate(self.shortcut(features), scale_factor=2)


class _DownBlock(nn.Module):
    def __init__(self, in_channels: int, out_channels: int, activate: bool = True, pool: bool = True) -> None:
        super().__init__()
        # Images come in as they are: a ReLU would throw their darker half away.
        self.activate = nn.ReLU() if activate else nn.Identity()
        self.conv1 = spectral_norm(nn.Conv2d(in_channels, out_channels, 3, padding=1))
        self.conv2 = spectral_norm(nn.Conv2d(out_channels, out_channels, 3, padding=1))
        self.shortcut = spectral_norm(nn.Conv2d(in_channels, out_channels, 1))
        self.pool = nn.AvgPool2d(2) if pool else nn.Identity()

    def forward(self, features: Tensor) -> Tensor:
        residual: Tensor = self.pool(self.conv2(self.conv1(self.activate(features)).relu()))
        shortcut: Tensor = self.shortcut(self.pool(features))
        return residual + shortcut


def _widths(size: int, width: int) -> list[int]:
    """Feature maps per level, from full resolution down to the smallest."""
    levels = (size // _SMALLEST).bit_length()
    return [width * 2 ** min(level, 2) for level in range(levels)]


@torch.no_grad()
def update_average(average: nn.Module, model: nn.Module, decay: float) -> None:
    """Move an exponential moving average of a model one step: parameters by ``1 - decay``, buffers all the way."""
    for mean, parameter in zip(average.parameters(), model.parameters(), strict=True):
        mean.lerp_(parameter, 1 - decay)
    for kept, buffer in zip(average.buffers(), model.buffers(), strict=True):
        kept.copy_(buffer)
