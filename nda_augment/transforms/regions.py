"""Negatives that spoil a region of an image; ``return_mask=True`` tells which."""

import math
from collections.abc import Sequence
from typing import Unpack

import torch
from torch import Tensor

from nda_augment import functional, sampling
from nda_augment._checks import (
    as_flag,
    as_fractions,
    as_positive_range,
    as_range,
    as_share,
    as_whole_range,
)
from nda_augment.functional import masks
from nda_augment.functional._layout import Chosen, as_planes
from nda_augment.functional.regions import Fill, as_fill, check_channels, flatten_boxes, flatten_chosen
from nda_augment.sampling import Source
from nda_augment.transforms.base import Common, NegativeTransform, Params
from nda_augment.transforms.card import Card
from nda_augment.transforms.partners import PairCommon, PairTransform

__all__ = ["CutPaste", "CutPasteForeign", "CutPasteScar", "Cutout", "PerlinBlend"]

Range = tuple[float, float] | float


class Cutout(NegativeTransform):
    """Fill a box of every image with a flat colour: something is missing.

    A box that is flat already, in the colour of the fill, makes the result equal to the source.

    Args:
        side: Smallest and largest side of the box as fractions of the image's height and width, drawn apart; or one
            number. The paper's 1/3 to 1/2 by default.
        fill: ``"patch_mean"`` (the paper's: each channel's mean over the box), ``"image_mean"``, ``"zero"``, a number,
            or one number per channel, in the images' own range.
        square: Whether to draw squares, their side a fraction of the image's shorter side.
        **common: ``p``, ``same_on_batch``, ``keepdim`` of :class:`NegativeTransform`.

    Raises:
        ValueError: If the range is not within (0, 1] or holds no whole number of pixels, or the fill is unknown.

    Shape:
        ``(B, C, H, W)`` or ``(B, T, C, H, W)`` to the same. Parameters: ``boxes``, int64 ``(B, 4)`` of
        ``(x0, y0, x1, y1)``.

    Example:
        >>> Cutout()(torch.rand(8, 3, 32, 32)).shape
        torch.Size([8, 3, 32, 32])

    Source: Sinha et al., Negative Data Augmentation, ICLR 2021; DeVries and Taylor, Cutout, 2017.
    """

    card = Card(
        family="region",
        breaks="content of a box",
        keeps="the rest, and the mean colour",
        guarantee="the box is not empty",
        source="Sinha et al., 2021",
    )

    changes_region = True
    keeps_share = True

    def __init__(
        self, side: Range = (1 / 3, 1 / 2), fill: Fill = "patch_mean", square: bool = False, **common: Unpack[Common]
    ) -> None:
        super().__init__(**common)
        self.side = as_fractions(side, "side")
        self.fill = as_fill(fill)
        self.square = as_flag(square, "square")

    def make_params(self, shape: tuple[int, ...], **source: Unpack[Source]) -> Params:
        """Draw one box per image."""
        check_channels(self.fill, shape[-3])
        size = (shape[-2], shape[-1])
        fewest = [sampling.length_bounds(length, self.side)[0] for length in ((min(size),) if self.square else size)]
        if self.fill == "patch_mean" and max(fewest) == 1:
            raise ValueError(
                f"a box of side={self.side} can be a single pixel of a {size[0]}x{size[1]} image, which is its own "
                "mean; use larger images, a larger side or another fill"
            )
        draw = sampling.squares if self.square else sampling.boxes
        return {"boxes": draw(shape[0], size, side=self.side, **source)}

    def transform(self, images: Tensor, params: Params) -> Tensor:
        """Apply :func:`nda_augment.functional.cutout`."""
        return functional.cutout(images, params["boxes"], self.fill)

    def change(self, copies: Sequence[Tensor], donors: Tensor, params: Params) -> bool:
        """Fill boxes with their mean."""
        if self.fill == "patch_mean":
            flatten_boxes(copies, params["boxes"])
        return self.fill == "patch_mean"

    def write(self, target: Tensor, images: Tensor, params: Params, chosen: Chosen) -> bool:
        """Write the chosen images with boxes of their mean."""
        return self.fill == "patch_mean" and flatten_chosen(target, as_planes(images), params["boxes"], chosen)

    def region(self, shape: tuple[int, ...], params: Params) -> Tensor:
        """Return the inside of the boxes."""
        return masks.box(params["boxes"], (shape[-2], shape[-1]))


