"""Negatives that join an image with another one."""

from collections.abc import Sequence
from typing import Literal, Unpack, get_args

import torch
from torch import Tensor

from nda_augment import functional, sampling
from nda_augment._checks import as_fractions, as_one_of, as_positive, as_share, check_boxes, check_index, check_share
from nda_augment.functional import masks
from nda_augment.functional._layout import Chosen, Fading, as_planes, donor_planes, paste_chosen, paste_slices, size_of
from nda_augment.functional.pairs import mix_chosen, mix_slices, stitch_chosen, stitched_quarters
from nda_augment.functional.patches import Cells
from nda_augment.functional.seams import soft_half
from nda_augment.sampling import Source
from nda_augment.transforms.base import Params
from nda_augment.transforms.card import Card
from nda_augment.transforms.partners import PairCommon, PairTransform

__all__ = ["CutMix", "Mixup", "ResizeMix", "Stitch"]

Axis = Literal["random", "horizontal", "vertical"]
Keep = Literal["random", "first", "second"]

# The half-open ranges that the two draws of a stitch come from.
_CUT_AXIS = {"random": (0, 2), "horizontal": (0, 1), "vertical": (1, 2)}
_KEPT_HALF = {"random": (0, 2), "first": (0, 1), "second": (1, 2)}


class Stitch(PairTransform):
    """Join half of an image with half of another: each half is real, the whole is not.

    Args:
        axis: ``"horizontal"`` cuts along a horizontal line (top and bottom halves), ``"vertical"`` along a vertical
            one, ``"random"`` draws one of them per image.
        keep: The half that is the image's own: ``"first"`` (top or left), ``"second"``, or ``"random"``.
        feather: Share of the half over which the partner fades in from the seam, in [0, 1]; 0 is a hard edge.
        **common: ``partner``, ``p``, ``same_on_batch``, ``keepdim`` of :class:`PairTransform`.

    Raises:
        ValueError: If a word is unknown, the image has only one line along the axis, or a single image comes without
            a pool.

    Shape:
        ``(B, C, H, W)`` or ``(B, T, C, H, W)`` to the same. Parameters: ``partners``, ``axis``, ``keep``, int64
        ``(B,)``.

    Example:
        >>> import torch
        >>> Stitch()(torch.rand(8, 3, 32, 32)).shape
        torch.Size([8, 3, 32, 32])
        >>> Stitch()(torch.rand(1, 3, 32, 32), pool=torch.rand(100, 3, 32, 32)).shape
        torch.Size([1, 3, 32, 32])

    Source: Sinha et al., Negative Data Augmentation, ICLR 2021.
    """

    card = Card(
        family="pair",
        breaks="agreement of the two halves",
        keeps="each half",
        guarantee="the partner is another image",
        source="Sinha et al., 2021",
    )

    keeps_share = True

    def __init__(
        self, axis: Axis = "random", keep: Keep = "random", feather: float = 0.0, **common: Unpack[PairCommon]
    ) -> None:
        super().__init__(**common)
        self.axis: Axis = as_one_of(axis, "axis", get_args(Axis))
        self.keep: Keep = as_one_of(keep, "keep", get_args(Keep))
        self.feather = as_share(feather, "feather")

    @property
    def moves_values(self) -> bool:  # type: ignore[override]  # a constant in the base
        """Whether it only puts values elsewhere, as it does with hard edges."""
        return self.feather == 0.0

    def make_params(self, shape: tuple[int, ...], **source: Unpack[Source]) -> Params:
        """Draw the cut's direction and the side to keep."""
        axis = _CUT_AXIS[self.axis]
        if min(shape[-2:][slice(*axis)]) < 2:
            raise ValueError(f"an image of {shape[-2]}x{shape[-1]} px has no two halves along axis={self.axis!r}")
        keep = _KEPT_HALF[self.keep]
        if axis == keep:
            drawn = sampling.integers(*axis, 2, shape[0], **source)
            return {"axis": drawn[0], "keep": drawn[1]}
        return {name: sampling.integers(*ends, shape[0], **source) for name, ends in (("axis", axis), ("keep", keep))}

    def transform(self, images: Tensor, params: Params) -> Tensor:
        """Apply :func:`nda_augment.functional.stitch`."""
        partners, axis, keep = (params[name] for name in ("partners", "axis", "keep"))
        return functional.stitch(images, partners, axis, keep, feather=self.feather, pool=params.get("pool"))

    def cells(self, shape: tuple[int, ...], params: Params) -> Cells | None:
        """Return the halves as quarters, where the image has such, the seam is hard and the partner in the batch."""
        if self.feather or "pool" in params or shape[-2] % 2 or shape[-1] % 2:
            return None
        return stitched_quarters(params["partners"], params["axis"], params["keep"])

    def write(self, target: Tensor, images: Tensor, params: Params, chosen: Chosen) -> bool:
        """Write the chosen images with halves of their partners, if the seam is hard."""
        if self.feather:
            return False
        halves = params["partners"], params["axis"], params["keep"]
        return stitch_chosen(target, as_planes(images), donor_planes(params, images), *halves, chosen)

    def own_share(self, shape: tuple[int, ...], params: Params) -> Tensor:
        """Return the area of the half that is kept."""
        return 1.0 - soft_half(params["axis"], params["keep"], (shape[-2], shape[-1]), self.feather).mean((1, 2, 3))


