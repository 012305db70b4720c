"""Negatives that move the whole image: for data with an upright position or a fixed place."""

from typing import Literal, Unpack

import torch
from torch import Tensor

from nda_augment import functional, sampling
from nda_augment._checks import as_fractions, as_one_of
from nda_augment.functional.geometry import DIRECTIONS
from nda_augment.sampling import Source
from nda_augment.transforms.base import Common, NegativeTransform, Params
from nda_augment.transforms.card import Card

__all__ = ["Flip", "Roll", "Rotate90", "Turn"]


class Rotate90(NegativeTransform):
    """Turn every image by a quarter, a half or three quarters, never by nothing.

    An image that is not square can only take the half turn, which keeps its shape, and does.

    Args:
        **common: ``p``, ``same_on_batch``, ``keepdim`` of :class:`NegativeTransform`.

    Raises:
        ValueError: If the image is a single pixel.

    Shape:
        ``(B, C, H, W)`` or ``(B, T, C, H, W)`` to the same. Parameters: ``turns``, int64 ``(B,)`` in 1..3.

    Example:
        >>> Rotate90()(torch.rand(8, 3, 32, 32)).shape
        torch.Size([8, 3, 32, 32])

    Source: Gidaris et al., ICLR 2018, as a pretext task; Tack et al., CSI, NeurIPS 2020, as a negative.
    """

    card = Card(
        family="geometry",
        breaks="the upright position",
        keeps="everything else",
        guarantee="the turn is not zero",
        source="Gidaris et al., 2018",
    )

    moves_values = True

    def make_params(self, shape: tuple[int, ...], **source: Unpack[Source]) -> Params:
        """Draw one number of quarter turns per image."""
        if shape[-2] == shape[-1] == 1:
            raise ValueError("an image of 1x1 px looks the same from all sides")
        low, high = (1, 4) if shape[-2] == shape[-1] else (2, 3)
        return {"turns": sampling.integers(low, high, shape[0], **source)}

    def transform(self, images: Tensor, params: Params) -> Tensor:
        """Apply :func:`nda_augment.functional.rotate90`."""
        return functional.rotate90(images, params["turns"])


class Turn(NegativeTransform):
    """Turn every image by the same number of quarters. There is nothing to draw.

    Args:
        turns: Number of quarter turns, 1, 2 or 3. Images that are not square can take the half turn only.
        **common: ``p``, ``same_on_batch``, ``keepdim`` of :class:`NegativeTransform`.

    Raises:
        ValueError: If the number is another one, the image is a single pixel, or a quarter turn would change its
            shape.

    Shape:
        ``(B, C, H, W)`` or ``(B, T, C, H, W)`` to the same. No parameters.

    Example:
        >>> Turn(2)(torch.tensor([[1.0, 2.0], [3.0, 4.0]]))
        tensor([[4., 3.],
                [2., 1.]])

    Source: Gidaris et al., ICLR 2018, and Tack et al., CSI, NeurIPS 2020, where each turn is a class of its own.
    """

    card = Card(
        family="geometry",
        breaks="the upright position, always in the same way",
        keeps="everything else",
        guarantee="the turn is not zero",
        source="Gidaris et al., 2018",
    )

    moves_values = True

    def __init__(self, turns: int = 2, **common: Unpack[Common]) -> None:
        super().__init__(**common)
        self.turns = as_one_of(turns, "turns", (1, 2, 3))

    def make_params(self, shape: tuple[int, ...], **source: Unpack[Source]) -> Params:
        """Draw nothing."""
        height, width = shape[-2:]
        if height == width == 1:
            raise ValueError("an image of 1x1 px looks the same from all sides")
        if self.turns != 2 and height != width:
            raise ValueError(f"images of {height}x{width} px take half turns only, got turns={self.turns}")
        return {}

    def transform(self, images: Tensor, params: Params) -> Tensor:
        """Apply :func:`nda_augment.functional.rotate90`."""
        return functional.rotate90(images, torch.full((len(images),), self.turns, device=images.device))


