"""Kernels that join an image with its partner, an image of the batch or of a pool."""

from collections.abc import Sequence

import torch
from torch import Tensor

from nda_augment._checks import as_pool, as_share, check_boxes, check_dtype, check_images, check_index, check_share
from nda_augment._constants import counted, kept
from nda_augment.functional import masks
from nda_augment.functional._kernels import fused
from nda_augment.functional._layout import (
    Chosen,
    Fading,
    as_images,
    as_planes,
    blend,
    by_chunks,
    gather,
    matching_planes,
    mix,
    overlay,
    paste,
    paste_chosen,
    size_of,
    slices_pay,
    take,
)
from nda_augment.functional._precision import to_dtype
from nda_augment.functional.patches import Cells, put_together
from nda_augment.functional.seams import soft_half

__all__ = ["cutmix", "mixup", "resize_mix", "stitch"]


def stitch(
    images: Tensor,
    partners: Tensor,
    axis: Tensor,
    keep: Tensor,
    *,
    feather: float = 0.0,
    pool: Tensor | None = None,
) -> Tensor:
    """Join one half of every image with the other half of its partner.

    Args:
        images: Images ``(B, C, H, W)`` or clips ``(B, T, C, H, W)``, any dtype and range.
        partners: int64 ``(B,)``, indices into the pool.
        axis: int64 ``(B,)``; 0 joins top and bottom halves, 1 joins left and right halves.
        keep: int64 ``(B,)``; which half the image keeps, 0 the top or left one, 1 the other. The middle line of an
            odd side belongs to the second half.
        feather: Share of the half over which the partner fades in from the seam, in [0, 1]; 0 is a hard edge.
        pool: Images ``(N, C, H, W)`` that partners are taken from; the batch itself by default.

    Returns:
        Tensor like ``images``: same shape, dtype, device and memory format.

    Raises:
        ValueError: If a shape is wrong, the pool does not match the images, or ``feather`` is not in [0, 1].
        TypeError: If the images are no tensor, or a seam is feathered and they are neither floating point nor uint8.

    Example:
        >>> images = torch.stack([torch.zeros(1, 2, 2), torch.ones(1, 2, 2)])
        >>> other, down, second = torch.tensor([1, 0]), torch.zeros(2, dtype=torch.long), torch.ones(2).long()
        >>> stitch(images, other, down, second)[0, 0].tolist()
        [[1.0, 1.0], [0.0, 0.0]]

    Source: Sinha et al., Negative Data Augmentation, ICLR 2021, "Stitching".
    """
    planes, donors = _planes_of_both(images, partners, pool)
    check_index(axis, "axis", (len(images),), 2)
    check_index(keep, "keep", (len(images),), 2)
    height, width = size_of(planes)
    if as_share(feather, "feather"):
        soft = soft_half(axis, keep, (height, width), feather).unsqueeze(-1)
        return as_images(blend(soft, take(donors, partners), planes), images)
    if pool is None and height % 2 == width % 2 == 0:
        return as_images(put_together(planes, planes, _shown_in_quarters(partners, axis, keep), None, (2, 2)), images)
    return as_images(paste(planes, _foreign_halves(axis, keep, (height, width)), donors, partners), images)


def stitch_chosen(
    target: Tensor, planes: Tensor, donors: Tensor, partners: Tensor, axis: Tensor, keep: Tensor, chosen: Chosen
) -> bool:
    """Write every chosen one of some images with a half of its partner, or tell that one cannot."""
    check_index(partners, "partners", (len(planes),), len(donors))
    check_index(axis, "axis", (len(planes),), 2)
    check_index(keep, "keep", (len(planes),), 2)
    return paste_chosen(target, planes, chosen, _foreign_halves(axis, keep, size_of(planes)), donors, partners)