class CutMix(PairTransform):
    """Fill a box of an image from the same place of another: a foreign object in a real scene.

    Args:
        side: Smallest and largest side of the box as fractions of the image's height and width, drawn apart; or one
            number. The paper's 1/3 to 1/2 by default. Below 1: a box of the whole image would be the partner itself.
        feather: Share of half a side over which the partner fades in from the border of the box, in [0, 1]; 0 is a
            hard edge.
        **common: ``partner``, ``p``, ``same_on_batch``, ``keepdim`` of :class:`PairTransform`.

    Raises:
        ValueError: If the range is not within (0, 1), holds no whole number of pixels, or a single image comes
            without a pool.

    Shape:
        ``(B, C, H, W)`` or ``(B, T, C, H, W)`` to the same. Parameters: ``partners``, int64 ``(B,)``; ``boxes``,
        int64 ``(B, 4)`` of ``(x0, y0, x1, y1)``.

    Example:
        >>> import torch
        >>> negatives, changed = CutMix()(torch.rand(8, 3, 32, 32), return_mask=True)
        >>> changed.shape
        torch.Size([8, 1, 32, 32])

    Source: Sinha et al., Negative Data Augmentation, ICLR 2021; Yun et al., CutMix, ICCV 2019.
    """

    card = Card(
        family="pair",
        breaks="agreement of a box with its surroundings",
        keeps="the inside and the outside",
        guarantee="the partner is another image, the box is not empty",
        source="Sinha et al., 2021",
    )

    changes_region = True
    keeps_share = True

    def __init__(
        self, side: tuple[float, float] | float = (1 / 3, 1 / 2), feather: float = 0.0, **common: Unpack[PairCommon]
    ) -> None:
        super().__init__(**common)
        self.feather = as_share(feather, "feather")
        self.side = as_fractions(side, "side")
        if self.side[1] == 1.0:
            raise ValueError(f"side must stay below 1, got {side}: a box of the whole image is the partner, untouched")

    @property
    def moves_values(self) -> bool:  # type: ignore[override]  # a constant in the base
        """Whether it only puts values elsewhere, as it does with hard edges."""
        return self.feather == 0.0

    def make_params(self, shape: tuple[int, ...], **source: Unpack[Source]) -> Params:
        """Draw one box per image."""
        size = (shape[-2], shape[-1])
        return {"boxes": sampling.boxes(shape[0], size, side=self.side, **source)}

    def transform(self, images: Tensor, params: Params) -> Tensor:
        """Apply :func:`nda_augment.functional.cutmix`."""
        partners, boxes = params["partners"], params["boxes"]
        return functional.cutmix(images, partners, boxes, feather=self.feather, pool=params.get("pool"))

    def change(self, copies: Sequence[Tensor], donors: Tensor, params: Params) -> bool:
        """Paste boxes with hard edges."""
        if self.feather:
            return False
        check_index(params["partners"], "partners", (len(copies),), len(donors))
        check_boxes(params["boxes"], len(copies), size_of(donors))
        paste_slices(copies, params["boxes"].tolist(), donors, params["partners"].tolist())
        return True

    def write(self, target: Tensor, images: Tensor, params: Params, chosen: Chosen) -> bool:
        """Write the chosen images with boxes of their partners."""
        partners, boxes = params["partners"], params["boxes"]
        planes, donors = as_planes(images), donor_planes(params, images)
        check_index(partners, "partners", (len(planes),), len(donors))
        check_boxes(boxes, len(planes), size_of(planes))
        fading = Fading(boxes, size_of(planes), self.feather) if self.feather else None
        return paste_chosen(target, planes, chosen, boxes, donors, partners, fading=fading)

    def region(self, shape: tuple[int, ...], params: Params) -> Tensor:
        """Return the inside of the boxes."""
        return masks.box(params["boxes"], (shape[-2], shape[-1]))

    def own_share(self, shape: tuple[int, ...], params: Params) -> Tensor:
        """Return the area outside of the boxes, and what shows through them."""
        return 1.0 - masks.soft_box(params["boxes"], (shape[-2], shape[-1]), self.feather).mean((1, 2, 3))


