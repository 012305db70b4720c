"""Images that ship inside scikit-learn and scikit-image."""

import torch
from sklearn.datasets import load_digits
from torch import Tensor

from examples.auditing.__main__ import textures as of_scikit_image
from examples.common.data import labels_of


def digits(count: int) -> tuple[Tensor, Tensor]:
    """The first digits, uint8 ``(count, 1, 8, 8)``, and what they are."""
    found = load_digits()
    pixels = torch.from_numpy(found.images * (255 / 16)).round().to(torch.uint8)
    return pixels[:count, None], torch.from_numpy(found.target[:count]).long()


def textures() -> tuple[Tensor, Tensor]:
    """Patches of brick, grass and gravel, uint8 ``(1200, 1, 24, 24)``, and which it is."""
    found = of_scikit_image(24, 12)
    return found.images, labels_of(found)
