"""Images to train and to test on, all in memory, and the batches of an epoch.

They come from scikit-learn's digits, a folder, an ``.npz``, sheets, or CIFAR-10 through torchvision, as squares of one
size, and as they are stored where a training asks for these too.
"""

import hashlib
import math
import warnings
from collections.abc import Callable, Sequence, Sized
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import Dataset

from examples.common.randomness import batch_indices, generator
from examples.common.settings import ConfigError, Section, at_least, one_of, share
from nda_augment.pictures import image_files, read_image

SOURCES = ("digits", "folder", "npz", "sheets", "cifar10")


@dataclass
class Data(Section):
    """Which images. Every source ends as ``(N, C, img_size, img_size)`` uint8, held in memory."""

    name: str = one_of("digits", SOURCES)
    path: str = ""  # of the folder, the .npz, the sheets, or where CIFAR-10 lies or is downloaded to
    test_path: str = ""  # folder, npz, sheets: where the test images are; without it a part of the others is held out
    img_size: int = at_least(16, 8)
    holdout: float = share(0.25, whole=False)  # share of the images kept out of training, where no test images are
    num_classes: int = at_least(0, 0)  # as many as the labels must name; 0 asks for none in particular
    limit: int = at_least(0, 0)  # learn from this many training images; 0 for all
    skip_unreadable: bool = False  # folder: leave files out that cannot be read, and say which; else they are an error

    def check(self) -> None:
        """Refuse a path where there is none to read, and none where there is."""
        if self.name != "digits" and not self.path:
            raise ConfigError(f"DATA.name={self.name} needs DATA.path")
        if self.test_path and self.name not in ("folder", "npz", "sheets"):
            raise ConfigError(f"DATA.test_path is of folder, npz or sheets; {self.name} has no use for it")


@dataclass(frozen=True)
class Images:
    """Images and what they show; indexing picks some of both.

    Attributes:
        images: ``(N, C, size, size)`` uint8.
        labels: ``(N,)`` int64, or ``None`` where nothing says what the images show.
        names: What the classes of a folder are called.
        originals: The images as they are stored, uint8 ``(C, H, W)`` of any sizes; ``None`` where none are asked for,
            or ``images`` is what is stored.
    """

    images: Tensor
    labels: Tensor | None
    names: tuple[str, ...] = ()
    originals: Sequence[Tensor] | None = None

    @property
    def classes(self) -> int:
        """The number of classes, 0 without labels."""
        return 0 if self.labels is None else int(self.labels.max()) + 1

    def fingerprint(self) -> str:
        """A hash: the same for the same images and labels in the same order, and for no others."""
        digest = hashlib.sha256()
        for part in (self.images, *([] if self.labels is None else [self.labels]), *(self.originals or ())):
            digest.update(part.contiguous().numpy().data)
        return digest.hexdigest()

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, indices: Tensor) -> "Images":
        labels = None if self.labels is None else self.labels[indices]
        originals = None if self.originals is None else [self.originals[place] for place in indices.tolist()]
        return Images(self.images[indices], labels, self.names, originals)


def load(settings: Data, originals: bool = False) -> tuple[Images, Images]:
    """Return the training images, with the stored ones where ``originals`` asks for them, and the test images.

    What is held out for testing depends on the number of images and ``holdout`` only, so runs with different seeds hold
    out the same. CIFAR-10 has test images of its own.

    Raises:
        ConfigError: If the images cannot be read, or the folders of ``path`` and ``test_path`` name other classes.
    """
    training = read(settings, originals)
    if settings.name == "cifar10":
        test = _cifar10(settings, False, train=False)
    elif settings.test_path:
        test = read(replace(settings, path=settings.test_path))
        if test.names != training.names:
            raise ConfigError(
                f"the classes in DATA.test_path={settings.test_path} are {', '.join(test.names)}, "
                f"those in DATA.path={settings.path} are {', '.join(training.names)}"
            )
    else:
        order = torch.randperm(len(training), generator=generator(0, "holdout"))
        kept = round(len(order) * (1 - settings.holdout))
        training, test = training[order[:kept]], replace(training[order[kept:]], originals=None)
    if settings.limit > len(training):
        raise ConfigError(f"DATA.limit={settings.limit} is more than the {len(training)} training images")
    return training[torch.arange(settings.limit)] if settings.limit else training, test


def read(settings: Data, originals: bool = False) -> Images:
    """Return all images at ``path``, in the order in which they lie there.

    Raises:
        ConfigError: If they cannot be read, or their labels name another number of classes than was said.
    """
    images = _READERS[settings.name](settings, originals)
    if settings.num_classes not in (0, max(1, images.classes)):
        raise ConfigError(f"DATA.num_classes={settings.num_classes}, but the images have {max(1, images.classes)}")
    return images