class ResizeMix(PairTransform):
    """Paste the whole of another image, made small, into an image: a picture within a picture.

    Unlike the box of :class:`CutMix` it always shows the other image's object. Pixels are picked, not blended, so that
    label maps can follow.

    Args:
        side: Smallest and largest height and width of the small image as a fraction of the image's, one draw for both;
            or one number. The paper's 0.1 to 0.8 by default. Below 1: an image of full size would be the partner.
        **common: ``partner``, ``p``, ``same_on_batch``, ``keepdim`` of :class:`PairTransform`.

    Raises:
        ValueError: If the range is not within (0, 1), or a single image comes without a pool.

    Shape:
        ``(B, C, H, W)`` or ``(B, T, C, H, W)`` to the same. Parameters: ``partners``, int64 ``(B,)``; ``boxes``,
        int64 ``(B, 4)`` of ``(x0, y0, x1, y1)``, inside the image.

    Example:
        >>> import torch
        >>> negatives, weights = ResizeMix(side=0.5)(torch.rand(8, 3, 32, 32), return_weight=True)
        >>> weights[0]
        tensor(0.7500)

    Source: Qin et al., ResizeMix, 2020, where the small image is centred anywhere and cut off at the border; as a
    negative it is this package's.
    """

    card = Card(
        family="pair",
        breaks="one scene at one scale",
        keeps="the surroundings, and all of the other image",
        guarantee="the partner is another image, the box is not empty",
        source="after Qin et al., ResizeMix, 2020",
    )

    changes_region = True
    keeps_share = True
    moves_values = True

    def __init__(self, side: tuple[float, float] | float = (0.1, 0.8), **common: Unpack[PairCommon]) -> None:
        super().__init__(**common)
        self.side = as_fractions(side, "side")
        if self.side[1] == 1.0:
            raise ValueError(f"side must stay below 1, got {side}: an image of full size is the partner, untouched")

    def make_params(self, shape: tuple[int, ...], **source: Unpack[Source]) -> Params:
        """Draw one box per image."""
        return {"boxes": sampling.scaled_boxes(shape[0], (shape[-2], shape[-1]), side=self.side, **source)}

    def transform(self, images: Tensor, params: Params) -> Tensor:
        """Apply :func:`nda_augment.functional.resize_mix`."""
        return functional.resize_mix(images, params["partners"], params["boxes"], pool=params.get("pool"))

    def region(self, shape: tuple[int, ...], params: Params) -> Tensor:
        """Return the inside of the boxes."""
        return masks.box(params["boxes"], (shape[-2], shape[-1]))


class Mixup(PairTransform):
    """Blend an image with another: two transparent scenes at once.

    With a small α some weights come so near to 1 that uint8 and bfloat16 images round back to what they were.

    Args:
        alpha: α > 0 of the weight's distribution Beta(α, α); 25, as in the paper's code, keeps weights near 1/2.
        strength: Scales the partner's weight, in [0, 1]; at 0 the image itself comes back.
        **common: ``partner``, ``p``, ``same_on_batch``, ``keepdim`` of :class:`PairTransform`.

    Raises:
        ValueError: If α is not positive and finite, the strength not in [0, 1], or a single image comes without a
            pool.

    Shape:
        ``(B, C, H, W)`` or ``(B, T, C, H, W)`` to the same. Parameters: ``partners``, int64 ``(B,)``; ``weights``,
        float32 ``(B,)``, the image's own share.

    Example:
        >>> import torch
        >>> Mixup()(torch.rand(8, 3, 32, 32)).shape
        torch.Size([8, 3, 32, 32])

    Source: Sinha et al., Negative Data Augmentation, ICLR 2021; Zhang et al., mixup, ICLR 2018.
    """

    card = Card(
        family="pair",
        breaks="contrast, and that there is one scene",
        keeps="spectrum and layout of both",
        guarantee="the partner is another image and has a weight",
        source="Sinha et al., 2021",
    )

    keeps_share = True

    def __init__(self, alpha: float = 25.0, strength: float = 1.0, **common: Unpack[PairCommon]) -> None:
        super().__init__(**common)
        self.alpha = as_positive(alpha, "alpha")
        self.strength = as_share(strength, "strength")

    def make_params(self, shape: tuple[int, ...], **source: Unpack[Source]) -> Params:
        """Draw one weight per image."""
        foreign = sampling.symmetric_beta(shape[0], self.alpha, **source)
        return {"weights": torch.rsub(foreign, 1.0, alpha=self.strength)}

    def transform(self, images: Tensor, params: Params) -> Tensor:
        """Apply :func:`nda_augment.functional.mixup`."""
        return functional.mixup(images, params["partners"], params["weights"], pool=params.get("pool"))

    def change(self, copies: Sequence[Tensor], donors: Tensor, params: Params) -> bool:
        """Blend each copy with its partner."""
        check_index(params["partners"], "partners", (len(copies),), len(donors))
        check_share(params["weights"], "weights", (len(copies),))
        mix_slices(copies, copies, donors, params["partners"], params["weights"])
        return True

    def write(self, target: Tensor, images: Tensor, params: Params, chosen: Chosen) -> bool:
        """Write blends of the chosen images with their partners."""
        donors = donor_planes(params, images)
        return mix_chosen(target, as_planes(images), donors, params["partners"], params["weights"], chosen)

    def own_share(self, shape: tuple[int, ...], params: Params) -> Tensor:
        """Return the weights."""
        return params["weights"].float()
