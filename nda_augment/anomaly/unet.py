"""A small network that says something about every pixel."""

from torch import Tensor, nn
from torch.nn import functional as F

_DEPTH = 4


class UNet(nn.Module):
    """A U-Net of four scales whose scales meet in sums, not in stacks: a third of the work, for one core.

    Args:
        channels: Channels of the images.
        outputs: Channels of what comes out.
        width: Channels at full resolution; each of the next three scales has twice as many.

    Shape:
        ``(B, channels, H, W)``, from 8 pixels a side on, to ``(B, outputs, H, W)``.

    Example:
        >>> import torch
        >>> UNet(channels=3, width=4)(torch.rand(2, 3, 20, 30)).shape
        torch.Size([2, 1, 20, 30])

    Source: Ronneberger et al., U-Net, MICCAI 2015; sums as in Chaurasia and Culurciello, LinkNet, VCIP 2017.
    """

    def __init__(self, channels: int = 3, outputs: int = 1, width: int = 16) -> None:
        super().__init__()
        if min(channels, outputs, width) < 1:
            raise ValueError(f"channels, outputs and width must be at least 1, got {channels}, {outputs} and {width}")
        widths = [width * 2**scale for scale in range(_DEPTH)]
        self.down = nn.ModuleList(
            nn.Sequential(_conv(before, after), _conv(after, after))
            for before, after in zip([channels, *widths], widths, strict=False)
        )
        self.lift = nn.ModuleList(nn.Conv2d(2 * each, each, 1) for each in widths[:-1])
        self.up = nn.ModuleList(_conv(each, each) for each in widths[:-1])
        self.head = nn.Conv2d(width, outputs, 1)

    def forward(self, images: Tensor) -> Tensor:
        """One vector of outputs for every pixel."""
        features, scales = images, []
        for number, block in enumerate(self.down):
            features = block(F.max_pool2d(features, 2) if number else features)
            scales.append(features)
        features = scales.pop()
        for lift, block in zip(reversed(self.lift), reversed(self.up), strict=True):
            finer = scales.pop()
            coarse = F.interpolate(lift(features), finer.shape[-2:], mode="bilinear", align_corners=False)
            features = block(finer + coarse)
        outputs: Tensor = self.head(features)
        return outputs


def _conv(before: int, after: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(before, after, 3, padding=1, bias=False), nn.BatchNorm2d(after), nn.ReLU())
