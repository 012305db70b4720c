"""Images to train on: scikit-learn's digits, a folder, an ``.npz``, sheets or CIFAR-10, all as one uint8 tensor."""

import hashlib
import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from examples.gan.config import Config, Data
from examples.gan.randomness import generator


@dataclass(frozen=True)
class Images:
    """Images and what they show; indexing picks some of both.

    Attributes:
        images: ``(N, C, size, size)`` uint8.
        labels: ``(N,)`` int64, or ``None`` where nothing says what the images show.
    """

    images: Tensor
    labels: Tensor | None

    @property
    def classes(self) -> int:
        """The number of classes, 0 without labels."""
        return 0 if self.labels is None else int(self.labels.max()) + 1

    def fingerprint(self) -> str:
        """A hash: the same for the same images and labels in the same order, and for no others."""
        digest = hashlib.sha256(self.images.contiguous().numpy().data)
        if self.labels is not None:
            digest.update(self.labels.contiguous().numpy().data)
        return digest.hexdigest()

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, indices: Tensor) -> "Images":
        return Images(self.images[indices], None if self.labels is None else self.labels[indices])


class UnreadableImagesError(ValueError):
    """Files in an image folder that cannot be read."""


def load(settings: Data) -> tuple[Images, Images]:
    """Return the training images and the held-out ones.

    The split depends on the number of images and ``holdout`` only, so runs with different seeds hold out the same.
    """
    data = _READERS[settings.name](settings)
    order = torch.randperm(len(data), generator=generator(0, "holdout"))
    kept = round(len(order) * (1 - settings.holdout))
    return data[order[:kept]], data[order[kept:]]


def load_undesired(settings: Config, channels: int) -> Images:
    """Return the undesired images at ``AUG.nda_path``, as large as those of the run and with as many channels."""
    name = "npz" if settings.AUG.nda_path.endswith(".npz") else "folder"
    undesired = _READERS[name](replace(settings.DATA, name=name, path=settings.AUG.nda_path))
    if undesired.images.shape[1] == channels:
        return undesired
    if channels == 1:
        raise ValueError(f"the images at AUG.nda_path={settings.AUG.nda_path} are in colour, those of the run are not")
    return replace(undesired, images=undesired.images.expand(-1, channels, -1, -1))


def normalize(images: Tensor) -> Tensor:
    """Bring uint8 images to [-1, 1], the range of the generator."""
    return images.float() / 127.5 - 1


def _digits(settings: Data) -> Images:
    from sklearn.datasets import load_digits

    digits = load_digits()
    images = torch.from_numpy(digits.images * (255 / 16)).unsqueeze(1)
    return Images(_fit(images, settings.img_size), torch.from_numpy(digits.target).long())


def _npz(settings: Data) -> Images:
    """``images`` as ``(N, H, W, C)`` or ``(N, H, W)`` uint8, and ``labels`` as ``(N,)`` integers if there are any."""
    with np.load(settings.path, allow_pickle=False) as file:
        if "images" not in file:
            raise ValueError(f"{settings.path} has no array 'images', only {', '.join(file.files) or 'nothing'}")
        pixels = file["images"]
        labels = torch.from_numpy(file["labels"]).long() if "labels" in file else None
    if pixels.dtype != np.uint8 or pixels.ndim not in (3, 4) or pixels.shape[3:] not in ((), (1,), (3,)):
        raise ValueError(
            f"'images' in {settings.path} must be uint8 (N, H, W), (N, H, W, 1) or (N, H, W, 3), "
            f"got {pixels.dtype} {pixels.shape}"
        )
    if labels is not None and labels.shape != pixels.shape[:1]:
        raise ValueError(f"'labels' in {settings.path} must be one per image, got {tuple(labels.shape)}")
    images = torch.from_numpy(pixels.reshape(*pixels.shape[:3], -1)).permute(0, 3, 1, 2)
    return Images(_fit(images, settings.img_size), labels)


