"""The precision that kernels compute in."""

from contextlib import AbstractContextManager, nullcontext

import torch
from kornia.core.utils import is_autocast_enabled
from torch import Tensor

from nda_augment._checks import check_dtype


def without_autocast(tensor: Tensor) -> AbstractContextManager[object]:
    """Return a context in which products keep their dtype, whatever the caller's autocast says."""
    return torch.autocast(tensor.device.type, enabled=False) if is_autocast_enabled() else nullcontext()


def working_dtype(images: Tensor) -> torch.dtype:
    """Return the dtype to compute in: float32, or float64 for images that come in it; only uint8 has another range."""
    check_dtype(images)
    return torch.float64 if images.dtype == torch.float64 else torch.float32


def to_dtype(values: Tensor, dtype: torch.dtype, *, within: bool = False) -> Tensor:
    """Return computed values, the caller's own, in the images' dtype; integers are rounded, and held to what they say.

    Means of an image's values lie ``within`` that, and need not be held to it.
    """
    if dtype.is_floating_point:
        return values.to(dtype)
    held = values.round_() if within else values.round_().clamp_(0, 255)
    # On the CPU torch turns floats into uint8 one by one, but into int16, and these into uint8, several at a time.
    return (held.to(torch.int16) if held.device.type == "cpu" else held).to(dtype)