def cutmix(
    images: Tensor, partners: Tensor, boxes: Tensor, *, feather: float = 0.0, pool: Tensor | None = None
) -> Tensor:
    """Fill a box of every image from the same place of its partner.

    Args:
        images: Images ``(B, C, H, W)`` or clips ``(B, T, C, H, W)``, any dtype and range.
        partners: int64 ``(B,)``, indices into the pool.
        boxes: int64 ``(B, 4)`` of ``(x0, y0, x1, y1)`` in pixels, half-open.
        feather: Share of half a side over which the partner fades in from the border of the box, in [0, 1]; 0 is a
            hard edge.
        pool: Images ``(N, C, H, W)`` that partners are taken from; the batch itself by default.

    Returns:
        Tensor like ``images``: same shape, dtype, device and memory format.

    Raises:
        ValueError: If a shape is wrong, the pool does not match the images, or ``feather`` is not in [0, 1].
        TypeError: If the images are no tensor, or a seam is feathered and they are neither floating point nor uint8.

    Example:
        >>> images = torch.stack([torch.zeros(1, 2, 2), torch.ones(1, 2, 2)])
        >>> corner = torch.tensor([[0, 0, 1, 1]]).expand(2, 4)
        >>> cutmix(images, torch.tensor([1, 0]), corner)[0, 0].tolist()
        [[1.0, 0.0], [0.0, 0.0]]

    Source: Sinha et al., Negative Data Augmentation, ICLR 2021, "CutMix"; Yun et al., CutMix, ICCV 2019.
    """
    planes, donors = _planes_of_both(images, partners, pool)
    check_boxes(boxes, len(images), size_of(planes))
    fading = Fading(boxes, size_of(planes), feather) if as_share(feather, "feather") else None
    return as_images(paste(planes, boxes, donors, partners, fading=fading), images)


def resize_mix(images: Tensor, partners: Tensor, boxes: Tensor, *, pool: Tensor | None = None) -> Tensor:
    """Fill a box of every image with the whole of its partner, made small.

    A pixel of the box is the partner's nearest one, so that values are moved and not computed.

    Args:
        images: Images ``(B, C, H, W)`` or clips ``(B, T, C, H, W)``, any dtype and range.
        partners: int64 ``(B,)``, indices into the pool.
        boxes: int64 ``(B, 4)`` of ``(x0, y0, x1, y1)`` in pixels, half-open.
        pool: Images ``(N, C, H, W)`` that partners are taken from; the batch itself by default.

    Returns:
        Tensor like ``images``: same shape, dtype, device and memory format.

    Raises:
        ValueError: If a shape is wrong, or the pool does not match the images.
        TypeError: If the images are no tensor.

    Example:
        >>> images = torch.stack([torch.zeros(1, 1, 4), torch.tensor([[[1.0, 2.0, 3.0, 4.0]]])])
        >>> resize_mix(images, torch.tensor([1, 0]), torch.tensor([[0, 0, 2, 1]]).expand(2, 4))[0]
        tensor([[[2., 4., 0., 0.]]])

    Source: Qin et al., ResizeMix, 2020, with nearest-neighbour resizing as in its authors' code.
    """
    planes, donors = _planes_of_both(images, partners, pool)
    size = size_of(planes)
    check_boxes(boxes, len(images), size)
    x0, y0, x1, y1 = boxes.unsqueeze(-1).unbind(dim=1)
    row, col = (_shrunk(low, high, length) for low, high, length in zip((y0, x0), (y1, x1), size, strict=True))
    rows = gather(donors, partners.unsqueeze(1), row)
    small = rows.gather(3, col[:, None, None, :, None].expand_as(rows))
    return as_images(overlay(small, planes, masks.box(boxes, size).unsqueeze(-1)), images)


def mixup(images: Tensor, partners: Tensor, weights: Tensor, *, pool: Tensor | None = None) -> Tensor:
    """Blend every image with its partner: ``weight * image + (1 - weight) * partner``.

    Args:
        images: Images ``(B, C, H, W)`` or clips ``(B, T, C, H, W)``, floating point or uint8, any range; uint8 is
            computed in float32 and rounded.
        partners: int64 ``(B,)``, indices into the pool.
        weights: Share of the image itself, ``(B,)``, in [0, 1].
        pool: Images ``(N, C, H, W)`` that partners are taken from; the batch itself by default.

    Returns:
        Tensor like ``images``: same shape, dtype, device and memory format.

    Raises:
        ValueError: If a shape is wrong or the pool does not match the images.
        TypeError: If the images are neither floating point nor uint8.

    Example:
        >>> images = torch.stack([torch.zeros(1, 1, 1), torch.ones(1, 1, 1)])
        >>> mixup(images, torch.tensor([1, 0]), torch.tensor([0.25, 0.25])).flatten().tolist()
        [0.75, 0.25]

    Source: Sinha et al., Negative Data Augmentation, ICLR 2021, "Mixup"; Zhang et al., mixup, ICLR 2018.
    """
    planes, donors = _planes_of_both(images, partners, pool)
    check_dtype(images)
    check_share(weights, "weights", (len(images),))

    if kernel := fused("mix_", planes, donors, partners, weights):
        mixed = torch.empty_like(planes)
        kernel(mixed, planes, donors, partners, _share(weights, planes))
        return as_images(mixed, images)

    if slices_pay(len(planes), planes, donors, weights):
        mixed = torch.empty_like(planes)
        mix_slices(mixed.unbind(), planes.unbind(), donors, partners, weights)
        return as_images(mixed, images)

    def blended(own: Tensor, partners: Tensor, weights: Tensor) -> Tensor:
        return _mixed(own, take(donors, partners), weights.view(-1, 1, 1, 1, 1))

    return as_images(by_chunks(blended, planes, partners, weights), images)


