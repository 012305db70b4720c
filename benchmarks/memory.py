"""What functions hold in memory at their peak, and an allocator that keeps what was freed, or does not."""

import ctypes
import platform
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class _Ledger(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch leaves the base untyped
    """Keeps the sum of all storages that operations have made and nobody has freed yet."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.live = self.peak = 0
        self._known: set[int] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        given = {self._key(leaf) for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, torch.Tensor)}
        for leaf in tree_leaves(result):
            if isinstance(leaf, torch.Tensor) and self._key(leaf) not in given | self._known:
                self._enter(leaf)
        return result

    @staticmethod
    def _key(tensor: torch.Tensor) -> int:
        return int(tensor.untyped_storage()._cdata)

    def _enter(self, tensor: torch.Tensor) -> None:
        storage = tensor.untyped_storage()
        key, size = storage._cdata, storage.nbytes()
        self._known.add(key)
        self.live += size
        self.peak = max(self.peak, self.live)
        weakref.finalize(storage, self._leave, key, size)

    def _leave(self, key: int, size: int) -> None:
        self._known.discard(key)
        self.live -= size


def peak_bytes(function: Callable[[], Any]) -> int:
    """Return the most bytes that tensors made during the call hold at once, its result included."""
    with _Ledger() as ledger:
        result = function()
    del result
    return int(ledger.peak)


# glibc's mallopt: the numbers of its parameters, and the default of the second.
_TRIM_THRESHOLD, _MMAP_MAX = -1, -4
_MAPPINGS = 65536


def can_keep() -> bool:
    """Tell whether the allocator of this process takes orders: glibc's does."""
    return platform.libc_ver()[0] == "glibc"


@contextmanager
def freed_memory_is(kept: bool) -> Iterator[None]:
    """Make the host's allocator keep freed memory, as a GPU's does in training, or return it and pay for new pages.

    By default glibc returns large buffers, and a copy of a batch takes several times as long as the copying itself.
    """
    if not can_keep():
        yield
        return
    mallopt = ctypes.CDLL(None).mallopt
    mallopt(_MMAP_MAX, 0 if kept else _MAPPINGS)
    mallopt(_TRIM_THRESHOLD, -1 if kept else 0)
    try:
        yield
    finally:
        mallopt(_MMAP_MAX, _MAPPINGS)
