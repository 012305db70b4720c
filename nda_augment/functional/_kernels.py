"""What may be used of a tensor's device: kernels that Triton builds for it, and writing in place."""

import warnings
from functools import cache
from types import ModuleType

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensor
from torch.autograd import forward_ad

from nda_augment._tracing import is_plain

# What Triton's kernels move and compute with; complex numbers and truth values are left to torch.
_FUSED_DTYPES = {
    *(torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64),
    *(torch.float16, torch.bfloat16, torch.float32, torch.float64),
}
_FUSED_DEVICES = {"cuda"}


def fused(planes: Tensor, *others: Tensor) -> ModuleType | None:
    """Return the fused kernels if they can do what is asked of these planes, or None.

    A compiler fuses the eager operations itself, and there is a derivative of these alone.
    """
    together = all(tensor.device == planes.device for tensor in others)
    known = planes.device.type in _FUSED_DEVICES and planes.dtype in _FUSED_DTYPES
    if known and together and planes.numel() and may_write(planes, *others):
        return _kernels_on(planes.device, fake=type(planes) is FakeTensor)
    return None


@cache
def _kernels_on(device: torch.device, fake: bool) -> ModuleType | None:
    """Return the fused kernels if Triton is there, and can build one that runs on a device.

    For that it needs, at run time, a compiler of C and a driver that is not too old; without them the eager operations
    take its place, with a warning. The kernels were never built for AMD's devices. What is found with fakes, on which
    nothing is built, says nothing of real tensors.
    """
    if torch.version.hip is not None:
        return None
    try:
        from nda_augment.functional import _fused

        pixel = torch.zeros(1, 1, 1, 1, 1, device=device)
        _fused.paste_(torch.empty_like(pixel), pixel, torch.zeros(1, 4, dtype=torch.long, device=device), pixel)
    except ImportError:
        return None
    except Exception as error:  # of compilers, linkers and drivers, of any kind
        warnings.warn(
            f"Triton builds no kernel that runs on {device}, so torch's own operations are used, which take longer: "
            f"{error}",
            stacklevel=4,
        )
        return None
    return _fused


def given(*tensors: Tensor | None) -> list[Tensor]:
    """Return those of several tensors that there are."""
    return [tensor for tensor in tensors if tensor is not None]


def may_write(*tensors: Tensor) -> bool:
    """Tell whether results may be written in place and through bits: no kind of derivative survives that.

    A compiler fuses better without it, and in torch.func it is an error.
    """
    differentiated = torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors)
    return is_plain(*tensors) and not differentiated and forward_ad._current_level < 0
