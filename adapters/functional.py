"""Negatives for repositories that augment by a function and a policy string, as DiffAugment made usual."""

from functools import lru_cache

import torch
from torch import Tensor

from nda_augment.policy import from_policy

# A training names one or two policies and calls with them at every step.
_cached = lru_cache(maxsize=64)(from_policy)


def NDA(  # noqa: N802 - spelt like DiffAugment, beside which it is called
    x: Tensor,
    policy: str = "jigsaw,stitch",
    channels_first: bool = True,
    *,
    labels: Tensor | None = None,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Return the negatives of a batch.

    The call is that of ``DiffAugment(x, policy, channels_first)``, the meaning of the commas is not: DiffAugment
    applies all of a policy to every image, a negative is made by *one* of its members, drawn per image. Weights,
    arguments and all words of :func:`~nda_augment.list_transforms` can be used.

    Args:
        x: Real images, ``(B, C, H, W)``, floating point or uint8, any range.
        policy: Policy string, see :func:`~nda_augment.from_policy`. It is read once and kept.
        channels_first: ``False`` if the images are ``(B, H, W, C)``.
        labels: int64 ``(B,)`` classes, for policies that choose partners by class; others refuse them.
        generator: Source of the draw; ``None`` is torch's global one.

    Returns:
        Tensor like ``x``. Gradients flow; the input is never written to.

    Raises:
        ValueError: If the policy is empty or cannot be read, the input is not a batch of images, or there is a single
            image and the policy borrows from others.
        TypeError: If the input is neither floating point nor uint8.

    Example:
        >>> images = torch.rand(8, 3, 32, 32)
        >>> negatives = NDA(images, policy="jigsaw(grid=4x4),cutout:2")
        >>> negatives.shape
        torch.Size([8, 3, 32, 32])
        >>> g = torch.Generator().manual_seed(0)
        >>> h = torch.Generator().manual_seed(0)
        >>> torch.equal(NDA(images, generator=g), NDA(images, generator=h))
        True
    """
    if x.ndim != 4:
        raise ValueError(f"x must be a batch of four dimensions, got shape {tuple(x.shape)}")
    images = x if channels_first else x.movedim(-1, 1)
    negatives: Tensor = _cached(policy)(images, labels=labels, generator=generator)
    return negatives if channels_first else negatives.movedim(1, -1).contiguous()
