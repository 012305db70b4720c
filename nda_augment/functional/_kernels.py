"""What may be used of a tensor's device: kernels that are built for it, and writing in place."""

import warnings
from collections.abc import Callable
from functools import cache
from types import ModuleType
from typing import Any

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensor
from torch.autograd import forward_ad

import nda_augment._forks  # noqa: F401 - to know of forks that there are before any kernel is loaded
from nda_augment._tracing import is_plain

# What the kernels move and compute with; complex numbers and truth values are left to torch.
_BYTES_AND_REALS = {torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64, torch.float32, torch.float64}
_DTYPES = {"cpu": _BYTES_AND_REALS, "cuda": {*_BYTES_AND_REALS, torch.float16, torch.bfloat16}}


def fused(name: str, planes: Tensor, *others: Tensor) -> Callable[..., Any] | None:
    """Return the fused kernel of a name if it can do what is asked of these planes, or None.

    A compiler fuses the eager operations itself, and there is a derivative of these alone.
    """
    dtypes, device = _DTYPES.get(planes.device.type, ()), planes.device
    known = all(tensor.dtype in dtypes and tensor.device == device for tensor in (planes, *others))
    if known and may_write(planes, *others) and planes.numel():  # last: torch 2.5 would compile anew for each number
        return getattr(_kernels_on(planes.device, fake=type(planes) is FakeTensor), name, None)
    return None


@cache
def _kernels_on(device: torch.device, fake: bool) -> ModuleType | None:
    """Return the fused kernels of a device if there is what builds them, and it works there; else None, with a warning.

    Triton needs a compiler of C at run time and a driver that is not too old, and its kernels were never built for
    AMD's devices. Where Numba is told to build nothing, by NUMBA_DISABLE_JIT, it is left alone. What is found with
    fakes says nothing of real tensors: nothing is built for them, and on the CPU nothing can be, as Numba takes arrays.
    """
    builder = _BUILDERS[device.type]
    try:
        return builder(device, fake)
    except ImportError:
        return None
    except Exception as error:  # of compilers, linkers and drivers, of any kind
        warnings.warn(
            f"no fused kernel could be built that runs on {device}, so torch's own operations are used, which take "
            f"longer: {error}",
            stacklevel=4,
        )
        return None


def _of_triton(device: torch.device, fake: bool) -> ModuleType | None:
    if torch.version.hip is not None:
        return None
    from nda_augment.functional import _triton

    _paste_a_pixel(_triton, device)
    return _triton


def _of_numba(device: torch.device, fake: bool) -> ModuleType | None:
    from numba import config

    if fake or config.DISABLE_JIT:
        return None
    from nda_augment.functional import _numba

    _paste_a_pixel(_numba, device)
    return _numba


_BUILDERS = {"cpu": _of_numba, "cuda": _of_triton}


def _paste_a_pixel(kernels: ModuleType, device: torch.device) -> None:
    pixel = torch.zeros(1, 1, 1, 1, 1, device=device)
    kernels.paste_(torch.empty_like(pixel), pixel, torch.zeros(1, 4, dtype=torch.long, device=device), pixel)


def given(*tensors: Tensor | None) -> list[Tensor]:
    """Return those of several tensors that there are."""
    return [tensor for tensor in tensors if tensor is not None]


def may_write(*tensors: Tensor) -> bool:
    """Tell whether results may be written in place and through bits: no kind of derivative survives that.

    A compiler fuses better without it, and in torch.func it is an error.
    """
    differentiated = torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors)
    return is_plain(*tensors) and not differentiated and forward_ad._current_level < 0
