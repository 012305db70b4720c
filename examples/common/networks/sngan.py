"""SNGAN's residual networks (Miyato et al. 2018), ``MODEL.backbone=resnet``.

Widths at 32 pixels are the paper's for CIFAR-10, at 64 and 128 those of its networks for ImageNet; the others are ours.
"""

from itertools import pairwise

from torch import Tensor, nn

from examples.common.networks.generator import Generator
from examples.common.networks.layers import Condition, DownBlock, UpBlock, normalise_spectrally

# By size: multiples of the width from the coarsest level on.
GENERATOR = {
    8: (2, 1),
    16: (4, 2, 1),
    32: (4, 4, 4, 4),
    64: (16, 8, 4, 2, 1),
    128: (16, 16, 8, 4, 2, 1),
    256: (16, 16, 8, 8, 4, 2, 1),
}
# By size: multiples of the width of each block, and how many of them halve the side, from the first on.
DISCRIMINATOR = {
    8: ((1, 1), 1),
    16: ((1, 2, 2), 2),
    32: ((2, 2, 2, 2), 2),
    64: ((1, 2, 4, 8, 16), 4),
    128: ((1, 2, 4, 8, 16, 16), 5),
    256: ((1, 2, 4, 8, 8, 16, 16), 6),
}


def up_blocks(widths: list[int], condition: Condition, attention: list[int]) -> list[nn.Module]:
    """Return residual blocks from coarse to fine; those numbered in ``attention``, counted from 1, attend."""
    steps = enumerate(pairwise(widths), start=1)
    return [UpBlock(i, o, condition, attend=number in attention) for number, (i, o) in steps]


def end(width: int, channels: int) -> nn.Module:
    """Return the generator's last layers, from features to pixels."""
    return nn.Sequential(nn.BatchNorm2d(width), nn.ReLU(), nn.Conv2d(width, channels, 3, padding=1))


def down_blocks(channels: int, widths: list[int], pools: int, attention: list[int]) -> nn.Module:
    """Return residual blocks from fine to coarse; those numbered in ``attention``, counted from 1, attend."""
    blocks = [
        DownBlock(i, o, first=number == 1, pool=number <= pools, attend=number in attention)
        for number, (i, o) in enumerate(pairwise([channels, *widths]), start=1)
    ]
    return nn.Sequential(*blocks, nn.ReLU())


def generator(size: int, channels: int, width: int, z_dim: int) -> Generator:
    """Return a generator without classes, from latents ``(B, z_dim)`` to images in [-1, 1]."""
    widths = [width * multiple for multiple in GENERATOR[size]]
    condition = Condition(z_dim, len(widths) - 1)
    return Generator(z_dim, condition, widths[0], up_blocks(widths, condition, []), end(widths[-1], channels))


def discriminator(size: int, channels: int, width: int) -> nn.Module:
    """Return a discriminator without classes, spectrally normalised, from images in [-1, 1] to logits ``(B, 1)``."""
    multiples, pools = DISCRIMINATOR[size]
    widths = [width * multiple for multiple in multiples]
    network = nn.Sequential(down_blocks(channels, widths, pools, []), _Sum(), nn.Linear(widths[-1], 1))
    normalise_spectrally(network, embeddings=False)
    return network


class _Sum(nn.Module):
    """Over all places."""

    def forward(self, features: Tensor) -> Tensor:
        return features.sum(dim=(2, 3))