class CutPaste(NegativeTransform):
    """Copy a small box of every image to another place of it: a subtle defect, made of the right material.

    On a texture that repeats, the copy can fit; :func:`nda_augment.audit` measures it.

    Args:
        area: Smallest and largest area of the box as fractions of the image's, at most 1/2; or one number.
        aspect: Smallest and largest ratio of height to width; or one number.
        jitter: Largest change of the copy's colours, 0 for none: the log of a contrast factor about the image's mean,
            and a change of brightness in standard deviations of the image, both drawn per channel. It stands for the
            colour jitter of the source, which assumes a range.
        feather: Share of half a side over which the copy fades in from the border of the box, in [0, 1]; 0 is a hard
            edge.
        **common: ``p``, ``same_on_batch``, ``keepdim`` of :class:`NegativeTransform`.

    Raises:
        ValueError: If a range is out of bounds, or the image is a single pixel.

    Shape:
        ``(B, C, H, W)`` or ``(B, T, C, H, W)`` to the same. Parameters: ``boxes``, int64 ``(B, 4)`` of
        ``(x0, y0, x1, y1)``, where the copy goes; ``shifts``, int64 ``(B, 2)``, how far it has moved; with jitter
        ``jitter``, float32 ``(B, 2, C)``.

    Example:
        >>> negatives, changed = CutPaste()(torch.rand(8, 3, 32, 32), return_mask=True)
        >>> bool(changed.flatten(1).any(dim=1).all())
        True

    Source: Li et al., CutPaste, CVPR 2021.
    """

    card = Card(
        family="region",
        breaks="a small box",
        keeps="everything else, and all textures",
        guarantee="the copy comes from another place",
        source="Li et al., CutPaste, 2021",
    )

    changes_region = True
    keeps_share = True

    def __init__(
        self,
        area: Range = (0.02, 0.15),
        aspect: Range = (0.3, 3.3),
        jitter: float = 0.0,
        feather: float = 0.0,
        **common: Unpack[Common],
    ) -> None:
        super().__init__(**common)
        self.area, self.aspect = _as_area(area), as_positive_range(aspect, "aspect")
        self.jitter = as_share(jitter, "jitter")
        self.feather = as_share(feather, "feather")

    @property
    def moves_values(self) -> bool:  # type: ignore[override]  # a constant in the base
        """Whether it only puts values elsewhere, as it does without jitter and with a hard edge."""
        return self.jitter == self.feather == 0.0

    def make_params(self, shape: tuple[int, ...], **source: Unpack[Source]) -> Params:
        """Draw where the copy goes, where it comes from, and its colours."""
        size = _size_of_several_pixels(shape)
        boxes = sampling.area_boxes(shape[0], size, area=self.area, aspect=self.aspect, **source)
        shifts = sampling.other_places(boxes, size, generator=source["generator"])
        return {"boxes": boxes, "shifts": shifts, **_jitter(self.jitter, shape, source)}

    def transform(self, images: Tensor, params: Params) -> Tensor:
        """Apply :func:`nda_augment.functional.cut_paste`."""
        jitter = params.get("jitter")
        return functional.cut_paste(images, params["boxes"], params["shifts"], jitter, feather=self.feather)

    def region(self, shape: tuple[int, ...], params: Params) -> Tensor:
        """Return the inside of the boxes."""
        return masks.box(params["boxes"], (shape[-2], shape[-1]))


