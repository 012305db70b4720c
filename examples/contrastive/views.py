"""The views of MoCo-v2 and SimCLR, made for a whole batch on the device it is on."""

from collections.abc import Sequence

import torch
from kornia.augmentation import ImageSequential, RandomGaussianBlur
from torch import Tensor, nn
from torchvision.transforms import v2

from examples.common.contrastive.views import normalize, random_steps
from examples.contrastive.config import Augmentation


class Views(nn.Module):
    """Two random views of each image, float ``(B, 3, size, size)``, normalised.

    Images are uint8, a batch ``(B, 3, size, size)``, or originals ``(3, H, W)`` of any sizes. Of these a crop is
    brought to its size at once, with antialiasing, one image at a time; all else is done for the whole batch.
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

    def forward(self, images: Tensor | Sequence[Tensor]) -> list[Tensor]:
        """Draw and apply; with the global generators."""
        return [normalize(self.change(self._cropped(images))) for _ in range(2)]

    def _cropped(self, images: Tensor | Sequence[Tensor]) -> Tensor:
        if isinstance(images, Tensor):
            crops: Tensor = self.crop(images.float() / 255)
            return crops
        return torch.stack([self.crop_original(image) for image in images]).float() / 255


def _odd(size: float) -> int:
    return max(3, round(size) // 2 * 2 + 1)
