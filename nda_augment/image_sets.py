"""Sets of images from disk, for the command line. Needs pillow: ``pip install "nda-augment[cli]"``."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from zipfile import BadZipFile, ZipFile

import numpy as np
import torch
from torch import Tensor

from nda_augment.pictures import Unreadable, image_files, read_images


@dataclass(frozen=True)
class ImageSet:
    """Images, what is known of them, and what could not be read.

    Attributes:
        images: Pixels, uint8 ``(N, C, H, W)``.
        labels: Classes, int64 ``(N,)``, or ``None``.
        given: Number of images that the source has, read or not.
        numbers: Number of each image that was read, as the source counts them, from 0.
        unreadable: Files that were skipped.
    """

    images: Tensor
    labels: Tensor | None
    given: int
    numbers: Sequence[int]
    unreadable: list[Unreadable]


def read_image_set(source: Path, size: int, *, limit: int | None = None, seed: int = 0) -> ImageSet:
    """Read a folder of images or an ``.npz`` file.

    Args:
        source: Path of an ``.npz`` with ``images``, uint8 ``(N, H, W, C)`` or ``(N, H, W)``, and perhaps ``labels``,
            integers ``(N,)``; or of a folder, whose sub-folders are the classes if every image lies in one.
        size: Side in pixels that images of a folder are cropped and resized to.
        limit: Largest number of files of a folder to decode, a random sample; by default all.
        seed: Seed of the sample.

    Raises:
        FileNotFoundError: If there is nothing at the path.
        ValueError: If an ``.npz`` file does not hold such arrays, or a folder holds no readable image.
    """
    if source.suffix == ".npz" and source.is_file():
        return _read_archive(source)
    return _read_folder(source, size, limit, seed)


def _read_archive(path: Path) -> ImageSet:
    try:
        # Opened here: numpy leaves the file of a broken archive open, and takes what is no archive for a pickle.
        with path.open("rb") as raw, ZipFile(raw), np.load(raw, allow_pickle=False) as file:
            arrays = {name: file[name] for name in ("images", "labels") if name in file}
            held = ", ".join(file.files) or "nothing"
    except (OSError, ValueError, EOFError, BadZipFile) as error:
        raise ValueError(f"{path} is not a readable .npz file ({error})") from error
    if "images" not in arrays:
        raise ValueError(f"{path} has no array 'images', it holds {held}")
    images = arrays["images"]
    if images.dtype != np.uint8 or images.ndim not in (3, 4):
        raise ValueError(
            f"'images' in {path} must be uint8 (N, H, W, C) or (N, H, W), got {images.dtype} {images.shape}"
        )
    labels = arrays.get("labels")
    if labels is not None and (labels.shape != images.shape[:1] or labels.dtype.kind not in "iu"):
        raise ValueError(f"'labels' in {path} must be one integer per image, got {labels.dtype} {labels.shape}")
    pixels = torch.from_numpy(images.reshape(*images.shape[:3], -1)).permute(0, 3, 1, 2).contiguous()
    classes = None if labels is None else torch.from_numpy(labels.astype(np.int64))
    return ImageSet(pixels, classes, len(pixels), range(len(pixels)), [])


def _read_folder(path: Path, size: int, limit: int | None, seed: int) -> ImageSet:
    files = image_files(path)
    order = torch.randperm(len(files), generator=torch.Generator().manual_seed(seed)).tolist()
    found: dict[int, Tensor] = {}
    unreadable: list[Unreadable] = []
    for number, image in zip(order, read_images((files[number] for number in order), size), strict=False):
        if isinstance(image, Unreadable):
            unreadable.append(image)
        else:
            found[number] = image
            if len(found) == limit:
                break
    if not found:
        raise ValueError(f"{path}: no readable image")
    numbers = sorted(found)
    given = len(files) - len(unreadable)
    return ImageSet(
        torch.stack([found[number] for number in numbers]),
        _classes(path, files, numbers),
        given,
        numbers,
        sorted(unreadable, key=lambda file: file.path),
    )


def _classes(root: Path, files: list[Path], numbers: list[int]) -> Tensor | None:
    """Return the classes of some files: their sub-folders, if every file lies in one and there are several."""
    below = [file.relative_to(root).parts for file in files] if root.is_dir() else []
    if not below or any(len(parts) < 2 for parts in below):
        return None
    names = sorted({parts[0] for parts in below})
    return torch.tensor([names.index(below[number][0]) for number in numbers]) if len(names) > 1 else None
