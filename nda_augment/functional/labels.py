"""Kernels on labels: for conditional models, a wrong label makes a negative of a real image."""

from torch import Tensor

from nda_augment._checks import check_index

__all__ = ["other_class"]


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
