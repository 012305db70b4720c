"""What the tests of the adapters feed to each negative of the registry."""

import torch
from torch import Tensor

from nda_augment.registry import NEGATIVES
from nda_augment.transforms import NegativeTransform

# The default grids of all negatives divide it, and it is not square.
SIZE = (56, 112)

IMAGE_NEGATIVES = [negative for negative in NEGATIVES if not negative.needs_clips]
CLIP_NEGATIVES = [negative for negative in NEGATIVES if negative.needs_clips]


def name_of(cls: type[NegativeTransform]) -> str:
    return cls.__name__


def channels_of(cls: type[NegativeTransform], *wanted: int) -> list[int]:
    """Return those of the wanted numbers of channels that a negative takes."""
    return [channels for channels in wanted if cls.channels in (None, channels)]


def distinct(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> Tensor:
    """Return images without two equal values in [0, 1), or as few as 256 of them allow, in random order."""
    count = torch.Size(shape).numel()
    order = torch.randperm(count, generator=torch.Generator().manual_seed(seed)).view(shape)
    return (order % 256).to(dtype) if dtype == torch.uint8 else (order.double() / max(count, 1)).to(dtype)
