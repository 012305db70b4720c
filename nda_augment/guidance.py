"""Guidance away from negatives: one denoiser that learns what the data is and what it is not.

A diffusion or flow model gets a *kind* as a condition. In training a share of the batch is replaced by negatives,
under the kind ``NEGATIVE``; sampling moves from the negatives' prediction towards, and beyond, that of the data:

    D = D_real + scale · (D_real − D_negative).

This is classifier-free guidance (Ho and Salimans, 2022) with a second class that is cheap to make, and autoguidance
(Karras et al., NeurIPS 2024) with a chosen flaw in the place of a worse model. It works on any prediction that is
affine in the denoised image: ε, v, x and the velocity of a flow are.
"""

from collections.abc import Mapping
from enum import IntEnum
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from nda_augment import sampling
from nda_augment._checks import check_parameter


class Kind(IntEnum):
    """What a denoiser is told of an image: that it is real, that it is a negative, or nothing."""

    REAL = 0
    NEGATIVE = 1
    ANY = 2


class Mixed(NamedTuple):
    """Images for one training step, and what the denoiser is told of each.

    Attributes:
        images: ``(B, C, H, W)`` tensor, real images and negatives.
        kinds: int64 ``(B,)`` tensor of :class:`Kind` values.
    """

    images: Tensor
    kinds: Tensor


def draw_kinds(
    batch: int,
    share: float = 0.15,
    drop: float = 0.1,
    *,
    generator: torch.Generator | None = None,
    device: sampling.Device = None,
) -> dict[str, Tensor]:
    """Draw which images of a batch become negatives, and whose kind is dropped.

    Args:
        batch: Number of images.
        share: Share of negatives, in (0, 1). Each image is one with exactly this probability; the number in a batch
            differs from ``share · batch`` by less than one.
        drop: Probability, in [0, 1), that the denoiser is not told the kind of an image.
        generator: Source of the draw; ``None`` is torch's global one.
        device: Device of the result.

    Returns:
        Dict of two bool ``(batch,)`` tensors, ``is_negative`` and ``is_dropped``, as :func:`mix_kinds` takes them.

    Raises:
        ValueError: If ``share`` or ``drop`` is out of bounds.

    Example:
        >>> draw_kinds(20, share=0.15)["is_negative"].sum().item()
        3
    """
    if not 0 < share < 1:
        raise ValueError(f"share is the part of the batch that becomes negatives, in (0, 1), got {share}; try 0.15")
    if not 0 <= drop < 1:
        raise ValueError(f"drop is the probability that a kind is dropped, in [0, 1), got {drop}; try 0.1")
    source: sampling.Source = {"generator": generator, "device": device}
    return {
        "is_negative": sampling.stratified_choice(batch, (1 - share, share), **source) == 1,
        "is_dropped": sampling.bernoulli(batch, drop, **source),
    }


def mix_kinds(
    images: Tensor,
    negatives: Tensor,
    share: float = 0.15,
    drop: float = 0.1,
    *,
    generator: torch.Generator | None = None,
    params: Mapping[str, Tensor] | None = None,
) -> Mixed:
    """Replace a share of a batch by negatives, and say which is which.

    No negative is ever called real: a dropped kind is ``ANY``, for images and negatives alike.

    Args:
        images: ``(B, C, H, W)`` tensor of real images, any range.
        negatives: Tensor like ``images``, one negative per image; only those drawn are used.
        share: Share of negatives, see :func:`draw_kinds`.
        drop: Probability of a dropped kind, see :func:`draw_kinds`.
        generator: Source of the draw; ``None`` is torch's global one.
        params: Draw to repeat, of :func:`draw_kinds`; then ``share``, ``drop`` and ``generator`` are not used.

    Returns:
        The mixed images and their kinds.

    Raises:
        ValueError: If the two batches do not match, ``share`` or ``drop`` is out of bounds, or ``params`` is not the
            draw of such a batch.

    Example:
        >>> import nda_augment as nda
        >>> images = torch.rand(20, 3, 32, 32)
        >>> mixed, kinds = mix_kinds(images, nda.Jigsaw()(images), share=0.25, drop=0.0)
        >>> kinds.bincount().tolist()
        [15, 5]
    """
    if negatives.shape != images.shape or negatives.dtype != images.dtype or negatives.device != images.device:
        raise ValueError(
            f"negatives must be like the images, {tuple(images.shape)} {images.dtype} on {images.device}, got "
            f"{tuple(negatives.shape)} {negatives.dtype} on {negatives.device}"
        )
    batch = len(images)
    if params is None:
        params = draw_kinds(batch, share, drop, generator=generator, device=images.device)
    elif generator is not None:
        raise ValueError("params repeat a draw; pass them without a generator")
    is_negative, is_dropped = (_flags(params, name, batch) for name in ("is_negative", "is_dropped"))
    mixed = torch.where(is_negative.view(-1, *(1,) * (images.ndim - 1)), negatives, images)
    return Mixed(mixed, is_negative.long().masked_fill(is_dropped, int(Kind.ANY)))


