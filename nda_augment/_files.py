"""Files that survive a kill: a path holds a whole file, the old or the new, and what is read is what was written."""

import os
import pickle
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import torch

State = dict[str, Any]
_TEMPORARY = ".tmp"


class CheckpointError(ValueError):
    """A checkpoint that cannot be gone on from: its message names the file, what is wrong, and what to do."""


class InUseError(RuntimeError):
    """A file that another process is writing."""


def write_atomically(path: Path, fill: Callable[[BinaryIO], object]) -> None:
    """Write a file so that ``path`` never holds half of it; on an error it holds what it held before.

    Args:
        path: File to write. The folder must exist.
        fill: Writes the content to the file that it is given.
    """
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


def write_text(text: str, path: Path) -> None:
    """Write ``text`` as :func:`write_atomically` does."""
    write_atomically(path, lambda file: file.write(text.encode()))


def sweep(path: Path) -> list[Path]:
    """Remove what kills have left next to ``path``, its temporary files, and return them; for who holds its lock."""
    stale = sorted(path.parent.glob(f".{path.name}.*{_TEMPORARY}"))
    for file in stale:
        file.unlink()
    return stale


@contextmanager
def lock(path: Path) -> Iterator[None]:
    """Keep other processes from writing ``path``. A kill lets go of it. Folders must exist; on Windows it does nothing.

    Raises:
        InUseError: If another process holds it.
    """
    if os.name != "posix":
        yield
        return
    file = path.with_name(f".{path.name}.lock")
    descriptor = _lock(file)
    try:
        yield
    finally:
        file.unlink(missing_ok=True)
        os.close(descriptor)


def save_checkpoint(state: Mapping[str, Any], path: Path) -> None:
    """Write a state so that ``path`` never holds half of it.

    Args:
        state: Tensors, numbers, strings and plain containers of them. Of all records a checksum is kept.
        path: File to write. The folder must exist.
    """
    write_atomically(path, lambda file: torch.save(state, file))


def load_checkpoint(path: Path, like: Mapping[str, type]) -> State:
    """Read a checkpoint, onto the CPU, and check that it is whole. Nothing in the file is executed.

    Args:
        path: The file.
        like: Contents that the state must have: the type of each of its keys. Integers count something; they cannot be
            negative.

    Raises:
        CheckpointError: If the file is empty, damaged, something else than a checkpoint, or lacks what ``like`` names.
        OSError: If the file is missing or may not be read.
    """
    if path.is_dir():
        raise CheckpointError(f"{path} is a folder where a checkpoint should be: rename it or choose another place")
    if not path.stat().st_size:
        raise _unusable(path, "is empty")
    try:
        with path.open("rb") as file, zipfile.ZipFile(file) as archive:
            damaged = archive.testzip()  # compares checksums, which torch.load does not
    except PermissionError:
        raise
    except Exception as error:  # zipfile has many for bytes that make no sense
        raise _unusable(path, "is cut off, or no checkpoint at all") from error
    if damaged:
        raise _unusable(path, f"is damaged: {damaged} is not what was written")
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, ValueError, EOFError) as error:
        raise _unusable(path, "was not written by this program: it holds more than tensors and plain values") from error
    return _checked(state, like, path)


@contextmanager
def restoring(path: Path) -> Iterator[None]:
    """Turn what goes wrong while a state from ``path`` is taken up into an error that says so.

    Raises:
        CheckpointError: If the state does not fit what takes it up.
    """
    try:
        yield
    except CheckpointError:
        raise
    except (KeyError, IndexError, TypeError, AttributeError, ValueError, RuntimeError) as error:
        raise _unusable(path, f"holds a state that does not fit here ({error})") from error


def _checked(state: Any, like: Mapping[str, type], path: Path) -> State:
    if not isinstance(state, dict):
        raise _unusable(path, f"holds a {type(state).__name__}, no state")
    for key, kind in like.items():
        if key not in state:
            raise _unusable(path, f"is no checkpoint of this kind: it has no {key!r}")
        value = state[key]
        if not isinstance(value, kind) or (isinstance(value, int) and value < 0):
            raise _unusable(path, f"has {key}={value!r}" if kind is int else f"has a {type(value).__name__} as {key!r}")
    return state


def _unusable(path: Path, wrong: str) -> CheckpointError:
    return CheckpointError(f"{path} {wrong}. Put an intact copy in its place, or remove it to begin anew")


def _lock(file: Path) -> int:
    """Open and lock a file; raise an :class:`InUseError` if another process has it."""
    import fcntl

    while True:
        descriptor = os.open(file, os.O_RDWR | os.O_CREAT)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(descriptor)
            raise InUseError(
                f"another process is writing {file.parent}: wait until it is done, or choose another place"
            ) from error
        if os.fstat(descriptor).st_nlink:
            return descriptor
        os.close(descriptor)  # its last holder has removed it since we opened it


def _sync_folder(folder: Path) -> None:
    # Without this the rename itself may be lost when the machine goes down. Windows cannot open folders.
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
