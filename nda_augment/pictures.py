"""Photographs from files, for the command line.

Needs pillow: ``pip install "nda-augment[cli]"``.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

SUFFIXES = frozenset({".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"})


@dataclass(frozen=True)
class Unreadable:
    """A file that could not be read, and why."""

    path: Path
    reason: str

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}"


def image_files(path: Path) -> list[Path]:
    """Return the file itself, or all files of a folder and its subfolders that are named as images, sorted.

    Args:
        path: A file or a folder.

    Returns:
        The paths. Whether they hold images is not checked.

    Raises:
        FileNotFoundError: If there is nothing at the path.
    """
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise FileNotFoundError(f"{path}: no such file or folder")
    return sorted(file for file in path.rglob("*") if file.suffix.lower() in SUFFIXES and file.is_file())


def read_images(files: list[Path], size: int) -> Iterator[Tensor | Unreadable]:
    """Read files as squares, cropped around the middle.

    Args:
        files: Paths of image files.
        size: Side of the squares in pixels.

    Yields:
        uint8 ``(3, size, size)``, or what was wrong with a file.
    """
    for file in files:
        try:
            with Image.open(file) as image:
                square = ImageOps.fit(image.convert("RGB"), (size, size), Image.Resampling.LANCZOS)
        except (UnidentifiedImageError, OSError, SyntaxError, Image.DecompressionBombError) as error:
            yield Unreadable(file, f"not a readable image ({error})")
            continue
        yield torch.frombuffer(bytearray(square.tobytes()), dtype=torch.uint8).view(size, size, 3).permute(2, 0, 1)