def guide(
    real: Tensor,
    negative: Tensor,
    scale: float,
    interval: tuple[float, float] | None = None,
    noise_level: Tensor | float | None = None,
) -> Tensor:
    """Move a prediction away from what it would be for a negative: ``real + scale · (real − negative)``.

    Args:
        real: ``(B, ...)`` prediction of the denoiser under the kind ``REAL``: ε, v, the denoised image or a velocity.
        negative: Prediction of the same shape under the kind ``NEGATIVE``.
        scale: Strength of the guidance, at least 0; at 0 ``real`` itself comes back.
        interval: Lowest and highest noise level at which guidance acts, both included; everywhere by default.
        noise_level: Noise level of the step, a number or a ``(B,)`` tensor, in the unit of ``interval``; needed with
            one.

    Returns:
        Tensor like ``real``.

    Raises:
        ValueError: If the shapes differ, ``scale`` is negative, or an interval is empty or has no noise level.

    Example:
        >>> guide(torch.tensor([1.0]), torch.tensor([0.5]), scale=2.0)
        tensor([2.])

    Source: the interval after Kynkäänniemi et al., "Applying Guidance in a Limited Interval", NeurIPS 2024.
    """
    check_guidance(scale, interval)
    if real.shape != negative.shape:
        raise ValueError(f"predictions must have one shape, got {tuple(real.shape)} and {tuple(negative.shape)}")
    if scale == 0:
        return real
    guided = real + scale * (real - negative)
    if interval is None:
        return guided
    if noise_level is None:
        raise ValueError(f"interval={interval} asks for noise_level=, the noise level of this step")
    if not isinstance(noise_level, Tensor):
        return guided if acts_at(noise_level, interval) else real
    acts = (noise_level >= interval[0]) & (noise_level <= interval[1])
    return torch.where(acts.view(-1, *(1,) * (real.ndim - 1)), guided, real)


class Guided(nn.Module):
    """A denoiser with a kind, as a sampler sees it: without one, and guided away from negatives.

    Where guidance does not act (``scale=0``, or a noise level outside the interval) the denoiser is called once, for
    the kind ``REAL``; elsewhere once with a batch of twice the size.

    Args:
        denoiser: Callable ``(noisy, noise_level, kinds, **conditions) -> prediction``.
        scale: Strength of the guidance, see :func:`guide`.
        interval: Lowest and highest noise level at which guidance acts.

    Raises:
        ValueError: If ``scale`` is negative or the interval is empty.

    Shape:
        ``noisy`` is ``(B, C, ...)``, ``noise_level`` a number or a tensor of one element; every further condition is a
        ``(B, ...)`` tensor. The prediction is like ``noisy``; further channels, such as a learned variance, are those
        of the real prediction.

    Example:
        >>> def denoiser(noisy, noise_level, kinds):
        ...     return noisy * 0 + kinds.view(-1, 1, 1, 1)
        >>> Guided(denoiser, scale=2.0)(torch.zeros(1, 1, 1, 1), 0.5).item()
        -2.0
    """

    def __init__(self, denoiser: Any, scale: float, interval: tuple[float, float] | None = None) -> None:
        super().__init__()
        check_guidance(scale, interval)
        self.denoiser = denoiser
        self.scale = scale
        self.interval = interval

    def forward(self, noisy: Tensor, noise_level: Tensor | float, **conditions: Tensor) -> Tensor:
        """Return the guided prediction for a batch at one noise level."""
        kinds = torch.full((len(noisy),), int(Kind.REAL), device=noisy.device)
        if self.scale == 0 or not acts_at(noise_level, self.interval):
            plain: Tensor = self.denoiser(noisy, noise_level, kinds, **conditions)
            return plain
        twice = {name: torch.cat([value, value]) for name, value in conditions.items()}
        both = torch.cat([kinds, torch.full_like(kinds, int(Kind.NEGATIVE))])
        real, negative = self.denoiser(torch.cat([noisy, noisy]), noise_level, both, **twice).chunk(2)
        channels = noisy.shape[1]
        guided = guide(real[:, :channels], negative[:, :channels], self.scale)
        return torch.cat([guided, real[:, channels:]], dim=1) if real.shape[1] > channels else guided


def check_guidance(scale: float, interval: tuple[float, float] | None) -> None:
    """Raise ValueError unless this is a strength and an interval that guidance can have."""
    if not 0 <= scale < float("inf"):
        raise ValueError(f"scale must be a finite number of at least 0 (0 is plain sampling), got {scale}")
    if interval is not None and not interval[0] < interval[1]:
        raise ValueError(f"interval must be (lowest, highest) noise level with lowest < highest, got {interval}")


def acts_at(noise_level: Tensor | float, interval: tuple[float, float] | None) -> bool:
    """Tell whether guidance with this interval acts at a noise level, a number or a tensor of one element."""
    return interval is None or bool(interval[0] <= noise_level <= interval[1])


def _flags(params: Mapping[str, Tensor], name: str, batch: int) -> Tensor:
    if name not in params:
        raise ValueError(f"params must be a draw of draw_kinds, which has {name!r}; got {sorted(params)}")
    check_parameter(params[name], name, (batch,))
    return params[name]
