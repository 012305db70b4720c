"""Negatives that keep the texture of an image and nothing else."""

from typing import Any, Unpack

from torch import Tensor

from nda_augment import functional, sampling
from nda_augment._checks import as_flag, as_fractions
from nda_augment.sampling import Source
from nda_augment.transforms.base import Common, NegativeTransform, Params
from nda_augment.transforms.card import Card

__all__ = ["PatchTile", "TextureResample"]

Range = tuple[float, float] | float


class PatchTile(NegativeTransform):
    """Tile an image with square windows of itself: its texture without its objects.

    Each tile shows a window of its own, drawn anywhere in the image; with ``same_window=True`` all tiles of an image
    show the same one. The tile in the upper left corner never shows its own place.

    Args:
        side: Smallest and largest side of the tiles as fractions of the image's shorter side, below 1; or one number.
        same_window: Whether all tiles of an image show the same window.
        **common: ``p``, ``same_on_batch``, ``keepdim`` of :class:`NegativeTransform`.

    Raises:
        ValueError: If the range is not within (0, 1) or holds no whole number of pixels.

    Shape:
        ``(B, C, H, W)`` or ``(B, T, C, H, W)`` to the same. Parameters: ``side``, int64 ``(B,)``; ``windows``, int64
        ``(B, rows, cols, 2)``, upper left corners ``(x, y)``.

    Example:
        >>> import torch
        >>> PatchTile()(torch.rand(8, 3, 32, 32)).shape
        torch.Size([8, 3, 32, 32])

    Source: Ge et al., Robust contrastive learning using negative samples with diminished semantics, NeurIPS 2021:
    sides of 16 to 72 pixels at 224.
    """

    card = Card(
        family="texture",
        breaks="all structure beyond a tile",
        keeps="texture within the tiles",
        guarantee="the first tile shows another place",
        source="Ge et al., 2021",
    )

    moves_values = True

    def __init__(self, side: Range = (16 / 224, 72 / 224), same_window: bool = False, **common: Unpack[Common]) -> None:
        super().__init__(**common)
        self.side = _as_window_side(side)
        self.same_window = as_flag(same_window, "same_window")

    def make_params(self, shape: tuple[int, ...], **source: Unpack[Source]) -> Params:
        """Draw the tiles' side and their windows."""
        return _tiles(shape, self.side, (), self.same_window, 0, source)

    def transform(self, images: Tensor, params: Params) -> Tensor:
        """Apply :func:`nda_augment.functional.patch_tile`."""
        return functional.patch_tile(images, params["side"], params["windows"])


class TextureResample(NegativeTransform):
    """Synthesise the image's texture from windows that fade into each other: no seams give it away.

    Args:
        side: Smallest and largest side of the windows as fractions of the image's shorter side, below 1; or one
            number.
        **common: ``p``, ``same_on_batch``, ``keepdim`` of :class:`NegativeTransform`.

    Raises:
        ValueError: If the range is not within (0, 1) or holds no whole number of pixels, or the image is so small
            that a window would be one pixel.

    Shape:
        ``(B, C, H, W)`` or ``(B, T, C, H, W)`` to the same. Parameters: ``side``, int64 ``(B,)``; ``windows``, int64
        ``(B, 4, rows, cols, 2)``, upper left corners ``(x, y)``.

    Example:
        >>> import torch
        >>> TextureResample()(torch.rand(8, 3, 32, 32)).shape
        torch.Size([8, 3, 32, 32])

    Source: after Heitz and Neyret, High-performance by-example noise, 2018; Ge et al., NeurIPS 2021, use synthesised
    texture as negatives.
    """

    card = Card(
        family="texture",
        breaks="all structure, without seams",
        keeps="texture",
        guarantee="the first window shows another place",
        source="after Heitz and Neyret, 2018",
    )

    def __init__(self, side: Range = (1 / 4, 1 / 2), **common: Unpack[Common]) -> None:
        super().__init__(**common)
        self.side = _as_window_side(side)

    def make_params(self, shape: tuple[int, ...], **source: Unpack[Source]) -> Params:
        """Draw the windows' side and their places."""
        if sampling.length_bounds(min(shape[-2:]), self.side)[0] < 2:
            raise ValueError(
                f"windows of side={self.side} would be a single pixel of a {shape[-2]}x{shape[-1]} image; "
                "use larger images or a larger side"
            )
        return _tiles(shape, self.side, (4,), False, 1, source)

    def transform(self, images: Tensor, params: Params) -> Tensor:
        """Apply :func:`nda_augment.functional.texture_resample`."""
        return functional.texture_resample(images, params["side"], params["windows"])


def _as_window_side(side: Range) -> tuple[float, float]:
    low, high = as_fractions(side, "side")
    if high == 1.0:
        raise ValueError(f"side must stay below 1, got {side}: a window as large as the image has no other place")
    return low, high


def _tiles(
    shape: tuple[int, ...],
    fractions: tuple[float, float],
    layers: tuple[int, ...],
    same_window: bool,
    spare: int,
    source: Source,
) -> Params:
    """Draw square windows for enough tiles to cover images of ``shape``, and ``spare`` rows and columns more."""
    size = (shape[-2], shape[-1])
    side = sampling.lengths(shape[0], min(size), fractions, **source)
    smallest, _ = sampling.length_bounds(min(size), fractions)
    tiles = [-(-length // smallest) + spare for length in size]
    drawn: list[Any] = [1, 1] if same_window else tiles
    windows = sampling.window_corners(side, size, *layers, *drawn, generator=source["generator"])
    return {"side": side, "windows": windows.expand(shape[0], *layers, *tiles, 2)}
