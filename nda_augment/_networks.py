"""A small encoder for when there is none at hand, and the guard under which networks are asked."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nda_augment._tracing import is_plain


@contextmanager
def evaluating(*modules: nn.Module) -> Iterator[None]:
    """Put modules in eval mode, and give each of their parts its own mode back."""
    modes = {part: part.training for module in modules for part in module.modules()}
    for module in modules:
        module.eval()
    try:
        yield
    finally:
        for part, training in modes.items():
            part.training = training


class Encoder(nn.Module):
    """A residual network of three stages, and the mean of its features over the image or over a grid of places.

    It is small on purpose: 0.3 million weights at ``width=32``. For photographs of 64 pixels and more take a ResNet.

    Args:
        channels: Number of channels of the images.
        width: Number of channels of the first stage; the next two have twice and four times as many.
        stride: Stride of the first convolution; 2 takes a quarter of the time.
        places: Side of the grid of places whose features are kept apart; 1 is the mean of the whole image, which
            cannot tell where in the image things are.

    Attributes:
        features: Length of a feature vector, ``4 * width * places**2``.

    Raises:
        ValueError: If a number is below 1.

    Shape:
        ``(B, channels, H, W)``, from 4 pixels a side on, to ``(B, features)``.

    Example:
        >>> Encoder(channels=3, width=8)(torch.rand(2, 3, 16, 16)).shape
        torch.Size([2, 32])
    """

    def __init__(self, channels: int = 3, width: int = 32, *, stride: int = 1, places: int = 1) -> None:
        super().__init__()
        for name, number in (("channels", channels), ("width", width), ("stride", stride), ("places", places)):
            if number < 1:
                raise ValueError(f"{name} must be at least 1, got {number}")
        self.features = 4 * width * places**2
        self.channels, self.width, self.stride, self.places = channels, width, stride, places
        self.layers = nn.Sequential(
            nn.Conv2d(channels, width, 3, stride=stride, padding=1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            _Block(width, width, stride=1),
            _Block(width, 2 * width, stride=2),
            _Block(2 * width, 4 * width, stride=2),
        )

    def arguments(self) -> dict[str, int]:
        """Return the constructor's arguments by name."""
        return {name: getattr(self, name) for name in ("channels", "width", "stride", "places")}

    def forward(self, images: Tensor) -> Tensor:
        """Features of a batch of images."""
        maps = self.layers(images)
        if self.places == 1:
            features: Tensor = maps.mean(dim=(2, 3))
            return features
        return F.adaptive_avg_pool2d(maps, self.places).flatten(1)


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
        if is_plain(features):  # CPUs convolve faster so
            features = features.contiguous(memory_format=torch.channels_last)
        summed: Tensor = self.residual(features) + self.shortcut(features)
        return summed.relu()
