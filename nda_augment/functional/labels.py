"""Kernels on labels: for conditional models, a wrong label makes a negative of a real image."""

import torch
from torch import Tensor

from nda_augment._checks import check_index, check_share

__all__ = ["other_class", "other_label"]


def other_class(labels: Tensor, offsets: Tensor, num_classes: int) -> Tensor:
    """Move every label on by an offset, around the circle of classes.

    Args:
        labels: int64 ``(B,)`` in 0..num_classes - 1.
        offsets: int64 ``(B,)``; 1..num_classes - 1 gives another class.
        num_classes: Number of classes.

    Returns:
        int64 ``(B,)``.

    Raises:
        ValueError: If the offsets have another shape than the labels, or one of them is not a class or an offset.

    Example:
        >>> import torch
        >>> other_class(torch.tensor([0, 2]), torch.tensor([1, 1]), 3).tolist()
        [1, 0]
    """
    check_index(labels, "labels", tuple(labels.shape), num_classes)
    check_index(offsets, "offsets", tuple(labels.shape), num_classes)
    return (labels + offsets) % num_classes


def other_label(labels: Tensor, shares: Tensor, known: Tensor, count: int) -> Tensor:
    """Choose for every label one of the known labels that lie farthest from it.

    Sorted, those are the first few and the last few: no difference is computed, and the cost is that of a binary
    search.

    Args:
        labels: Floating point ``(B,)``.
        shares: float32 ``(B,)`` in [0, 1], which of the farthest: 0 is the lowest of them.
        known: Labels to choose from, floating point ``(N,)``, in ascending order.
        count: Number of labels that count as the farthest, from 1 to N.

    Returns:
        Tensor like ``labels``, each a value of ``known``.

    Raises:
        ValueError: If the shares have another shape than the labels, or are not in [0, 1].

    Example:
        >>> import torch
        >>> known = torch.tensor([0.0, 1.0, 2.0, 9.0])
        >>> other_label(torch.tensor([0.0, 8.0]), torch.tensor([0.9, 0.2]), known, count=2).tolist()
        [9.0, 0.0]
    """
    check_share(shares, "shares", tuple(labels.shape))
    near = len(known) - count
    # One label more from the low end is among the farthest as long as it is farther than what would join at the top.
    low = torch.searchsorted(known[:count] + known[near:], 2 * labels.to(known.dtype))
    rank = (shares * count).long().clamp(max=count - 1)
    return known[torch.where(rank < low, rank, rank + near)].to(labels.dtype)
