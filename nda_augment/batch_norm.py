"""Batch norm, where negatives pass through an encoder that images train."""

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm


@contextmanager
def frozen_batch_norm_stats(module: nn.Module) -> Iterator[None]:
    """Let batch norm layers in training mode use the batch's statistics without adding them to the running ones.

    For the forward pass of negatives through an encoder that is trained: what it is evaluated with should be
    statistics of images. Layers in eval mode stay as they are. Covers ``torch.nn``'s layers, ``SyncBatchNorm`` and
    Lightly's ``SplitBatchNorm``; finite activations leave the running statistics bit for bit as they were.

    Args:
        module: The encoder, or anything that contains it.

    Example:
        >>> import torch
        >>> norm = torch.nn.BatchNorm1d(4)
        >>> with frozen_batch_norm_stats(norm):
        ...     output = norm(torch.randn(8, 4))
        >>> norm.running_mean
        tensor([0., 0., 0., 0.])
    """
    norms = [layer for layer in module.modules() if isinstance(layer, _BatchNorm) and layer.training]
    before = [(layer.track_running_stats, layer.momentum) for layer in norms]
    for layer in norms:
        layer.track_running_stats = False
        layer.momentum = 0.0  # SplitBatchNorm updates its statistics whatever the flag says
    try:
        yield
    finally:
        for layer, (tracks, momentum) in zip(norms, before, strict=True):
            layer.track_running_stats = tracks
            layer.momentum = momentum