def _cifar10(settings: Data) -> Images:
    """The official training images; torchvision downloads them to ``path`` if they are not there."""
    try:
        from torchvision.datasets import CIFAR10
    except (ImportError, RuntimeError, OSError) as error:
        raise ImportError('DATA.name=cifar10 needs torchvision: pip install "nda-augment[torchvision]"') from error

    cifar = CIFAR10(settings.path, train=True, download=True)
    images = torch.from_numpy(cifar.data).permute(0, 3, 1, 2)
    return Images(_fit(images, settings.img_size), torch.tensor(cifar.targets))


def _sheets(settings: Data) -> Images:
    """Sheets of square tiles, ``train_*.webp`` or ``.png``, and ``labels.npz`` whose ``train`` has the tiles' classes.

    How large the tiles are follows from how many there are.
    """
    root = Path(settings.path)
    paths = sorted([*root.glob("train_*.webp"), *root.glob("train_*.png")])
    if not paths or not (root / "labels.npz").is_file():
        raise ValueError(f"DATA.path={settings.path} needs sheets train_*.webp or train_*.png, and labels.npz")
    with np.load(root / "labels.npz", allow_pickle=False) as file:
        labels = torch.from_numpy(file["train"]).long()
    sheets = [_read(path)[0] for path in paths]
    pixels = sum(sheet[0].numel() for sheet in sheets)
    side = math.isqrt(pixels // len(labels))
    if pixels != len(labels) * side**2 or any(length % side for sheet in sheets for length in sheet.shape[1:]):
        raise ValueError(f"the sheets in {root} cannot be cut into {len(labels)} square tiles, as labels.npz has it")
    tiles = [sheet.unfold(1, side, side).unfold(2, side, side).permute(1, 2, 0, 3, 4).flatten(0, 1) for sheet in sheets]
    return Images(_fit(torch.cat(tiles), settings.img_size), labels)


def _folder(settings: Data) -> Images:
    """All image files below ``path``; if each lies in a sub-folder, the sub-folders' names are the classes."""
    root = Path(settings.path)
    if not root.is_dir():
        raise ValueError(f"DATA.path={settings.path} is not a folder")
    endings = Image.registered_extensions()
    paths = sorted(path for path in root.rglob("*") if path.suffix.lower() in endings)

    images, read, unreadable = [], [], []
    for path in paths:
        try:
            images.append(_fit(_read(path), settings.img_size))
            read.append(path)
        except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
            unreadable.append(f"{path.relative_to(root)} ({error})")
    if unreadable:
        report = f"{len(unreadable)} of {len(paths)} files in {root} cannot be read: {'; '.join(unreadable)}"
        if not settings.skip_unreadable:
            raise UnreadableImagesError(f"{report}. Mend or remove them, or set DATA.skip_unreadable=true")
        warnings.warn(f"{report}. They are left out", stacklevel=2)
    if not images:
        raise ValueError(f"no readable image in {root}; files are known by their endings, such as .png or .jpg")

    classes = [path.relative_to(root).parts[0] if path.parent != root else None for path in read]
    names = sorted({name for name in classes if name is not None})
    labels = None if None in classes else torch.tensor([names.index(str(name)) for name in classes])
    return Images(torch.cat(images), labels)


def _read(path: Path) -> Tensor:
    with Image.open(path) as image:
        pixels = np.array(image.convert("RGB"))
    return torch.from_numpy(pixels).permute(2, 0, 1).unsqueeze(0)


def _fit(images: Tensor, size: int) -> Tensor:
    """Crop ``(N, C, H, W)`` in [0, 255] to the central square and resize, to uint8."""
    height, width = images.shape[-2:]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    square = images[..., top : top + side, left : left + side]
    # Some at a time: as floats a data set takes four times its room.
    return torch.cat([_resize(some, size) for some in torch.split(square, 1024)])


def _resize(images: Tensor, size: int) -> Tensor:
    if images.shape[-1] == size and images.dtype == torch.uint8:
        return images
    images = F.interpolate(images.float(), size=(size, size), mode="bilinear", antialias=True)
    return images.round().clamp(0, 255).to(torch.uint8)


_READERS: dict[str, Callable[[Data], Images]] = {
    "digits": _digits,
    "folder": _folder,
    "npz": _npz,
    "sheets": _sheets,
    "cifar10": _cifar10,
}