class CutPasteScar(NegativeTransform):
    """Copy a thin strip of every image to another place of it, turned: a scratch.

    Args:
        length: Smallest and largest length of the strip as fractions of the image's shorter side; or one number.
        width: Smallest and largest width, likewise. Both are at least one pixel.
        angle: Smallest and largest turn in degrees.
        jitter: Largest change of the copy's colours, as in :class:`CutPaste`.
        **common: ``p``, ``same_on_batch``, ``keepdim`` of :class:`NegativeTransform`.

    Raises:
        ValueError: If a range is out of bounds, or the image is a single pixel.

    Shape:
        ``(B, C, H, W)`` or ``(B, T, C, H, W)`` to the same. Parameters: ``centres``, ``extents`` (length and width)
        and ``shifts``, int64 ``(B, 2)``; ``angles``, float32 ``(B,)`` in radians; with jitter ``jitter``.

    Example:
        >>> CutPasteScar()(torch.rand(8, 3, 32, 32)).shape
        torch.Size([8, 3, 32, 32])

    Source: Li et al., CutPaste, CVPR 2021: 10 to 25 by 2 to 16 pixels of 256, turned by up to 45 degrees.
    """

    card = Card(
        family="region",
        breaks="a thin strip",
        keeps="everything else, and all textures",
        guarantee="the copy comes from another place",
        source="Li et al., CutPaste, 2021",
    )

    changes_region = True
    keeps_share = True

    def __init__(
        self,
        length: Range = (10 / 256, 25 / 256),
        width: Range = (2 / 256, 16 / 256),
        angle: Range = (-45.0, 45.0),
        jitter: float = 0.0,
        **common: Unpack[Common],
    ) -> None:
        super().__init__(**common)
        self.length, self.width = as_fractions(length, "length"), as_fractions(width, "width")
        self.angle = as_range(angle, "angle")
        self.jitter = as_share(jitter, "jitter")

    @property
    def moves_values(self) -> bool:  # type: ignore[override]  # a constant in the base
        """Whether it only puts values elsewhere, as it does without jitter."""
        return self.jitter == 0.0

    def make_params(self, shape: tuple[int, ...], **source: Unpack[Source]) -> Params:
        """Draw the strip, where it comes from, where it goes, and its colours."""
        size = _size_of_several_pixels(shape)
        batch, shorter = shape[0], min(size)
        extents = torch.stack(
            [
                (sampling.uniform(batch, low=low * shorter, high=high * shorter, **source)).round().long().clamp(min=1)
                for low, high in (self.length, self.width)
            ],
            dim=1,
        )
        # The middle pixel is drawn as a box of one pixel, and so is its other place.
        pixel = sampling.area_boxes(batch, size, area=(0.0, 0.0), aspect=(1.0, 1.0), **source)
        low, high = (math.radians(bound) for bound in self.angle)
        return {
            "centres": pixel[:, :2],
            "extents": extents,
            "angles": sampling.uniform(batch, low=low, high=high, **source),
            "shifts": sampling.other_places(pixel, size, generator=source["generator"]),
            **_jitter(self.jitter, shape, source),
        }

    def transform(self, images: Tensor, params: Params) -> Tensor:
        """Apply :func:`nda_augment.functional.cut_paste_scar`."""
        centres, extents, angles, shifts = (params[name] for name in ("centres", "extents", "angles", "shifts"))
        return functional.cut_paste_scar(images, centres, extents, angles, shifts, params.get("jitter"))

    def region(self, shape: tuple[int, ...], params: Params) -> Tensor:
        """Return the inside of the strips."""
        return masks.strip(params["centres"], params["extents"], params["angles"], (shape[-2], shape[-1]))


