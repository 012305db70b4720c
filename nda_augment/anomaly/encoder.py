"""A small network for images of any size, for when there is none at hand."""

from torch import Tensor, nn


class Encoder(nn.Module):
    """A residual network of three stages with a mean over places at the end.

    It is small on purpose: a quarter of a million weights at ``width=32``. For photographs of 64 pixels and more take
    a ResNet.

    Args:
        channels: Of the images.
        width: Channels of the first stage; the next two have twice and four times as many.

    Attributes:
        features: Length of a feature vector, ``4 * width``.

    Shape:
        ``(B, channels, H, W)``, from 4 pixels a side on, to ``(B, 4 * width)``.

    Example:
        >>> import torch
        >>> Encoder(channels=3, width=8)(torch.rand(2, 3, 16, 16)).shape
        torch.Size([2, 32])
    """

    def __init__(self, channels: int = 3, width: int = 32) -> None:
        super().__init__()
        if channels < 1 or width < 1:
            raise ValueError(f"channels and width must be at least 1, got {channels} and {width}")
        self.features = 4 * width
        self.layers = nn.Sequential(
            nn.Conv2d(channels, width, 3, padding=1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            _Block(width, width, stride=1),
            _Block(width, 2 * width, stride=2),
            _Block(2 * width, 4 * width, stride=2),
        )

    def forward(self, images: Tensor) -> Tensor:
        """Features of a batch of images."""
        features: Tensor = self.layers(images).mean(dim=(2, 3))
        return features


class _Block(nn.Module):
    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        self.residual = nn.Sequential(
            nn.Conv2d(in_channels, out_channels, 3, stride=stride, padding=1, bias=False),
            nn.BatchNorm2d(out_channels),
            nn.ReLU(),
            nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(out_channels),
        )
        self.shortcut = (
            nn.Identity()
            if stride == 1 and in_channels == out_channels
            else nn.Sequential(
                nn.Conv2d(in_channels, out_channels, 1, stride=stride, bias=False), nn.BatchNorm2d(out_channels)
            )
        )

    def forward(self, features: Tensor) -> Tensor:
        summed: Tensor = self.residual(features) + self.shortcut(features)
        return summed.relu()