def load_rgb(settings: Data, originals: bool = False) -> tuple[Images, Images]:
    """Return the training images and the test images of :func:`load`, grey ones in three equal channels."""
    training, test = (_as_rgb(part) for part in load(settings, originals))
    return training, test


def _as_rgb(part: Images) -> Images:
    stored = part.originals
    colour = None if stored is None else [image.expand(3, -1, -1) for image in stored]
    return replace(part, images=part.images.expand(-1, 3, -1, -1), originals=colour)


def labels_of(data: Images) -> Tensor:
    """The labels ``(N,)`` of images that need some.

    Raises:
        ConfigError: If they have none.
    """
    if data.labels is None:
        raise ConfigError(
            "evaluation needs labels: give each class of a folder a sub-folder, an .npz an array 'labels'"
        )
    return data.labels


class Epoch(Dataset[tuple[Any, Tensor, int]]):
    """The batches of one epoch; an item is the share that one process has of a batch.

    An item depends on the seed and on the number of the batch in the run only, so a run that resumes sees the batches
    that it would have seen.

    Args:
        data: The images.
        batch_size: Of all processes together.
        seed: Of the run.
        epoch: Counted from 0.
        rank: The number of the process.
        processes: How many there are.
    """

    def __init__(self, data: Images, batch_size: int, seed: int, epoch: int, rank: int = 0, processes: int = 1) -> None:
        check_batch(data, batch_size)
        self.data, self.batch_size, self.seed, self.epoch = data, batch_size, seed, epoch
        self.rank, self.processes = rank, processes

    def __len__(self) -> int:
        return len(self.data) // self.batch_size

    def __getitem__(self, place: int) -> tuple[Any, Tensor, int]:
        """Return uint8 images, labels ``(b,)``, -1 without, and the number of the batch in the run.

        The images are ``(b, 3, H, W)``, or a list of the originals where there are some.
        """
        if not 0 <= place < len(self):
            raise IndexError(place)
        batch = self.epoch * len(self) + place
        indices = batch_indices(len(self.data), self.batch_size, self.seed, batch)
        own = self.data[indices.chunk(self.processes)[self.rank]]
        images = own.images if own.originals is None else own.originals
        return images, torch.full((len(own),), -1) if own.labels is None else own.labels, batch


def check_batch(data: Sized, batch_size: int) -> None:
    """Refuse a batch that is larger than the data."""
    if len(data) < batch_size:
        raise ConfigError(
            f"{len(data)} training images do not fill a batch of {batch_size}; lower OPTIMIZATION.batch_size"
        )


def normalize(images: Tensor) -> Tensor:
    """Bring uint8 images to [-1, 1], the range of the generator."""
    return images.float() / 127.5 - 1


def _digits(settings: Data, originals: bool) -> Images:
    from sklearn.datasets import load_digits

    digits = load_digits()
    images = torch.from_numpy(digits.images * (255 / 16)).unsqueeze(1)
    return _squares(images, torch.from_numpy(digits.target).long(), settings, originals)


def _arrays(path: Path) -> dict[str, Any]:
    try:
        with np.load(path, allow_pickle=False) as file:
            return dict(file)
    except (OSError, ValueError, TypeError, BadZipFile) as error:
        raise ConfigError(f"DATA: {path} cannot be read as an .npz ({error})") from error


def _npz(settings: Data, originals: bool) -> Images:
    """``images`` as ``(N, H, W, C)`` or ``(N, H, W)`` uint8, and ``labels`` as ``(N,)`` integers if there are any."""
    arrays = _arrays(Path(settings.path))
    if "images" not in arrays:
        raise ConfigError(f"{settings.path} has no array 'images', only {', '.join(arrays) or 'nothing'}")
    pixels = arrays["images"]
    numbers = arrays.get("labels")
    if numbers is not None and (numbers.dtype.kind not in "iu" or numbers.shape != pixels.shape[:1]):
        raise ConfigError(
            f"'labels' in {settings.path} must be integers, one per image, got {numbers.dtype} {numbers.shape}"
        )
    labels = None if numbers is None else torch.from_numpy(numbers).long()
    if pixels.dtype != np.uint8 or pixels.ndim not in (3, 4) or pixels.shape[3:] not in ((), (1,), (3,)):
        raise ConfigError(
            f"'images' in {settings.path} must be uint8 (N, H, W), (N, H, W, 1) or (N, H, W, 3), "
            f"got {pixels.dtype} {pixels.shape}"
        )
    images = torch.from_numpy(pixels.reshape(*pixels.shape[:3], -1)).permute(0, 3, 1, 2)
    return _squares(images, labels, settings, originals)


def _cifar10(settings: Data, originals: bool, train: bool = True) -> Images:
    """The official training or test images; torchvision downloads them to ``path`` if they are not there."""
    try:
        from torchvision.datasets import CIFAR10
    except (ImportError, RuntimeError, OSError) as error:
        raise ImportError('DATA.name=cifar10 needs torchvision: pip install "nda-augment[torchvision]"') from error

    cifar = CIFAR10(settings.path, train=train, download=True)
    images = torch.from_numpy(cifar.data).permute(0, 3, 1, 2)
    return _squares(images, torch.tensor(cifar.targets), settings, originals)