class CutPasteForeign(PairTransform):
    """Paste a small box of another image, taken from anywhere in it: a defect of foreign material.

    Args:
        area: Smallest and largest area of the box as fractions of the image's, at most 1/2; or one number.
        aspect: Smallest and largest ratio of height to width; or one number.
        feather: Share of half a side over which the copy fades in from the border of the box, in [0, 1]; 0 is a hard
            edge.
        strength: Opacity of the copy, in [0, 1]; at 0 the image itself comes back.
        **common: ``partner``, ``p``, ``same_on_batch``, ``keepdim`` of :class:`PairTransform`.

    Raises:
        ValueError: If a range is out of bounds, the image is a single pixel, or a single image comes without a pool.

    Shape:
        ``(B, C, H, W)`` or ``(B, T, C, H, W)`` to the same. Parameters: ``partners``, int64 ``(B,)``; ``boxes``, int64
        ``(B, 4)``; ``shifts``, int64 ``(B, 2)``; ``weights``, float32 ``(B,)``, the opacity.

    Example:
        >>> CutPasteForeign(feather=0.5)(torch.rand(8, 3, 32, 32)).shape
        torch.Size([8, 3, 32, 32])

    Source: after Li et al., CutPaste, CVPR 2021, with the patch of another image.
    """

    card = Card(
        family="region",
        breaks="a small box, foreign in content",
        keeps="everything else",
        guarantee="the partner is another image, the box is not empty",
        source="after Li et al., CutPaste, 2021",
    )

    changes_region = True
    keeps_share = True

    def __init__(
        self,
        area: Range = (0.02, 0.15),
        aspect: Range = (0.3, 3.3),
        feather: float = 0.0,
        strength: float = 1.0,
        **common: Unpack[PairCommon],
    ) -> None:
        super().__init__(**common)
        self.area, self.aspect = _as_area(area), as_positive_range(aspect, "aspect")
        self.feather = as_share(feather, "feather")
        self.strength = as_share(strength, "strength")

    def make_params(self, shape: tuple[int, ...], **source: Unpack[Source]) -> Params:
        """Draw where the copy goes and where it comes from."""
        size = _size_of_several_pixels(shape)
        boxes = sampling.area_boxes(shape[0], size, area=self.area, aspect=self.aspect, **source)
        return {
            "boxes": boxes,
            "shifts": sampling.other_places(boxes, size, generator=source["generator"]),
            "weights": torch.full((shape[0],), self.strength, device=boxes.device),
        }

    def transform(self, images: Tensor, params: Params) -> Tensor:
        """Apply :func:`nda_augment.functional.cut_paste_foreign`."""
        partners, boxes, shifts, weights = (params[name] for name in ("partners", "boxes", "shifts", "weights"))
        pool = params.get("pool")
        return functional.cut_paste_foreign(images, partners, boxes, shifts, weights, self.feather, pool=pool)

    def region(self, shape: tuple[int, ...], params: Params) -> Tensor:
        """Return the inside of the boxes."""
        return masks.box(params["boxes"], (shape[-2], shape[-1]))

    def own_share(self, shape: tuple[int, ...], params: Params) -> Tensor:
        """Return the area outside of the boxes, and what shows through them."""
        soft = masks.soft_box(params["boxes"], (shape[-2], shape[-1]), self.feather)
        return 1.0 - params["weights"] * soft.mean((1, 2, 3))


