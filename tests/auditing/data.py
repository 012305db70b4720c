"""Images that ship inside scikit-learn and scikit-image, tiles of grain, and an encoder without training."""

import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn import functional as F

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


def even_grain(count: int, seed: int = 0) -> Tensor:
    """Good tiles of a fine, even texture, ``(count, 1, 32, 32)`` in [0, 1], as an inspection sees them."""
    generator = torch.Generator().manual_seed(seed)
    return 0.4 + 0.2 * F.avg_pool2d(torch.rand(count, 1, 34, 34, generator=generator), 3, 1)


class Pooled(nn.Module):
    """An encoder without training, for tests of all but the encoder."""

    def forward(self, images: Tensor) -> Tensor:
        """Averages of sixteen places."""
        return F.adaptive_avg_pool2d(images, 4)
