"""Residual networks of 3-D convolutions, made of torchvision's blocks."""

from typing import Any

import torch
from torch import Tensor, nn

from examples.video.config import Model


def make_encoder(settings: Model) -> tuple[nn.Module, int]:
    """Return the network, from clips ``(B, T, C, H, W)`` to features ``(B, D)``, and ``D``."""
    trunk, channels = make_trunk(settings)
    return nn.Sequential(*trunk, nn.AdaptiveAvgPool3d(1), nn.Flatten()), channels


def make_trunk(settings: Model, final_relu: bool = True) -> tuple[nn.Sequential, int]:
    """Return the network before its pooling, from clips ``(B, T, C, H, W)`` to maps ``(B, D, t, h, w)``, and ``D``.

    ``r3d`` and ``r2plus1d`` are the ResNets of Tran et al. 2018, "A Closer Look at Spatiotemporal Convolutions", at any
    width: the stem halves height and width and leaves time as it is; every stage but the first halves all three.
    ``r2d3d`` is the network of dense predictive coding: the stem and the first two stages are 2-D, frame by frame, and
    time is halved after them only. From the third stage on the number of channels stays.

    Args:
        settings: Of the network.
        final_relu: Whether features are cut off at 0; what is predicted should not be.
    """
    try:
        from torchvision.models.video.resnet import BasicBlock, Conv2Plus1D, Conv3DNoTemporal, Conv3DSimple
    except (ImportError, RuntimeError, OSError) as error:
        raise ImportError('examples.video needs torchvision: pip install "nda-augment[torchvision]"') from error
    flat = settings.backbone == "r2d3d"
    convolution = {"r3d": Conv3DSimple, "r2plus1d": Conv2Plus1D, "r2d3d": Conv3DSimple}[settings.backbone]

    def block(channels: int, out: int, stride: int, kind: Any) -> nn.Module:
        shortcut = None
        if stride != 1 or channels != out:
            strides = kind.get_downsample_stride(stride)
            shortcut = nn.Sequential(nn.Conv3d(channels, out, 1, strides, bias=False), nn.BatchNorm3d(out))
        built: nn.Module = BasicBlock(channels, out, kind, stride, shortcut)
        return built

    width, depth = settings.width, 1 if flat else 3
    large = settings.stem == "large"
    side = 7 if large else 3
    kernel, padding = (depth, side, side), (depth // 2, side // 2, side // 2)
    layers = [nn.Conv3d(3, width, kernel, (1, 2, 2), padding, bias=False), nn.BatchNorm3d(width), nn.ReLU()]
    if large:
        layers.append(nn.MaxPool3d((1, 3, 3), (1, 2, 2), (0, 1, 1)))
    channels = width
    for stage in range(settings.stages):
        out = width * 2 ** min(stage, 2)
        kind = Conv3DNoTemporal if flat and stage < 2 else convolution
        layers.append(block(channels, out, 2 if stage else 1, kind))
        layers += [block(out, out, 1, kind) for _ in range(settings.blocks - 1)]
        channels = out
    if not final_relu:
        layers[-1].relu = nn.Identity()
    return nn.Sequential(ChannelsFirst(), *layers).to(memory_format=torch.channels_last_3d), channels


class ChannelsFirst(nn.Module):
    """Clips as this package has them, ``(B, T, C, H, W)``, to what 3-D convolutions read, ``(B, C, T, H, W)``.

    In memory channels are last, which saves a quarter of the time on a CPU.
    """

    def forward(self, clips: Tensor) -> Tensor:
        return clips.transpose(1, 2).contiguous(memory_format=torch.channels_last_3d)
