"""Joining what the ranks of a process group hold, with gradients.

Convention: the loss of a rank is the mean over the rank's own anchors, and the backward pass of :func:`gather` *sums*
what every rank's loss asks of a tensor. A rank's gradient is therefore that of the sum of all losses, and the average
over ranks that ``DistributedDataParallel`` takes makes it that of one process on the joined batch. Without
``DistributedDataParallel``, average the gradients over the ranks yourself. Every rank must hold equally many rows; that
is looked at where it is free, on the CPU and in ``torch.autograd.set_detect_anomaly`` mode.
"""

from typing import Any

import torch
from torch import Tensor
from torch import distributed as dist

from nda_augment.losses._embeddings import may_look


def world_size() -> int:
    """The number of ranks; 1 without a process group."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    """The number of this rank; 0 without a process group."""
    return dist.get_rank() if dist.is_available() and dist.is_initialized() else 0


def gather(local: Tensor) -> Tensor:
    """Concatenate the rows of all ranks, ``(B, ...)`` to ``(world_size · B, ...)``, in the order of the ranks."""
    if world_size() == 1:
        return local
    if may_look(local):
        _check_rows(len(local))
    joined: Tensor = _Gather.apply(local)
    return joined


def _check_rows(rows: int) -> None:
    device = "cpu" if dist.get_backend() == "gloo" else "cuda"
    counts = [torch.empty(1, dtype=torch.long, device=device) for _ in range(world_size())]
    dist.all_gather(counts, torch.tensor([rows], device=device))
    each = [int(count) for count in counts]
    if len(set(each)) > 1:
        raise ValueError(f"every rank must hold equally many rows, got {each}: give the DataLoader drop_last=True")


class _Gather(torch.autograd.Function):
    """``torch.distributed.all_gather`` has no backward pass, and its differentiable twin in torch is deprecated."""

    @staticmethod
    def forward(ctx: Any, local: Tensor) -> Tensor:
        local = local.contiguous()
        parts = [torch.empty_like(local) for _ in range(world_size())]
        dist.all_gather(parts, local)
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        # Autograd may hand the same tensor to others, so the reduction works on a copy.
        grad = grad.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(grad)
        return grad.chunk(world_size())[rank()]
