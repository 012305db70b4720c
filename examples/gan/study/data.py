"""Images at 16 pixels to learn from, and held-out ones: MNIST's, sheets of CIFAR-10, scikit-learn's digits."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from sklearn.datasets import load_digits
from torch import Tensor
from torch.nn import functional as F

SIZE = 16
_MOST_HELD_OUT = 2000


class Split(NamedTuple):
    """Images ``(N, C, 16, 16)`` in [-1, 1] and their classes ``(N,)``, to learn from and held out."""

    images: Tensor
    labels: Tensor
    held_out: Tensor


def load(name: str, folder: Path = Path()) -> Split:
    """Read a data set.

    Args:
        name: ``"mnist"`` (``mnist/mnist_test10k.npz`` below the folder), ``"cifar10"`` (the sheets in ``cifar10/``), or
            ``"digits"``, those of scikit-learn.
        folder: Where the first two are.

    Returns:
        2,000 held-out images, or a quarter if that is less, and the rest.
    """
    images, labels = {"mnist": _mnist, "cifar10": _cifar10, "digits": _digits}[name](folder / name)
    small = F.interpolate(images.float(), SIZE, mode="bilinear", antialias=True).div(127.5).sub(1)
    held_out = min(_MOST_HELD_OUT, len(small) // 4)
    return Split(small[:-held_out], labels[:-held_out], small[-held_out:])


def _mnist(folder: Path) -> tuple[Tensor, Tensor]:
    with np.load(folder / "mnist_test10k.npz") as arrays:
        images, labels = torch.from_numpy(arrays["x_test"]), torch.from_numpy(arrays["y_test"])
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(0))  # the file's halves differ
    return images[order].unsqueeze(1), labels[order].long()


def _cifar10(folder: Path) -> tuple[Tensor, Tensor]:
    with np.load(folder / "labels.npz") as arrays:
        labels = torch.from_numpy(np.concatenate([arrays["train"], arrays["test"]])).long()
    sheets = sorted(folder.glob("train_*.webp")) + sorted(folder.glob("test_*.webp"))
    pixels = [np.array(Image.open(sheet).convert("RGB")) for sheet in sheets]
    tiles = [torch.from_numpy(sheet).view(20, 32, 50, 32, 3).permute(0, 2, 4, 1, 3).flatten(0, 1) for sheet in pixels]
    return torch.cat(tiles), labels


def _digits(_: Path) -> tuple[Tensor, Tensor]:
    images, labels = load_digits(return_X_y=True)
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(0))
    return torch.from_numpy(images).view(-1, 1, 8, 8)[order] * 255 / 16, torch.from_numpy(labels)[order]
