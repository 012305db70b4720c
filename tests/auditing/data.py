"""Digits and textures that ship inside scikit-learn and scikit-image."""

from importlib.resources import files

import numpy as np
import torch
from PIL import Image
from sklearn.datasets import load_digits
from torch import Tensor
from torch.nn import functional as F


def digits(count: int) -> tuple[Tensor, Tensor]:
    """The first digits, uint8 ``(count, 1, 8, 8)``, and what they are."""
    found = load_digits()
    pixels = torch.from_numpy(found.images * (255 / 16)).round().to(torch.uint8)
    return pixels[:count, None], torch.from_numpy(found.target[:count]).long()


def textures(side: int = 32, stride: int = 16) -> tuple[Tensor, Tensor]:
    """Patches of brick, grass and gravel at half resolution, uint8 ``(N, 1, side, side)``, and which it is."""
    patches = []
    for name in ("brick", "grass", "gravel"):
        with (files("skimage.data") / f"{name}.png").open("rb") as file, Image.open(file) as image:
            pixels = torch.from_numpy(np.array(image.convert("L"))).float()
        small = F.avg_pool2d(pixels[None, None], 2)[0]
        windows = small.unfold(1, side, stride).unfold(2, side, stride)
        patches.append(windows.reshape(-1, 1, side, side).round().to(torch.uint8))
    labels = torch.arange(len(patches)).repeat_interleave(len(patches[0]))
    return torch.cat(patches), labels
