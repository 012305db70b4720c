"""The players of pix2pix (Isola et al. 2017): a U-Net that translates, and a discriminator that judges patches.

Unlike theirs, the U-Net has no dropout, whose noise it learns to ignore, and the discriminator is normalised
spectrally, which suits small batches.
"""

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

_MOST = 8  # times the first layer's channels, at most
_SLOPE = 0.2


class UNet(nn.Module):
    """Edges ``(B, 1, size, size)`` to photographs ``(B, 3, size, size)`` in [-1, 1].

    Each level halves the side down to 2; on the way back every level also sees what the way down had there.

    Args:
        size: Side of the images, a power of two.
        width: Channels of the first layer.
    """

    def __init__(self, size: int, width: int) -> None:
        super().__init__()
        widths = [width * min(2**level, _MOST) for level in range(size.bit_length() - 2)]
        steps = list(pairwise([1, *widths]))
        self.down = nn.ModuleList([_down(i, o, norm=0 < level < len(steps) - 1) for level, (i, o) in enumerate(steps)])
        ups = list(pairwise(reversed([3, *widths])))
        # The deepest level has nobody beside it.
        self.up = nn.ModuleList([_up(i if level == 0 else 2 * i, o, last=o == 3) for level, (i, o) in enumerate(ups)])

    def forward(self, edges: Tensor) -> Tensor:
        """Photographs of a batch of edges."""
        passed = []
        features = edges
        for down in self.down:
            features = down(features)
            passed.append(features)
        features = passed.pop()
        for up in self.up:
            features = up(features)
            if passed:
                features = torch.cat([features, passed.pop()], dim=1)
        return features.tanh()


class PatchDiscriminator(nn.Module):
    """Edges ``(B, 1, H, W)`` and photographs ``(B, 3, H, W)`` to logits ``(B, 1, H', W')``, one per patch.

    Args:
        width: Channels of the first layer.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for i, o in pairwise([1 + 3, width, 2 * width, 4 * width]):
            layers += [spectral_norm(nn.Conv2d(i, o, 4, stride=2, padding=1)), nn.LeakyReLU(_SLOPE)]
        self.layers = nn.Sequential(*layers, spectral_norm(nn.Conv2d(4 * width, 1, 3, padding=1)))

    def forward(self, edges: Tensor, photographs: Tensor) -> Tensor:
        """Logits of a batch of pairs; high means that the pair is real."""
        logits: Tensor = self.layers(torch.cat([edges, photographs], dim=1))
        return logits


def _down(in_channels: int, out_channels: int, *, norm: bool) -> nn.Module:
    convolution = nn.Conv2d(in_channels, out_channels, 4, stride=2, padding=1, bias=not norm)
    layers = [convolution, nn.InstanceNorm2d(out_channels, affine=True)] if norm else [convolution]
    return nn.Sequential(*layers) if in_channels == 1 else nn.Sequential(nn.LeakyReLU(_SLOPE), *layers)


def _up(in_channels: int, out_channels: int, *, last: bool) -> nn.Module:
    convolution = nn.ConvTranspose2d(in_channels, out_channels, 4, stride=2, padding=1, bias=last)
    layers = [convolution] if last else [convolution, nn.InstanceNorm2d(out_channels, affine=True)]
    return nn.Sequential(nn.ReLU(), *layers)
