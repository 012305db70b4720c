"""What the views of images and of clips are made of."""

from kornia.augmentation import ColorJiggle, RandomGrayscale, RandomHorizontalFlip, RandomResizedCrop
from torch import Tensor, nn

import nda_augment as nda


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


def plain(images: Tensor) -> Tensor:
    """Uint8 images or clips as they are, as the encoder expects them in evaluation."""
    return normalize(images.float() / 255)


def normalize(pixels: Tensor) -> Tensor:
    """Bring pixels in [0, 1] near mean 0 and deviation 1; not fitted to a data set, so that it is the same for all."""
    return (pixels - 0.5) / 0.25


def undone_by_flips(negative: nda.NegativeTransform) -> list[str]:
    """Name the members of a negative that flipped views make of an image as well."""
    if isinstance(negative, nda.Mixture):
        return [found for member in negative.members for found in undone_by_flips(member)]
    return [str(negative)] if isinstance(negative, nda.Flip) and negative.direction == "horizontal" else []
