"""Corruptions: what a camera, a codec or bad light do to an image, which leaves what it shows as it is."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, Unpack, get_args

import kornia
import torch
from torch import Tensor

from nda_augment import functional, sampling
from nda_augment._checks import as_one_of, as_positive, as_range
from nda_augment.functional._layout import in_layout_of, may_loop
from nda_augment.functional._precision import to_dtype, working_dtype
from nda_augment.sampling import Source
from nda_augment.transforms.base import Common, NegativeTransform, Params

__all__ = ["Corruption"]

CorruptionKind = Literal[
    "noise", "salt_and_pepper", "blur", "motion_blur", "pixelate", "jpeg", "darkness", "brightness", "contrast"
]
CORRUPTIONS: tuple[CorruptionKind, ...] = get_args(CorruptionKind)
"""The kinds of corruption."""


@dataclass(frozen=True)
class _Way:
    """How images in [0, 1] are corrupted.

    Attributes:
        amounts: The amounts of the five severities.
        apply: Function of images ``(N, C, H, W)``, the amount and, where it draws, what was drawn for each of them.
        draw: Function of a shape ``(B, C, H, W)`` that draws, or ``None``.
    """

    amounts: tuple[float, float, float, float, float]
    apply: Callable[..., Tensor]
    draw: Callable[..., Tensor] | None = None


class Corruption(NegativeTransform):
    """Spoil every image as a camera, a codec or bad light would, in five severities.

    What an image shows stays what it was, so by itself this is not a negative: it is a *shift*, for a detector's bank
    of shifts, for testing how robust a model is, and for asking :func:`nda_augment.audit` where a positive ends. It
    guarantees no change: an image that is flat, or as dark as can be, may come back as it was.

    | kind | amount | severities 1 to 5 |
    | --- | --- | --- |
    | ``noise`` | deviation, as a share of the range | 0.04, 0.08, 0.12, 0.18, 0.26 |
    | ``salt_and_pepper`` | share of the pixels, half white and half black | 0.01, 0.03, 0.06, 0.1, 0.2 |
    | ``blur`` | deviation of a Gaussian, as a share of the shorter side | 0.014, 0.02, 0.028, 0.04, 0.056 |
    | ``motion_blur`` | length at 45 degrees, as a share of the shorter side | 0.1, 0.16, 0.22, 0.28, 0.34 |
    | ``pixelate`` | share of the pixels that is left along a side | 0.8, 0.6, 0.45, 0.35, 0.25 |
    | ``jpeg`` | quality, 100 is best | 50, 30, 20, 12, 7 |
    | ``darkness`` | factor of all values | 0.85, 0.7, 0.55, 0.4, 0.25 |
    | ``brightness`` | share of the range that is added | 0.1, 0.2, 0.3, 0.4, 0.5 |
    | ``contrast`` | factor of the distance from the mean | 0.75, 0.6, 0.45, 0.3, 0.15 |

    Args:
        kind: Kind of corruption, one of those in the table.
        severity: Severity from 1 to 5.
        amount: Amount in place of that of the severity, as the table has it.
        value_range: Smallest and largest value of the images; of uint8 images it is 0 to 255. What leaves it is
            clamped, as in a camera.
        **common: ``p``, ``same_on_batch``, ``keepdim`` of :class:`NegativeTransform`.

    Raises:
        ValueError: If the kind is unknown, the severity is not from 1 to 5, the amount is out of bounds, or images do
            not lie in the range.

    Shape:
        ``(B, C, H, W)`` or ``(B, T, C, H, W)`` to the same; JPEG takes one channel or three. Parameters: ``draws``,
        float32 ``(B, C, H, W)``, of ``noise`` and ``salt_and_pepper``.

    Example:
        >>> Corruption("contrast", severity=5)(torch.tensor([0.0, 1.0]).view(1, 1, 1, 2)).flatten()
        tensor([0.4250, 0.5750])

    Source: after Hendrycks and Dietterich, ImageNet-C, ICLR 2019; operations are kornia's, amounts this package's.
    """

    def __init__(
        self,
        kind: CorruptionKind = "noise",
        severity: int = 3,
        amount: float | None = None,
        value_range: tuple[float, float] = (0.0, 1.0),
        **common: Unpack[Common],
    ) -> None:
        super().__init__(**common)
        self.kind: CorruptionKind = as_one_of(kind, "kind", CORRUPTIONS)
        self.severity = as_one_of(severity, "severity", (1, 2, 3, 4, 5))
        self.amount = None if amount is None else _as_amount(amount, kind)
        self.value_range = as_range(value_range, "value_range")
        if self.value_range[0] == self.value_range[1]:
            raise ValueError(f"value_range must be two numbers low < high, got {value_range!r}")

    def make_params(self, shape: tuple[int, ...], **source: Unpack[Source]) -> Params:
        """Draw noise, where there is some."""
        draw = _WAYS[self.kind].draw
        if self.kind == "jpeg" and shape[-3] not in (1, 3):
            raise ValueError(f"jpeg takes images of 1 or 3 channels, got {shape[-3]}")
        return {} if draw is None else {"draws": draw(shape[0], *shape[-3:], **source)}

    def transform(self, images: Tensor, params: Params) -> Tensor:
        """Corrupt in [0, 1], and bring back to the images' own range and dtype."""
        if not len(images):
            return images.clone()
        way, amount = _WAYS[self.kind], self.amount
        low, high = (0.0, 255.0) if images.dtype == torch.uint8 else self.value_range
        self._check_values(images)
        unit = ((images.to(working_dtype(images)) - low) / (high - low)).reshape(-1, *images.shape[-3:])
        frames = len(unit) // len(images)
        draws = [params["draws"].to(unit.dtype).repeat_interleave(frames, dim=0)] if way.draw else []
        corrupted = way.apply(unit, way.amounts[self.severity - 1] if amount is None else amount, *draws).clamp(0, 1)
        return in_layout_of(images, to_dtype((corrupted * (high - low) + low).view(images.shape), images.dtype))

    def _check_values(self, images: Tensor) -> None:
        if images.dtype == torch.uint8 or not may_loop(images):
            return
        least, most = (extreme.item() for extreme in images.aminmax())
        low, high = self.value_range
        slack = 1e-3 * (high - low)
        if least < low - slack or most > high + slack:
            raise ValueError(
                f"images must lie in value_range={self.value_range}, got values from {least:.4g} to {most:.4g}; give "
                "the range they have as value_range="
            )


