"""The views of a clip: one draw for all of its frames, so that what moves goes on moving as it did."""

from kornia.augmentation import VideoSequential
from torch import Tensor, nn

from examples.common.contrastive.views import normalize, random_steps
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
        return [normalize(self.random(pixels)) for _ in range(2)]
