"""The denoiser: a UNet2DModel of diffusers that is told a noise level, a kind, and a class if it has classes."""

from typing import Any

import torch
from diffusers import UNet2DModel
from torch import Tensor, nn

from examples.diffusion.config import Model
from examples.diffusion.processes import Process
from nda_augment.adapters.diffusers import embedding_rows, num_class_embeds


class Denoiser(nn.Module):
    """Noisy images ``(B, C, H, W)``, noise levels, kinds ``(B,)`` and labels ``(B,)`` to the prediction of a process.

    Args:
        network: The UNet2DModel.
        process: What noise is and what is predicted.
        classes: How many classes the network is told apart, 0 for none.
    """

    def __init__(self, network: Any, process: Process, classes: int = 0) -> None:
        super().__init__()
        self.network, self.process, self.classes = network, process, classes

    @property
    def shape(self) -> tuple[int, int, int]:
        """Of an image, ``(C, H, W)``."""
        config = self.network.config
        return config.in_channels, config.sample_size, config.sample_size

    def forward(self, noisy: Tensor, levels: Tensor | float, kinds: Tensor, labels: Tensor | None = None) -> Tensor:
        """Predict for levels ``(B,)``, or one for all."""
        levels = torch.as_tensor(levels, dtype=noisy.dtype, device=noisy.device).expand(len(noisy))
        rows = embedding_rows(kinds, labels, max(self.classes, 1))

        def network(images: Tensor, times: Tensor) -> Tensor:
            output: Tensor = self.network(images, times, class_labels=rows).sample
            return output

        return self.process.predict(network, noisy, levels)


def build_denoiser(settings: Model, process: Process, size: int, channels: int, classes: int) -> Denoiser:
    """Build the denoiser of a run.

    Args:
        settings: The section ``MODEL``.
        process: Of the run.
        size: Side of the images.
        channels: Of the images.
        classes: How many it is told apart, 0 for none.
    """
    levels = len(settings.widths)
    coarse = "Attn" if settings.attention else ""
    network = UNet2DModel(  # type: ignore[no-untyped-call]
        sample_size=size,
        in_channels=channels,
        out_channels=channels,
        block_out_channels=tuple(settings.widths),
        layers_per_block=settings.layers_per_block,
        norm_num_groups=settings.norm_groups,
        down_block_types=("DownBlock2D",) * (levels - 1) + (f"{coarse}DownBlock2D",),
        up_block_types=(f"{coarse}UpBlock2D",) + ("UpBlock2D",) * (levels - 1),
        add_attention=settings.attention,
        num_class_embeds=num_class_embeds(max(classes, 1)),
    )
    return Denoiser(network, process, classes)
