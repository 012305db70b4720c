"""Kernels that join an image with its partner, an image of the batch or of a pool."""

import torch
from torch import Tensor

from nda_augment._checks import as_pool, as_share, check_boxes, check_images, check_index, check_share
from nda_augment.functional import masks
from nda_augment.functional._layout import as_images, as_planes, blend, matching_planes, mix, overlay_box, size_of, take
from nda_augment.functional._precision import to_dtype
from nda_augment.functional.seams import soft_half


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
        images: ``(B, C, H, W)`` or ``(B, T, C, H, W)``, floating point or uint8, any range.
        partners: int64 ``(B,)``, indices into the pool.
        axis: int64 ``(B,)``; 0 joins top and bottom halves, 1 joins left and right halves.
        keep: int64 ``(B,)``; which half the image keeps, 0 the top or left one, 1 the other. The middle line of an
            odd side belongs to the second half.
        feather: Share of the half over which the partner fades in from the seam, in [0, 1]; 0 is a hard edge.
        pool: ``(N, C, H, W)`` images that partners are taken from; the batch itself by default.

    Returns:
        Tensor like ``images``: same shape, dtype, device and memory format.

    Raises:
        ValueError: If a shape is wrong, the pool does not match the images, or ``feather`` is not in [0, 1].
        TypeError: If the images are neither floating point nor uint8.

    Example:
        >>> images = torch.stack([torch.zeros(1, 2, 2), torch.ones(1, 2, 2)])
        >>> other, down, second = torch.tensor([1, 0]), torch.zeros(2, dtype=torch.long), torch.ones(2).long()
        >>> stitch(images, other, down, second)[0, 0].tolist()
        [[1.0, 1.0], [0.0, 0.0]]

    Source: Sinha et al., Negative Data Augmentation, ICLR 2021, "Stitching".
    """
    planes, borrowed = _image_and_partner(images, partners, pool)
    check_index(axis, "axis", partners.shape, 2)
    check_index(keep, "keep", partners.shape, 2)
    if as_share(feather, "feather"):
        return as_images(blend(soft_half(axis, keep, size_of(planes), feather).unsqueeze(-1), borrowed, planes), images)
    return as_images(overlay_box(_foreign_halves(axis, keep, size_of(planes)), borrowed, planes), images)


def cutmix(
    images: Tensor, partners: Tensor, boxes: Tensor, *, feather: float = 0.0, pool: Tensor | None = None
) -> Tensor:
    """Fill a box of every image from the same place of its partner.

    Args:
        images: ``(B, C, H, W)`` or ``(B, T, C, H, W)``, floating point or uint8, any range.
        partners: int64 ``(B,)``, indices into the pool.
        boxes: int64 ``(B, 4)`` of ``(x0, y0, x1, y1)`` in pixels, half-open.
        feather: Share of half a side over which the partner fades in from the border of the box, in [0, 1]; 0 is a
            hard edge.
        pool: ``(N, C, H, W)`` images that partners are taken from; the batch itself by default.

    Returns:
        Tensor like ``images``: same shape, dtype, device and memory format.

    Raises:
        ValueError: If a shape is wrong, the pool does not match the images, or ``feather`` is not in [0, 1].
        TypeError: If the images are neither floating point nor uint8.

    Example:
        >>> images = torch.stack([torch.zeros(1, 2, 2), torch.ones(1, 2, 2)])
        >>> corner = torch.tensor([[0, 0, 1, 1]]).expand(2, 4)
        >>> cutmix(images, torch.tensor([1, 0]), corner)[0, 0].tolist()
        [[1.0, 0.0], [0.0, 0.0]]

    Source: Sinha et al., Negative Data Augmentation, ICLR 2021, "CutMix"; Yun et al., CutMix, ICCV 2019.
    """
    planes, borrowed = _image_and_partner(images, partners, pool)
    check_boxes(boxes, len(images), size_of(planes))
    if as_share(feather, "feather"):
        soft = masks.soft_box(boxes, size_of(planes), feather)
        return as_images(blend(soft.unsqueeze(-1), borrowed, planes), images)
    return as_images(overlay_box(boxes, borrowed, planes), images)


def mixup(images: Tensor, partners: Tensor, weights: Tensor, *, pool: Tensor | None = None) -> Tensor:
    """Blend every image with its partner: ``weight * image + (1 - weight) * partner``.

    Args:
        images: ``(B, C, H, W)`` or ``(B, T, C, H, W)``, floating point or uint8, any range; uint8 is computed in
            float32 and rounded.
        partners: int64 ``(B,)``, indices into the pool.
        weights: ``(B,)`` floats in [0, 1], the share of the image itself.
        pool: ``(N, C, H, W)`` images that partners are taken from; the batch itself by default.

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
    planes, borrowed = _image_and_partner(images, partners, pool)
    check_share(weights, "weights", partners.shape)
    weights = weights.view(-1, 1, 1, 1, 1)
    if images.dtype == torch.uint8:
        mixed = to_dtype(mix(weights, planes.to(weights.dtype), borrowed.to(weights.dtype)), images.dtype)
    else:
        mixed = mix(weights.to(images.dtype), planes, borrowed)
    return as_images(mixed, images)


def _image_and_partner(images: Tensor, partners: Tensor, pool: Tensor | None) -> tuple[Tensor, Tensor]:
    """Return the planes of the images, and fresh ones of their partners."""
    check_images(images)
    pool = as_pool(pool, images)
    check_index(partners, "partners", (len(images),), len(pool))
    planes = as_planes(images)
    return planes, take(matching_planes(pool, planes, images), partners)


def _foreign_halves(axis: Tensor, keep: Tensor, size: tuple[int, int]) -> Tensor:
    """Return the box ``(B, 4)`` of the half that an image does not keep."""
    sides = []
    for direction, length in ((1, size[1]), (0, size[0])):
        cut = torch.where(axis == direction, length // 2, 0)
        first = (keep == 1) & (axis == direction)
        sides.append((torch.where(first, 0, cut), torch.where(first, cut, length)))
    (x0, x1), (y0, y1) = sides
    return torch.stack([x0, y0, x1, y1], dim=1)
