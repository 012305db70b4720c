"""The views of a clip: one draw for all of its frames, so that what moves goes on moving as it did."""

from kornia.augmentation import VideoSequential
from torch import Tensor, nn

from examples.contrastive.views import random_steps
from examples.video.config import Augmentation


class Views(nn.Module):
    """Two random views of each clip: uint8 ``(B, T, 3, H, W)`` to two float ``(B, T, 3, size, size)``, normalised."""

    def __init__(self, settings: Augmentation, size: int) -> None:
        super().__init__()
        steps = random_steps(
            size, min_scale=settings.min_scale, flip=settings.flip, jitter=settings.jitter, grayscale=settings.grayscale
        )
        self.random = VideoSequential(*steps, data_format="BTCHW", same_on_frame=True)

    def forward(self, clips: Tensor) -> list[Tensor]:
        """Draw and apply; with the global generators."""
        pixels = clips.float() / 255
        return [_normalize(self.random(pixels)) for _ in range(2)]


def plain(clips: Tensor) -> Tensor:
    """Uint8 clips as they are, as the encoder expects them in evaluation."""
    return _normalize(clips.float() / 255)


def _normalize(pixels: Tensor) -> Tensor:
    """Near mean 0 and deviation 1; not fitted to a data set, so that it is the same for all."""
    return (pixels - 0.5) / 0.25