def mix_slices(
    targets: Sequence[Tensor], images: Sequence[Tensor], donors: Tensor, partners: Tensor, weights: Tensor
) -> None:
    """Write blends of some images ``(P, H, W, S)`` with their partners into targets, which may be the images."""
    others = donors.unbind()
    for target, own, partner, weight in zip(targets, images, partners.tolist(), weights.unbind(), strict=True):
        if target.dtype == torch.uint8:
            target.copy_(_mixed(own, others[partner], weight))
        else:
            torch.lerp(others[partner], own, weight.to(own.dtype), out=target)


def mix_chosen(
    target: Tensor, planes: Tensor, donors: Tensor, partners: Tensor, weights: Tensor, chosen: Chosen
) -> bool:
    """Write blends of every chosen one of some images with its partner, or tell that one cannot."""
    check_dtype(planes)
    check_index(partners, "partners", (len(planes),), len(donors))
    check_share(weights, "weights", (len(planes),))
    if kernel := fused("mix_", planes, donors, partners, weights, chosen.choice):
        kernel(target, planes, donors, partners, _share(weights, planes), *chosen)
    return kernel is not None


def _mixed(own: Tensor, borrowed: Tensor, weight: Tensor) -> Tensor:
    weight = _share(weight, own)
    if own.dtype == torch.uint8:
        return to_dtype(mix(weight, own.to(weight.dtype), borrowed.to(weight.dtype)), own.dtype, within=True)
    return mix(weight, own, borrowed)


def _share(weight: Tensor, images: Tensor) -> Tensor:
    """Return weights in the dtype that images are blended in."""
    return weight if images.dtype == torch.uint8 else weight.to(images.dtype)


def _planes_of_both(images: Tensor, partners: Tensor, pool: Tensor | None) -> tuple[Tensor, Tensor]:
    """Return the planes of the images, and those of the pool that partners are taken from."""
    check_images(images)
    donors = as_pool(pool, images)
    check_index(partners, "partners", (len(images),), len(donors))
    planes = as_planes(images)
    return planes, planes if pool is None else matching_planes(donors, planes, images)


def stitched_quarters(partners: Tensor, axis: Tensor, keep: Tensor) -> Cells:
    """Return a stitch as quarters: each stays in its place and comes from the image or from its partner."""
    batch = len(axis)
    check_index(partners, "partners", (batch,), batch)
    check_index(axis, "axis", (batch,), 2)
    check_index(keep, "keep", (batch,), 2)
    return Cells((2, 2), _shown_in_quarters(partners, axis, keep), None)


def _shown_in_quarters(partners: Tensor, axis: Tensor, keep: Tensor) -> Tensor:
    """Return the image ``(B, 4)`` that each quarter of a stitch comes from."""
    half = kept(_half_of_quarter, device=axis.device).index_select(0, axis)
    own = counted(len(axis), axis.device).unsqueeze(1)
    return torch.where(half == keep.unsqueeze(1), own, partners.unsqueeze(1))


def _half_of_quarter(device: torch.device) -> Tensor:
    """Return the half that each quarter belongs to, ``(2, 4)``, if the image is cut along each axis."""
    quarter = torch.arange(4, device=device)
    return torch.stack([quarter // 2, quarter % 2])


def _shrunk(low: Tensor, high: Tensor, length: int) -> Tensor:
    """Return the lines ``(B, length)`` of an image of which a smaller one, from ``low`` to ``high``, is made.

    Outside of it any line will do.
    """
    place = torch.arange(length, device=low.device) - low
    return ((2 * place + 1) * length // (2 * (high - low)).clamp(min=1)).clamp(0, length - 1)


def _foreign_halves(axis: Tensor, keep: Tensor, size: tuple[int, int]) -> Tensor:
    """Return the box ``(B, 4)`` of the half that an image does not keep."""
    return kept(_halves, size, device=axis.device).index_select(0, 2 * axis + keep)


def _halves(size: tuple[int, int], device: torch.device) -> Tensor:
    """Return the boxes ``(4, 4)`` of the lower, upper, right and left half: all but the one that is kept."""
    height, width = size
    down, across = height // 2, width // 2
    boxes = ((0, down, width, height), (0, 0, width, down), (across, 0, width, height), (0, 0, across, height))
    lengths = [torch.full((), length, dtype=torch.long, device=device) for box in boxes for length in box]
    return torch.stack(lengths).view(4, 4)
