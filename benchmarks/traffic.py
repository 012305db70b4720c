"""Count what a function would ask of a GPU, on any machine: kernels, bytes moved, and copies from and to the host.

It runs on fake tensors, which say they are on a GPU and hold nothing. One operation counts as one kernel; it reads each
of its inputs and writes each of its outputs once, except that lookups and writes by index touch no more of a tensor
than they take or give. That is a lower bound: a sort, for one, reads more than once.

A fused kernel reads the source inside of boxes and its own image outside, where it blends both, and writes the image.
Fakes hold no boxes: one is counted as a quarter of its image, the most that the defaults draw. Nor do they
hold choices: a step for the images that chose one of several options is counted as for an equal share of them.
"""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple
from unittest.mock import patch

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from nda_augment import _constants

_WITHOUT_A_KERNEL = {
    "_assert_async", "_unsafe_view", "detach", "device", "empty", "empty_like", "empty_strided", "lift_fresh",
}  # fmt: skip
_LOOKUPS = {"gather", "index", "index_select"}
_BOX = 1 / 4
_IMAGES = {"donor", "own", "planes", "source", "target"}
_WRITES_BY_INDEX = {"copy_", "fill_", "index_copy_", "index_put_", "scatter_"}


class Traffic(NamedTuple):
    """What a function asks of a GPU."""

    kernels: int
    bytes: int
    host_copies: int


class Counter(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch leaves the base untyped
    """Counts the operations on tensors of a GPU, fake or not, and notes those that cross to or from the host."""

    def __init__(self, options: int = 1) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.options = options
        self.kernels = self.bytes = 0
        self.crossings: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        given, made = _tensors((args, [value for name, value in kwargs.items() if name != "out"])), _tensors(result)
        if func.namespace == "nda_augment":
            self.kernels += 1
            self.bytes += _fused_bytes(func._opname, _by_name(func, args, kwargs), made, self.options)
            return result
        devices = {tensor.device.type for tensor in (*given, *made) if tensor.ndim or _among(tensor, made)}
        name = func._schema.name.removeprefix("aten::")
        if name in ("_to_copy", "copy_") and len(devices) > 1:
            self.crossings.append(f"{name} {[tuple(tensor.shape) for tensor in given]}")
        elif devices != {"cpu"} and not (func.is_view or name in _WITHOUT_A_KERNEL or not made):
            self.kernels += 1
            self.bytes += _bytes_moved(name, given, made)
        return result


@contextmanager
def fake_gpu() -> Iterator[None]:
    """Let tensors on ``cuda`` be fakes; what is kept of them is forgotten behind."""
    with (
        patch.dict(_constants._KEPT, clear=True),
        patch.object(_constants, "_may_keep", return_value=True),
        FakeTensorMode(allow_non_fake_inputs=True),
    ):
        yield


def on_fake_gpu(
    function: Callable[[Tensor], Any], shape: tuple[int, ...], dtype: torch.dtype, options: int = 1
) -> Traffic:
    """Count what a function of images, a mixture of some options, asks of a GPU when it is called again."""
    with fake_gpu():
        images = torch.empty(shape, dtype=dtype, device="cuda")
        function(images)
        with Counter(options) as counter:
            function(images)
    return Traffic(counter.kernels, counter.bytes, len(counter.crossings))


def _bytes_moved(name: str, given: list[Tensor], made: list[Tensor]) -> int:
    written = sum(map(_size, made))
    if name in _WRITES_BY_INDEX:
        read = sum(map(_size, given[1:]))
        return read + (read if name == "index_copy_" else written if name in ("copy_", "fill_") else _size(given[-1]))
    if name in _LOOKUPS:
        return written + min(_size(given[0]), written) + sum(map(_size, given[1:]))
    return written + sum(map(_size, given))


def _by_name(func: Any, args: Any, kwargs: Any) -> dict[str, Any]:
    return {**{known.name: value for known, value in zip(func._schema.arguments, args, strict=False)}, **kwargs}


def _fused_bytes(name: str, given: dict[str, Any], made: list[Tensor], options: int) -> int:
    if name == "perlin_noise":
        return sum(map(_size, _tensors((given, made))))
    whole = _size(given["planes" if made else "target"]) // (1 if given.get("choice") is None else options)
    box = int(_BOX * whole)
    others = {known: value for known, value in given.items() if known not in _IMAGES}
    parameters = sum(map(_size, _tensors((others, made))))
    if name == "box_mean":
        return parameters + box
    if name == "put_":
        return parameters + 2 * whole
    if name == "mix_":
        return parameters + 3 * whole
    kept = whole if given.get("feather") is not None else whole - box
    return parameters + kept + min(_size(given["source"]), box) + whole


def _size(tensor: Tensor) -> int:
    """Return the bytes of a tensor's different places: an expanded one has fewer than it shows."""
    places = (length for length, stride in zip(tensor.shape, tensor.stride(), strict=True) if stride)
    return math.prod(places) * tensor.element_size()


def _among(tensor: Tensor, others: list[Tensor]) -> bool:
    return any(tensor is other for other in others)


def _tensors(tree: Any) -> list[Tensor]:
    return [leaf for leaf in tree_leaves(tree) if isinstance(leaf, Tensor)]
