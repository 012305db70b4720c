"""What may happen to an image that leaves its class as it is, in five strengths."""

from collections.abc import Callable

from kornia import augmentation as K
from kornia.geometry import resize
from torch import Tensor, nn

from examples.common.randomness import seeded

FIVE_STRENGTHS = (1, 2, 3, 4, 5)
STRENGTHS = FIVE_STRENGTHS[:3]  # under which the digits can still be read


class _Pixelate(nn.Module):
    def __init__(self, side: float) -> None:
        super().__init__()
        self.side = side

    def forward(self, images: Tensor) -> Tensor:
        height, width = images.shape[-2:]
        coarse = resize(images, (round(height * self.side), round(width * self.side)), antialias=True)
        return resize(coarse, (height, width), interpolation="nearest")


# From a value for each strength to a corruption of images in [0, 1].
_MAKE: dict[str, tuple[Callable[[float], nn.Module], tuple[float, ...]]] = {
    "noise": (lambda std: K.RandomGaussianNoise(std=std, p=1.0), (0.1, 0.2, 0.3, 0.4, 0.5)),
    "salt and pepper": (lambda amount: K.RandomSaltAndPepperNoise(amount=amount, p=1.0), (0.05, 0.1, 0.2, 0.3, 0.4)),
    "blur": (lambda sigma: K.RandomGaussianBlur((7, 7), (sigma, sigma), p=1.0), (0.75, 1.25, 1.75, 2.25, 2.75)),
    "motion blur": (lambda side: K.RandomMotionBlur(int(side), 45.0, 0.0, p=1.0), (3, 5, 7, 9, 11)),
    "pixelate": (_Pixelate, (0.5, 0.375, 0.25, 0.1875, 0.125)),
    "darkness": (lambda factor: K.RandomContrast((factor, factor), p=1.0), (0.5, 0.3, 0.15, 0.1, 0.05)),
}
CORRUPTIONS = tuple(_MAKE)


def corrupt(images: Tensor, corruption: str, strength: int) -> Tensor:
    """Corrupt images ``(B, C, H, W)`` in [0, 1], always in the same way.

    Args:
        images: The images.
        corruption: One of ``CORRUPTIONS``.
        strength: One of ``FIVE_STRENGTHS``.

    Returns:
        As the images, in [0, 1].
    """
    make, values = _MAKE[corruption]
    with seeded(0, corruption, strength, device=images.device):
        corrupted: Tensor = make(values[FIVE_STRENGTHS.index(strength)])(images)
    return corrupted.clamp(0, 1)
