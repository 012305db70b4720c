"""DCGAN's convolutional networks (Radford et al. 2016), ``MODEL.backbone=deep_conv``, at any size."""

from itertools import pairwise

from torch import Tensor, nn

from examples.common.networks.layers import START, Condition

_SLOPE = 0.2


class UpLayer(nn.Module):
    """A transposed convolution that doubles the side, batch norm and ReLU."""

    def __init__(self, in_channels: int, out_channels: int, condition: Condition) -> None:
        super().__init__()
        self.conv = nn.ConvTranspose2d(in_channels, out_channels, 4, stride=2, padding=1, bias=False)
        self.norm = condition.norm(out_channels)

    def forward(self, features: Tensor, condition: Tensor | None) -> Tensor:
        return self.norm(self.conv(features.relu()), condition)  # type: ignore[no-any-return]


def widths(size: int, width: int) -> list[int]:
    """Channels per level, from full resolution down to 4x4."""
    return [width * 2 ** min(level, 4) for level in range((size // START).bit_length())]


def end(width: int, channels: int) -> nn.Module:
    """Return the generator's last layers, from features to pixels."""
    return nn.Sequential(nn.ReLU(), nn.Conv2d(width, channels, 3, padding=1))


def down_layers(channels: int, widths: list[int], *, batch_norm: bool) -> nn.Module:
    """Return strided convolutions down to 4x4, with batch norm on all but the first, as the paper has it."""
    layers: list[nn.Module] = []
    for i, o in pairwise([channels, *widths]):
        layers.append(nn.Conv2d(i, o, 4, stride=2, padding=1))
        if batch_norm and i != channels:
            layers.append(nn.BatchNorm2d(o))
        layers.append(nn.LeakyReLU(_SLOPE))
    return nn.Sequential(*layers)
