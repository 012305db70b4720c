"""The audit's own encoder: small, and trained on the images themselves, without labels."""

from collections.abc import Callable

import kornia.augmentation as K
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nda_augment._seeding import seeded
from nda_augment.losses import nt_xent

FEATURES = 64
_BATCH = 128
_TEMPERATURE = 0.2
_RATE = 2e-3


class SmallEncoder(nn.Module):
    """Three convolutions and a linear layer; features know where in the image things are.

    A network of its own: :class:`nda_augment.anomaly.Encoder` with ``places=4``, tried here, took a quarter longer to
    train and was right on fewer labels.

    Args:
        channels: Number of channels of the images.
        side: Side in pixels that images are brought to, 16 or 32.

    Shape:
        ``(N, C, H, W)`` in [0, 1] to ``(N, 64)``.
    """

    def __init__(self, channels: int, side: int = 32) -> None:
        super().__init__()
        self.side = side
        self.body = nn.Sequential(
            nn.Conv2d(channels, 32, 3, stride=2, padding=1), nn.BatchNorm2d(32), nn.ReLU(),
            nn.Conv2d(32, 64, 3, stride=2, padding=1), nn.BatchNorm2d(64), nn.ReLU(),
            nn.Conv2d(64, 128, 3, stride=2, padding=1), nn.BatchNorm2d(128), nn.ReLU(),
            nn.Flatten(), nn.Linear(128 * (side // 8) ** 2, FEATURES),
        )  # fmt: skip

    def forward(self, images: Tensor) -> Tensor:
        """Return the features."""
        if images.shape[-2:] != (self.side, self.side):
            images = F.interpolate(images, size=(self.side, self.side), mode="bilinear", antialias=True)
        features: Tensor = self.body(2 * images - 1)
        return features


def train_encoder(
    images: Tensor, *, steps: int, seed: int, progress: Callable[[int, int], None] = lambda done, total: None
) -> SmallEncoder:
    """Train an encoder to know an image again after a crop, a blur and a change of colours (SimCLR).

    What it is trained to overlook, it cannot judge: crops and colours count little by construction. Flips, turns and
    negatives of any kind it never sees.

    Source: Chen et al., "A Simple Framework for Contrastive Learning of Visual Representations", ICML 2020.

    Args:
        images: Images ``(N, C, H, W)`` in [0, 1].
        steps: Number of batches of at most 128 images.
        seed: Seed of all draws; the same images, steps and seed give the same encoder.
        progress: Function called with the number of steps done and their total.

    Returns:
        The encoder, in eval mode and frozen.
    """
    with seeded(seed, images.device):
        encoder = SmallEncoder(images.shape[1], 32 if min(images.shape[-2:]) > 16 else 16).to(images.device)
        head = nn.Sequential(nn.BatchNorm1d(FEATURES), nn.ReLU(), nn.Linear(FEATURES, FEATURES)).to(images.device)
        views = _views(encoder.side)
        optimizer = torch.optim.AdamW([*encoder.parameters(), *head.parameters()], lr=_RATE, weight_decay=1e-4)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, _RATE, total_steps=steps)
        for step in range(steps):
            batch = images[torch.randperm(len(images))[:_BATCH].to(images.device)]
            first, second = head(encoder(torch.cat([views(batch), views(batch)]))).chunk(2)
            loss = nt_xent(first, second, temperature=_TEMPERATURE)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
            progress(step + 1, steps)
    return encoder.eval().requires_grad_(False)


def _views(side: int) -> nn.Module:
    return nn.Sequential(
        K.RandomResizedCrop((side, side), scale=(0.3, 1.0), ratio=(0.8, 1.25)),
        K.RandomGaussianBlur((3, 3), (0.1, 1.0), p=0.3),
        _Recolour(),
    )


class _Recolour(nn.Module):
    """Draw contrast and brightness of every channel apart, and make one image in four grey, for any channels.

    Colour would otherwise be enough to know an image again, and structure would be overlooked.
    """

    def forward(self, images: Tensor) -> Tensor:
        shape = (*images.shape[:2], 1, 1)
        gain, shift = 0.5 + torch.rand(shape), 0.3 * (torch.rand(shape) - 0.5)
        grey = torch.rand(len(images), 1, 1, 1) < 0.25
        means = images.mean((2, 3), keepdim=True)
        images = (images - means) * gain.to(images) + means + shift.to(images)
        return torch.where(grey.to(images.device), images.mean(1, keepdim=True), images)