def _sheets(settings: Data, originals: bool) -> Images:
    """Sheets of square tiles, ``train_*.webp`` or ``.png``, and ``labels.npz`` whose ``train`` has the tiles' classes.

    How large the tiles are follows from how many there are.
    """
    root = Path(settings.path)
    paths = sorted([*root.glob("train_*.webp"), *root.glob("train_*.png")])
    if not paths or not (root / "labels.npz").is_file():
        raise ConfigError(f"DATA.path={settings.path} needs sheets train_*.webp or train_*.png, and labels.npz")
    arrays = _arrays(root / "labels.npz")
    if "train" not in arrays:
        raise ConfigError(f"{root / 'labels.npz'} has no array 'train', only {', '.join(arrays) or 'nothing'}")
    labels = torch.from_numpy(arrays["train"]).long()
    sheets = [_sheet(path) for path in paths]
    pixels = sum(sheet[0].numel() for sheet in sheets)
    side = math.isqrt(pixels // len(labels))
    if pixels != len(labels) * side**2 or any(length % side for sheet in sheets for length in sheet.shape[1:]):
        raise ConfigError(f"the sheets in {root} cannot be cut into {len(labels)} square tiles, as labels.npz has it")
    tiles = [sheet.unfold(1, side, side).unfold(2, side, side).permute(1, 2, 0, 3, 4).flatten(0, 1) for sheet in sheets]
    return _squares(torch.cat(tiles), labels, settings, originals)


def _sheet(path: Path) -> Tensor:
    try:
        return read_image(path)
    except ValueError as error:
        raise ConfigError(f"{path}: {error}") from error


def _folder(settings: Data, originals: bool) -> Images:
    """All image files below ``path``; if each lies in a sub-folder, the sub-folders' names are the classes."""
    root = Path(settings.path)
    if not root.is_dir():
        raise ConfigError(f"DATA.path={settings.path} is not a folder")
    paths = image_files(root)
    images, stored, read, unreadable = [], [], [], []
    for path in paths:
        try:
            images.append(read_image(path, settings.img_size))
            stored += [read_image(path)] if originals else []
            read.append(path)
        except ValueError as error:
            unreadable.append(f"{path.relative_to(root)} ({error})")
    if unreadable:
        report = f"{len(unreadable)} of {len(paths)} files in {root} cannot be read: {'; '.join(unreadable)}"
        if not settings.skip_unreadable:
            raise ConfigError(f"{report}. Mend or remove them, or set skip_unreadable, which leaves them out")
        warnings.warn(f"{report}. They are left out", stacklevel=2)
    if not images:
        raise ConfigError(f"no readable image in {root}; files are known by their endings, such as .png or .jpg")

    classes = [path.relative_to(root).parts[0] for path in read if path.parent != root]
    loose = [path.name for path in read if path.parent == root]
    if classes and loose:
        warnings.warn(
            f"{root} has images in sub-folders and {len(loose)} beside them ({', '.join(loose[:3])}): none of them has "
            "a label. If the sub-folders are classes, move these into one",
            stacklevel=2,
        )
    names = () if loose else tuple(sorted(set(classes)))
    labels = torch.tensor([names.index(name) for name in classes]) if names else None
    of_their_own = originals and any(image.shape[1:] != (settings.img_size,) * 2 for image in stored)
    return Images(_without_equal_channels(torch.stack(images)), labels, names, stored if of_their_own else None)


def _without_equal_channels(images: Tensor) -> Tensor:
    """One channel of RGB images ``(N, 3, H, W)`` that are all grey."""
    grey = all(torch.equal(image[:1].expand(3, -1, -1), image) for image in images)
    return images[:, :1].contiguous() if grey else images


def _squares(stored: Tensor, labels: Tensor | None, settings: Data, originals: bool) -> Images:
    """Images of the size that is asked for, of stored ones ``(N, C, H, W)`` in [0, 255]."""
    images = _fit(stored, settings.img_size)
    of_their_own = originals and stored.shape != images.shape
    return Images(images, labels, originals=list(_whole_numbers(stored)) if of_their_own else None)


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
    return _whole_numbers(F.interpolate(images.float(), size=(size, size), mode="bilinear", antialias=True))


def _whole_numbers(images: Tensor) -> Tensor:
    return images if images.dtype == torch.uint8 else images.round().clamp(0, 255).to(torch.uint8)


_READERS: dict[str, Callable[[Data, bool], Images]] = {
    "digits": _digits,
    "folder": _folder,
    "npz": _npz,
    "sheets": _sheets,
    "cifar10": _cifar10,
}
