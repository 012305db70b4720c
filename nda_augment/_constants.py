"""Small tensors that depend on sizes alone, made once per device: a copy from the host or a dozen kernels per call."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

_KEPT: dict[Any, Tensor] = {}
_MOST, _LARGEST, _BYTES = 256, 2**22, 2**26  # tensors, bytes of one, and of all


def kept(make: Callable[..., Tensor], *arguments: Any, device: torch.device) -> Tensor:
    """Return ``make(*arguments, device)``, the same tensor every time; nobody may write to it.

    Args:
        make: Function of the module level that makes the tensor.
        *arguments: Values that it depends on, hashable.
        device: Device that it lies on.

    Returns:
        What ``make`` returns, kept for the next call unless it is traced, or large.
    """
    if torch.compiler.is_compiling() or torch._C._get_tracing_state() is not None:
        return make(*arguments, device)
    key = make, arguments, device, _are_faked()
    found = _KEPT.get(key)
    if found is None:
        # A tensor made in inference mode could not be saved for a gradient later.
        with torch.inference_mode(False):
            found = make(*arguments, device)
        if _may_keep(found):
            if len(_KEPT) >= _MOST or sum(each.nbytes for each in (found, *_KEPT.values())) > _BYTES:
                _KEPT.clear()
            _KEPT[key] = found
    return found


def counted(number: int, device: torch.device) -> Tensor:
    """Return 0 to ``number - 1``, int64, the same tensor every time; nobody may write to it."""
    return kept(_counted, number, device=device)


def _counted(number: int, device: torch.device) -> Tensor:
    return torch.arange(number, device=device)


def _may_keep(tensor: Tensor) -> bool:
    """Tell whether a tensor holds values, rather than standing for one in somebody's trace, and not too many."""
    return type(tensor) is Tensor and tensor.nbytes <= _LARGEST


def _are_faked() -> bool:
    """Tell whether tensors that are made now stand for others, with which real ones do not go together."""
    return torch._C._get_dispatch_mode(torch._C._TorchDispatchModeKey.FAKE) is not None