class Roll(NegativeTransform):
    """Shift every image cyclically by a good part of its sides, never by nothing.

    Args:
        shift: Smallest and largest shift as fractions of the image's height and width, drawn apart; or one number.
            Shifts of 0 and of a whole side are never drawn.
        **common: ``p``, ``same_on_batch``, ``keepdim`` of :class:`NegativeTransform`.

    Raises:
        ValueError: If the range is not within (0, 1), or holds no whole number of pixels in either direction.

    Shape:
        ``(B, C, H, W)`` or ``(B, T, C, H, W)`` to the same. Parameters: ``shifts``, int64 ``(B, 2)`` of ``(x, y)``
        pixels.

    Example:
        >>> Roll()(torch.rand(8, 3, 32, 32)).shape
        torch.Size([8, 3, 32, 32])

    Source: after ``shifted`` in the code of Sinha et al., ICLR 2021, there 10 to 24 of 32 pixels.
    """

    card = Card(
        family="geometry",
        breaks="place, and continuity at the seams",
        keeps="everything else",
        guarantee="the shift is not zero",
        source="after the code of Sinha et al., 2021",
    )

    moves_values = True

    def __init__(self, shift: tuple[float, float] | float = (1 / 4, 3 / 4), **common: Unpack[Common]) -> None:
        super().__init__(**common)
        self.shift = as_fractions(shift, "shift")
        if self.shift[1] == 1.0:
            raise ValueError(f"shift must stay below 1, got {shift}: a shift by a whole side moves nothing")

    def make_params(self, shape: tuple[int, ...], **source: Unpack[Source]) -> Params:
        """Draw one shift per image and direction."""
        drawn = [sampling.lengths(shape[0], length, self.shift, **source) for length in (shape[-1], shape[-2])]
        return {"shifts": torch.stack(drawn, dim=1)}

    def transform(self, images: Tensor, params: Params) -> Tensor:
        """Apply :func:`nda_augment.functional.roll`."""
        return functional.roll(images, params["shifts"])


class Flip(NegativeTransform):
    """Reflect every image: for domains where up-down (or left-right) is wrong. There is nothing to draw.

    A symmetric image comes back as it was. For most data a horizontal reflection is a *positive*.

    Args:
        direction: ``"vertical"`` exchanges top and bottom, ``"horizontal"`` left and right.
        **common: ``p``, ``same_on_batch``, ``keepdim`` of :class:`NegativeTransform`.

    Raises:
        ValueError: If the direction is another word, or the image has only one line along it.

    Shape:
        ``(B, C, H, W)`` or ``(B, T, C, H, W)`` to the same. No parameters.

    Example:
        >>> Flip()(torch.rand(8, 3, 32, 32)).shape
        torch.Size([8, 3, 32, 32])

    Source: Sinha et al., Negative Data Augmentation, ICLR 2021, as a counter-example.
    """

    card = Card(
        family="geometry",
        breaks="the upright position",
        keeps="everything else",
        guarantee="the direction is fixed",
        source="Sinha et al., 2021",
    )

    moves_values = True

    def __init__(self, direction: Literal["vertical", "horizontal"] = "vertical", **common: Unpack[Common]) -> None:
        super().__init__(**common)
        self.direction = as_one_of(direction, "direction", DIRECTIONS)

    def make_params(self, shape: tuple[int, ...], **source: Unpack[Source]) -> Params:
        """Draw nothing."""
        if shape[-2:][DIRECTIONS.index(self.direction)] < 2:
            raise ValueError(
                f"an image of {shape[-2]}x{shape[-1]} px has only one line to reflect with direction={self.direction!r}"
            )
        return {}

    def transform(self, images: Tensor, params: Params) -> Tensor:
        """Apply :func:`nda_augment.functional.flip`."""
        return functional.flip(images, self.direction)
