"""The views of MoCo-v2 and SimCLR, made for a whole batch on the device it is on."""

from collections.abc import Sequence
from pathlib import Path

import torch
from kornia.augmentation import ImageSequential, RandomGaussianBlur
from torch import Tensor, nn
from torchvision.transforms import v2

from examples.common.contrastive.views import normalize, random_steps
from examples.common.settings import ConfigError
from examples.contrastive.config import Augmentation
from examples.gan.generation import load_augmentation

Originals = Tensor | Sequence[Tensor]


class Views(nn.Module):
    """Two random views of each image, float ``(B, 3, size, size)``, normalised.

    Images are uint8, a batch ``(B, 3, size, size)``, or originals ``(3, H, W)`` of any sizes. Of these a crop is
    brought to its size at once, with antialiasing, one image at a time; all else is done for the whole batch. With a
    generator the second view is, with a probability, of an image that it makes of the first one's instance.
    """

    def __init__(self, settings: Augmentation, size: int) -> None:
        super().__init__()
        self.crop, *changes = random_steps(
            size, min_scale=settings.min_scale, flip=settings.flip, jitter=settings.jitter, grayscale=settings.grayscale
        )
        self.crop_original = v2.RandomResizedCrop(size, scale=(settings.min_scale, 1.0), antialias=True)
        if settings.blur:
            changes.append(RandomGaussianBlur(kernel_size=_odd(size / 10), sigma=(0.1, 2.0), p=settings.blur))
        self.change = ImageSequential(*changes)
        self.size = size
        self.swap = load_augmentation(Path(settings.generator), settings.generated, 3) if settings.generated else None
        if self.swap is not None and self.swap.needs_labels:
            raise ConfigError(f"AUG.generator={settings.generator} is told classes, of which views know nothing")

    def forward(self, images: Originals) -> list[Tensor]:
        """Draw and apply; with the global generators."""
        return [normalize(self.change(self._cropped(each))) for each in (images, self._swapped(images))]

    def _swapped(self, images: Originals) -> Originals:
        """The images, some of them in the size of the views and generated."""
        if self.swap is None:
            return images
        if isinstance(images, Tensor):
            swapped: Tensor = self.swap(images)
            return swapped
        generated = self.swap(torch.stack([_square(image, self.size) for image in images]))
        chosen = self.swap._params["batch_prob"] > 0.5
        return [new if gone else image for image, new, gone in zip(images, generated, chosen, strict=True)]

    def _cropped(self, images: Originals) -> Tensor:
        if isinstance(images, Tensor):
            crops: Tensor = self.crop(images.float() / 255)
            return crops
        return torch.stack([self.crop_original(image) for image in images]).float() / 255


def _square(image: Tensor, size: int) -> Tensor:
    central = v2.functional.center_crop(image, [min(image.shape[-2:])] * 2)
    square: Tensor = v2.functional.resize(central, [size, size], antialias=True)
    return square


def _odd(size: float) -> int:
    return max(3, round(size) // 2 * 2 + 1)
