"""Images to train on: scikit-learn's digits, a folder, an ``.npz`` file or CIFAR-10, all as one uint8 tensor."""

import hashlib
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from examples.gan.config import Data
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

    def fingerprint(self) -> str:
        """A hash of the images: the same for the same images in the same order, and for no others."""
        return hashlib.sha256(self.images.contiguous().numpy().data).hexdigest()

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
    read = {"digits": _digits, "folder": _folder, "npz": _npz, "cifar10": _cifar10}[settings.name]
    data = read(settings)
    order = torch.randperm(len(data), generator=generator(0, "holdout"))
    kept = round(len(order) * (1 - settings.holdout))
    return data[order[:kept]], data[order[kept:]]


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
