"""MNIST's test digits or sheets of CIFAR-10, at 16 pixels, split into images to learn from and held-out ones."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

SIZE = 16
_HELD_OUT = 2000


class Split(NamedTuple):
    """Images ``(N, C, 16, 16)`` in [-1, 1] and their classes ``(N,)``, to learn from and held out."""

    images: Tensor
    labels: Tensor
    held_out: Tensor


def load(name: str, folder: Path) -> Split:
    """Read a data set below ``folder``: ``mnist/mnist_test10k.npz``, or the sheets in ``cifar10/``."""
    images, labels = {"mnist": _mnist, "cifar10": _cifar10}[name](folder / name)
    small = F.interpolate(images.float(), SIZE, mode="bilinear", antialias=True).div(127.5).sub(1)
    return Split(small[:-_HELD_OUT], labels[:-_HELD_OUT], small[-_HELD_OUT:])


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
