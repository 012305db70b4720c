"""The views of a clip: one draw for all of its frames, so that what moves goes on moving as it did."""

import torch
from kornia.augmentation import VideoSequential
from torch import Tensor, nn

from examples.common.contrastive.views import normalize, random_steps
from examples.video.config import Augmentation


class Views(nn.Module):
    """Random views of each clip, and of a window of its frames.

    From uint8 ``(B, T, 3, H, W)`` to floats ``(B, frames, 3, size, size)``, normalised.

    Args:
        settings: Of the views.
        frames: How many frames in a row a view has, from a random place on.
        size: Side of a frame in pixels.
        views: How many.
    """

    def __init__(self, settings: Augmentation, frames: int, size: int, views: int = 2) -> None:
        super().__init__()
        steps = random_steps(
            size, min_scale=settings.min_scale, flip=settings.flip, jitter=settings.jitter, grayscale=settings.grayscale
        )
        self.frames, self.views = frames, views
        self.random = VideoSequential(*steps, data_format="BTCHW", same_on_frame=True)

    def forward(self, clips: Tensor) -> list[Tensor]:
        """Draw and apply; with the global generators."""
        return [normalize(self.random(self.cut(clips).float() / 255)) for _ in range(self.views)]

    def cut(self, clips: Tensor) -> Tensor:
        """A window of each clip, at a random place."""
        spare = clips.shape[1] - self.frames
        if not spare:
            return clips
        starts = torch.randint(spare + 1, (len(clips), 1), device=clips.device)
        frames = starts + torch.arange(self.frames, device=clips.device)
        return clips[torch.arange(len(clips), device=clips.device)[:, None], frames]
