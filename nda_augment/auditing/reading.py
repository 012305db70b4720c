"""Sets of images from disk, for the command line. Needs pillow: ``pip install "nda-augment[cli]"``."""

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
        images: uint8 ``(N, C, H, W)``.
        labels: int64 ``(N,)``, or ``None``.
        unreadable: The files that were skipped.
    """

    images: Tensor
    labels: Tensor | None
    unreadable: list[Unreadable]


def read(source: Path, size: int) -> ImageSet:
    """Read a folder of images or an ``.npz`` file.

    Args:
        source: An ``.npz`` with ``images``, uint8 ``(N, H, W, C)`` or ``(N, H, W)``, and perhaps ``labels``, integers
            ``(N,)``; or a folder, whose sub-folders are the classes if every image lies in one.
        size: Side in pixels that images of a folder are cropped and resized to.

    Raises:
        FileNotFoundError: If there is nothing at the path.
        ValueError: If an ``.npz`` file does not hold such arrays, or a folder holds no readable image.
    """
    return _read_archive(source) if source.suffix == ".npz" and source.is_file() else _read_folder(source, size)


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
    return ImageSet(pixels, None if labels is None else torch.from_numpy(labels.astype(np.int64)), [])


def _read_folder(path: Path, size: int) -> ImageSet:
    files = image_files(path)
    images: list[Tensor] = []
    classes: list[str | None] = []
    unreadable: list[Unreadable] = []
    for file, image in zip(files, read_images(files, size), strict=True):
        if isinstance(image, Unreadable):
            unreadable.append(image)
        else:
            images.append(image)
            classes.append(file.relative_to(path).parts[0] if path.is_dir() and file.parent != path else None)
    if not images:
        raise ValueError(f"{path}: no readable image")
    names = sorted({name for name in classes if name is not None})
    labelled = None not in classes and len(names) > 1
    labels = torch.tensor([names.index(str(name)) for name in classes]) if labelled else None
    return ImageSet(torch.stack(images), labels, unreadable)
