"""What every loss asks of its inputs."""

import math

import torch
from torch import Tensor


def check_positive(name: str, value: float) -> None:
    """Refuse a value that is not a finite number above zero.

    Raises:
        ValueError: If ``value`` is zero, negative, infinite or NaN.
    """
    if not 0 < value < math.inf:
        raise ValueError(f"{name} must be a finite number above 0, got {value}")


def full_precision(name: str, values: Tensor) -> Tensor:
    """Take logits or embeddings in float32 or wider: means and exponentials in half precision lose or overflow.

    Raises:
        TypeError: If ``values`` are not floating point.
        ValueError: If there are none.
    """
    if not values.is_floating_point():
        raise TypeError(f"{name} must be floating point, got {values.dtype}")
    if values.numel() == 0:
        raise ValueError(f"{name} is empty (shape {tuple(values.shape)}), so it has no mean")
    return values.to(torch.promote_types(values.dtype, torch.float32))


def check_same_trailing(name: str, logits: Tensor, like: Tensor) -> None:
    """Refuse logits whose shape beyond the batch is not that of the real images' logits.

    Raises:
        ValueError: If the trailing shapes differ.
    """
    if logits.shape[1:] != like.shape[1:]:
        raise ValueError(
            f"{name} has logits of shape {tuple(logits.shape)} but real has {tuple(like.shape)}: "
            "only the first dimension may differ"
        )