class PerlinBlend(PairTransform):
    """Blend another image, or a texture from a pool, into islands of Perlin noise: a defect of irregular outline.

    Args:
        scales: Smallest and largest exponent k of the noise's 2^k cells per side, drawn apart for both sides. Cells
            are never smaller than 4 pixels.
        weight: Smallest and largest share of the partner inside the islands, within (0, 1]; or one number.
        threshold: Noise above it is an island, in [0, 1], where 0 makes half of the image one; lowered where less than
            2 % of the image would be, so that no mask is empty.
        strength: Scales the partner's share, in [0, 1]; at 0 the image itself comes back.
        **common: ``partner``, ``p``, ``same_on_batch``, ``keepdim`` of :class:`PairTransform`.

    Raises:
        ValueError: If a range is out of bounds, or a single image comes without a pool.

    Shape:
        ``(B, C, H, W)`` or ``(B, T, C, H, W)`` to the same. Parameters: ``partners``, int64 ``(B,)``; ``angles``,
        float32 ``(B, N, N)``; ``frequencies``, int64 ``(B, 2)``; ``rotations`` and ``weights``, float32 ``(B,)``.

    Example:
        >>> PerlinBlend()(torch.rand(8, 3, 32, 32)).shape
        torch.Size([8, 3, 32, 32])

    Source: Zavrtanik et al., DRAEM, ICCV 2021: 2^0 to 2^5 cells at 256 pixels, threshold 0.5, the image's own share
    U(0, 0.8), turns of up to 90 degrees, textures from the Describable Textures Dataset.
    """

    card = Card(
        family="region",
        breaks="islands of irregular outline",
        keeps="everything else",
        guarantee="the partner is another image, islands cover 2 % at least",
        source="Zavrtanik et al., DRAEM, 2021",
    )

    changes_region = True
    keeps_share = True

    def __init__(
        self,
        scales: tuple[int, int] = (0, 5),
        weight: Range = (0.2, 1.0),
        threshold: float = 0.5,
        strength: float = 1.0,
        **common: Unpack[PairCommon],
    ) -> None:
        super().__init__(**common)
        self.scales = as_whole_range(scales, "scales")
        self.weight = as_fractions(weight, "weight")
        self.threshold = as_share(threshold, "threshold")
        self.strength = as_share(strength, "strength")

    def make_params(self, shape: tuple[int, ...], **source: Unpack[Source]) -> Params:
        """Draw the noise's lattice and the partner's share."""
        batch = shape[0]
        low, high = (_coarse_enough(scale, min(shape[-2:])) for scale in self.scales)
        lattice = 2 * 2**high + 1
        low_weight, high_weight = self.weight
        return {
            "angles": sampling.uniform(batch, lattice, lattice, high=2 * math.pi, **source),
            "frequencies": 2 ** sampling.integers(low, high + 1, batch, 2, **source),
            "rotations": sampling.uniform(batch, low=-math.pi / 2, high=math.pi / 2, **source),
            "weights": self.strength * sampling.uniform(batch, low=low_weight, high=high_weight, **source),
        }

    def transform(self, images: Tensor, params: Params) -> Tensor:
        """Apply :func:`nda_augment.functional.perlin_blend`."""
        partners, weights = params["partners"], params["weights"]
        noise = {name: params[name] for name in ("angles", "frequencies", "rotations")}
        return functional.perlin_blend(
            images, partners, weights=weights, threshold=self.threshold, pool=params.get("pool"), **noise
        )

    def region(self, shape: tuple[int, ...], params: Params) -> Tensor:
        """Return the islands."""
        angles, frequencies, rotations = (params[name] for name in ("angles", "frequencies", "rotations"))
        return masks.perlin(angles, frequencies, rotations, (shape[-2], shape[-1]), threshold=self.threshold)

    def own_share(self, shape: tuple[int, ...], params: Params) -> Tensor:
        """Return the area outside of the islands, and what shows through them."""
        return 1.0 - params["weights"] * self.region(shape, params).float().mean((1, 2, 3))


def _as_area(area: Range) -> tuple[float, float]:
    low, high = as_fractions(area, "area")
    if high > 0.5:
        raise ValueError(f"area must be at most 1/2, so that there is another place in the image, got {area}")
    return low, high


def _size_of_several_pixels(shape: tuple[int, ...]) -> tuple[int, int]:
    height, width = shape[-2:]
    if height * width < 2:
        raise ValueError(f"an image of {height}x{width} px has no other place to copy to")
    return height, width


def _jitter(jitter: float, shape: tuple[int, ...], source: Source) -> Params:
    if jitter == 0.0:
        return {}
    draws = sampling.uniform(shape[0], 2, shape[-3], low=-jitter, high=jitter, **source)
    return {"jitter": draws}


def _coarse_enough(scale: int, side: int) -> int:
    """Return an exponent of the noise's cells that leaves them at least 4 pixels wide."""
    while scale > 0 and side < 4 * 2**scale:
        scale -= 1
    return scale
