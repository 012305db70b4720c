"""The views of MoCo-v2 and SimCLR, made for a whole batch on the device it is on."""

from kornia.augmentation import (
    ColorJiggle,
    ImageSequential,
    Normalize,
    RandomGaussianBlur,
    RandomGrayscale,
    RandomHorizontalFlip,
    RandomResizedCrop,
)
from torch import Tensor, nn

from examples.contrastive.config import Augmentation

# Brings images near mean 0 and deviation 1; not fitted to a data set, so that it is the same for all.
_NORMALIZE = {"mean": (0.5, 0.5, 0.5), "std": (0.25, 0.25, 0.25)}


class Views(nn.Module):
    """Two random views of each image: uint8 ``(B, 3, H, W)`` to two float ``(B, 3, H, W)``, normalised."""

    def __init__(self, settings: Augmentation, size: int) -> None:
        super().__init__()
        steps = random_steps(
            size, min_scale=settings.min_scale, flip=settings.flip, jitter=settings.jitter, grayscale=settings.grayscale
        )
        if settings.blur:
            steps.append(RandomGaussianBlur(kernel_size=_odd(size / 10), sigma=(0.1, 2.0), p=settings.blur))
        self.random = ImageSequential(*steps)
        self.plain = Plain()

    def forward(self, images: Tensor) -> list[Tensor]:
        """Draw and apply; with the global generators."""
        pixels = images.float() / 255
        return [self.plain.normalize(self.random(pixels)) for _ in range(2)]


def random_steps(size: int, *, min_scale: float, flip: float, jitter: float, grayscale: float) -> list[nn.Module]:
    """Crop to squares of ``size`` pixels, and then mirror, change colours and drop them, as far as asked for."""
    steps: list[nn.Module] = [RandomResizedCrop((size, size), scale=(min_scale, 1.0))]
    if flip:
        steps.append(RandomHorizontalFlip(p=flip))
    if jitter:
        steps.append(ColorJiggle(*(0.4 * jitter,) * 3, min(0.1 * jitter, 0.5), p=0.8))
    if grayscale:
        steps.append(RandomGrayscale(p=grayscale))
    return steps


class Plain(nn.Module):
    """The image as it is, as the encoder expects it in evaluation."""

    def __init__(self) -> None:
        super().__init__()
        self.normalize = Normalize(**_NORMALIZE)

    def forward(self, images: Tensor) -> Tensor:
        """Normalise uint8 images ``(B, 3, H, W)``."""
        normalized: Tensor = self.normalize(images.float() / 255)
        return normalized


def _odd(size: float) -> int:
    return max(3, round(size) // 2 * 2 + 1)