def _salt_and_pepper(images: Tensor, amount: float, draws: Tensor) -> Tensor:
    coins = draws[:, :1]
    return torch.where(coins < amount / 2, 0.0, torch.where(coins > 1 - amount / 2, 1.0, images))


def _motion_blur(images: Tensor, amount: float) -> Tensor:
    length = amount * min(images.shape[-2:])
    size = max(2 * round((length - 1) / 2) + 1, 3)
    blurred: Tensor = kornia.filters.motion_blur(images, size, 45.0, 0.0, border_type="replicate", mode="bilinear")
    return blurred


def _pixelate(images: Tensor, amount: float) -> Tensor:
    height, width = images.shape[-2:]
    coarse = (max(round(height * amount), 1), max(round(width * amount), 1))
    small = kornia.geometry.resize(images, coarse, antialias=True)
    large: Tensor = kornia.geometry.resize(small, (height, width), interpolation="nearest")
    return large


def _jpeg(images: Tensor, amount: float) -> Tensor:
    quality = torch.full((1,), amount, dtype=images.dtype, device=images.device)
    coded: Tensor = kornia.enhance.jpeg_codec_differentiable(images.expand(-1, 3, -1, -1), quality)
    return coded if images.shape[1] == 3 else coded.mean(dim=1, keepdim=True)


def _contrast(images: Tensor, amount: float) -> Tensor:
    adjusted: Tensor = kornia.enhance.adjust_contrast_with_mean_subtraction(images, amount)
    return adjusted


_WAYS: Mapping[CorruptionKind, _Way] = {
    "noise": _Way((0.04, 0.08, 0.12, 0.18, 0.26), lambda x, amount, draws: x + amount * draws, sampling.normal),
    "salt_and_pepper": _Way((0.01, 0.03, 0.06, 0.1, 0.2), _salt_and_pepper, sampling.uniform),
    "blur": _Way((0.014, 0.02, 0.028, 0.04, 0.056), functional.blur),
    "motion_blur": _Way((0.1, 0.16, 0.22, 0.28, 0.34), _motion_blur),
    "pixelate": _Way((0.8, 0.6, 0.45, 0.35, 0.25), _pixelate),
    "jpeg": _Way((50, 30, 20, 12, 7), _jpeg),
    "darkness": _Way((0.85, 0.7, 0.55, 0.4, 0.25), lambda x, amount: kornia.enhance.adjust_contrast(x, amount)),
    "brightness": _Way((0.1, 0.2, 0.3, 0.4, 0.5), lambda x, amount: kornia.enhance.adjust_brightness(x, amount)),
    "contrast": _Way((0.75, 0.6, 0.45, 0.3, 0.15), _contrast),
}


def _as_amount(amount: float, kind: CorruptionKind) -> float:
    amount, most = as_positive(amount, "amount"), 100.0 if kind == "jpeg" else 1.0
    if kind != "noise" and amount > most:
        raise ValueError(f"amount of {kind} must be at most {most:g}, got {amount:g}")
    return amount
