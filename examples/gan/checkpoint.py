"""Checkpoints that survive a kill at any moment: the file at the path is always a whole one, the old or the new."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import torch

State = dict[str, Any]
_TEMPORARY = ".tmp"


def save(state: State, path: Path) -> None:
    """Write ``state`` so that ``path`` never holds half of it.

    Args:
        state: Tensors, numbers, strings and plain containers of them, which ``weights_only=True`` can load.
        path: Where to. The folder must exist.
    """
    _write(path, lambda file: torch.save(state, file))


def save_text(text: str, path: Path) -> None:
    """Write ``text`` in the same way."""
    _write(path, lambda file: file.write(text.encode()))


def load(path: Path, device: torch.device | str = "cpu") -> State:
    """Read a checkpoint. Nothing in the file is executed: only tensors and plain containers are accepted."""
    state: State = torch.load(path, map_location=device, weights_only=True)
    return state


def sweep(path: Path) -> list[Path]:
    """Remove what kills have left beside ``path``: its temporary files. Returns them.

    For the start of a run, when nobody else writes this checkpoint.
    """
    stale = sorted(path.parent.glob(f".{path.name}.*{_TEMPORARY}"))
    for file in stale:
        file.unlink()
    return stale


def _write(path: Path, fill: Callable[[BinaryIO], object]) -> None:
    # In the same folder, since a rename is atomic only within a file system.
    temporary = path.with_name(f".{path.name}.{os.getpid()}{_TEMPORARY}")
    try:
        with temporary.open("wb") as file:
            fill(file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    # Without this the rename itself may be lost when the machine goes down. Windows cannot open folders.
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
