"""The views of MoCo-v2 and SimCLR, made for a whole batch on the device it is on."""

from kornia.augmentation import ImageSequential, RandomGaussianBlur
from torch import Tensor, nn

from examples.common.contrastive.views import normalize, random_steps
from examples.contrastive.config import Augmentation


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

    def forward(self, images: Tensor) -> list[Tensor]:
        """Draw and apply; with the global generators."""
        pixels = images.float() / 255
        return [normalize(self.random(pixels)) for _ in range(2)]


def _odd(size: float) -> int:
    return max(3, round(size) // 2 * 2 + 1)
