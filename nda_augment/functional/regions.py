"""Kernels that overwrite a region of an image."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from nda_augment._checks import (
    as_pool,
    as_share,
    check_boxes,
    check_dtype,
    check_images,
    check_index,
    check_parameter,
    check_share,
    hint_at,
)
from nda_augment.functional import fields, masks
from nda_augment.functional._kernels import fused, given
from nda_augment.functional._layout import (
    Chosen,
    Fading,
    Recolouring,
    as_images,
    as_planes,
    blend,
    box_masks,
    by_chunks,
    constant,
    fill_boxes,
    flood,
    matching_planes,
    may_loop,
    overlay,
    paste,
    paste_chosen,
    pick,
    regions,
    size_of,
    slices_pay,
    take,
)
from nda_augment.functional._precision import to_dtype, without_autocast, working_dtype

__all__ = ["cut_paste", "cut_paste_foreign", "cut_paste_scar", "cutout", "perlin_blend"]

Fill = str | float | tuple[float, ...]
FILLS = ("patch_mean", "image_mean", "zero")


def cutout(images: Tensor, boxes: Tensor, fill: Fill = "patch_mean") -> Tensor:
    """Fill a box of every image with a flat colour.

    Args:
        images: Images ``(B, C, H, W)`` or clips ``(B, T, C, H, W)``, floating point or uint8, any range.
        boxes: int64 ``(B, 4)`` of ``(x0, y0, x1, y1)`` in pixels, half-open, not empty.
        fill: ``"patch_mean"``, each channel's mean over the box (the paper's); ``"image_mean"``, its mean over the
            image; ``"zero"``; a number; or one number per channel. Numbers are in the images' own range.

    Returns:
        Tensor like ``images``: same shape, dtype, device and memory format. Means of uint8 images are rounded.

    Raises:
        ValueError: If a shape is wrong, or the fill is an unknown word or has not one number per channel.
        TypeError: If the images are neither floating point nor uint8.

    Example:
        >>> image = torch.tensor([[[[1.0, 3.0], [5.0, 7.0]]]])
        >>> cutout(image, torch.tensor([[0, 0, 2, 1]]))[0, 0].tolist()
        [[2.0, 2.0], [5.0, 7.0]]

    Source: Sinha et al., Negative Data Augmentation, ICLR 2021, "Cutout", whose fill is the mean of the patch;
    DeVries and Taylor, 2017, fill with zero.
    """
    check_images(images)
    planes = as_planes(images)
    check_boxes(boxes, len(planes), size_of(planes))
    if fill == "patch_mean" and not fused("box_mean", planes, boxes) and slices_pay(len(planes), planes, boxes):
        copies = planes.clone()
        flatten_boxes(copies.unbind(), boxes)
        return as_images(copies, images)
    if fill == "patch_mean":
        colour = _box_mean(planes, boxes)
    else:
        colour = _colour(planes, as_fill(fill), channels=images.shape[-3])
    return as_images(fill_boxes(planes, boxes, colour), images)


def flatten_boxes(images: Sequence[Tensor], boxes: Tensor) -> None:
    """Fill a box of every one of some images ``(P, H, W, S)``, where they lie, with its mean."""
    if not images:
        return
    check_boxes(boxes, len(images), (images[0].shape[1], images[0].shape[2]))
    found, dtype = list(regions(images, boxes)), working_dtype(images[0])
    # Two sums are faster than a mean over two axes, of which the inner one is short.
    totals = [region.sum(1, keepdim=True, dtype=dtype).sum(2, keepdim=True) for region in found]
    colours = to_dtype(torch.stack(totals) / _areas(boxes), images[0].dtype)
    for region, colour in zip(found, colours.unbind(), strict=True):
        flood(region, colour)


def flatten_chosen(target: Tensor, planes: Tensor, boxes: Tensor, chosen: Chosen) -> bool:
    """Write every chosen one of some images with a box of its mean, or tell that one cannot."""
    check_boxes(boxes, len(planes), size_of(planes))
    if not fused("paste_", planes, boxes, chosen.choice):
        return False
    return paste_chosen(target, planes, chosen, boxes, _box_mean(planes, boxes, chosen).expand_as(planes))


def _areas(boxes: Tensor) -> Tensor:
    """Return the areas of boxes in pixels, ``(B, 1, 1, 1, 1)``."""
    return (boxes[:, 2:] - boxes[:, :2]).prod(1).view(-1, 1, 1, 1, 1)


def cut_paste(
    images: Tensor, boxes: Tensor, shifts: Tensor, jitter: Tensor | None = None, *, feather: float = 0.0
) -> Tensor:
    """Copy a box of every image to another place of the same image.

    Args:
        images: Images ``(B, C, H, W)`` or clips ``(B, T, C, H, W)``, floating point or uint8, any range.
        boxes: int64 ``(B, 4)`` of ``(x0, y0, x1, y1)`` in pixels, half-open: where the copy goes.
        shifts: int64 ``(B, 2)``, how far right and down the copy has moved, ``(x, y)`` pixels; what it is taken from
            wraps around at the border.
        jitter: Change of contrast and colour, ``(B, 2, C)``: per channel, the log of a contrast factor about the
            image's mean, and a change of brightness in units of the image's standard deviation; none by default.
        feather: Share of half a side over which the copy fades in from the border of the box, in [0, 1]; 0 is a hard
            edge.

    Returns:
        Tensor like ``images``: same shape, dtype, device and memory format.

    Raises:
        ValueError: If a shape is wrong, or ``feather`` is not in [0, 1].
        TypeError: If the images are neither floating point nor uint8.

    Example:
        >>> image = torch.tensor([[[[1.0, 2.0, 3.0]]]])
        >>> cut_paste(image, torch.tensor([[2, 0, 3, 1]]), torch.tensor([[2, 0]])).flatten().tolist()
        [1.0, 2.0, 1.0]

    Source: Li et al., CutPaste, CVPR 2021.
    """
    check_images(images)
    check_boxes(boxes, len(images), (images.shape[-2], images.shape[-1]))
    check_parameter(shifts, "shifts", (len(images), 2))
    planes = as_planes(images)
    recolouring = None if jitter is None else _recolouring(planes, jitter, channels=images.shape[-3])
    fading = Fading(boxes, size_of(planes), feather) if as_share(feather, "feather") else None
    return as_images(paste(planes, boxes, planes, None, shifts, recolouring, fading), images)


def cut_paste_scar(
    images: Tensor,
    centres: Tensor,
    extents: Tensor,
    angles: Tensor,
    shifts: Tensor,
    jitter: Tensor | None = None,
) -> Tensor:
    """Copy a thin strip of every image to another place of it, turned.

    Args:
        images: Images ``(B, C, H, W)`` or clips ``(B, T, C, H, W)``, floating point or uint8, any range.
        centres: int64 ``(B, 2)``, the middle pixel ``(x, y)`` of the strip where it is put.
        extents: Length and width of the strip in pixels, ``(B, 2)``.
        angles: Turn of the strip, ``(B,)``, in radians, clockwise as displayed.
        shifts: int64 ``(B, 2)``, how far right and down the strip has moved, ``(x, y)`` pixels; what it is taken from
            wraps around at the border.
        jitter: Change of contrast and colour, ``(B, 2, C)``, as in :func:`cut_paste`.

    Returns:
        Tensor like ``images``: same shape, dtype, device and memory format. Pixels are copied, not interpolated.

    Raises:
        ValueError: If a shape is wrong.
        TypeError: If the images are neither floating point nor uint8.

    Example:
        >>> image = torch.tensor([[[[1.0, 2.0, 3.0]]]])
        >>> place, thin, by_one = torch.tensor([[2, 0]]), torch.tensor([[1, 1]]), torch.tensor([[1, 0]])
        >>> cut_paste_scar(image, place, thin, torch.zeros(1), by_one).flatten().tolist()
        [1.0, 2.0, 2.0]

    Source: Li et al., CutPaste, CVPR 2021, "Scar".
    """
    check_images(images)
    for name, parameter in (("centres", centres), ("extents", extents), ("shifts", shifts)):
        check_parameter(parameter, name, (len(images), 2))
    check_parameter(angles, "angles", (len(images),))
    planes = as_planes(images)
    recolouring = None if jitter is None else _recolouring(planes, jitter, channels=images.shape[-3])
    paste_strips = _paste_strip_pixels if may_loop(planes, centres, extents, angles, shifts) else _paste_strips
    return as_images(paste_strips(planes, centres, extents, angles, shifts, recolouring), images)


def _paste_strips(
    planes: Tensor, centres: Tensor, extents: Tensor, angles: Tensor, shifts: Tensor, recolouring: Recolouring | None
) -> Tensor:
    """Turn and move whole images, and keep the strips of that."""
    height, width = size = size_of(planes)
    along, across = masks.strip_coordinates(centres, angles, size)
    origin = (centres - shifts).view(-1, 2, 1, 1)
    row, col = (origin[:, 1] + across.round().long()) % height, (origin[:, 0] + along.round().long()) % width
    moved = pick(planes, row * width + col)
    moved = moved if recolouring is None else recolouring(slice(None), moved)
    return overlay(moved, planes, masks.strip(centres, extents, angles, size).unsqueeze(-1))


def _paste_strip_pixels(
    planes: Tensor, centres: Tensor, extents: Tensor, angles: Tensor, shifts: Tensor, recolouring: Recolouring | None
) -> Tensor:
    """Write the strips pixel by pixel: they are small, and how many pixels they have is known on the CPU."""
    height, width = size = size_of(planes)
    image, row, col, along, across = masks.strip_pixels(centres, extents, angles, size)
    origin = (centres - shifts)[image]
    from_row, from_col = (origin[:, 1] + across.round().long()) % height, (origin[:, 0] + along.round().long()) % width
    pasted = planes.clone()
    moved = planes.flatten(2, 3)[image, :, from_row * width + from_col]
    if recolouring is not None:
        moved = recolouring(image, moved[:, :, None, None])[:, :, 0, 0]
    pasted.flatten(2, 3)[image, :, row * width + col] = moved
    return pasted


def cut_paste_foreign(
    images: Tensor,
    partners: Tensor,
    boxes: Tensor,
    shifts: Tensor,
    weights: Tensor,
    feather: float = 0.0,
    *,
    pool: Tensor | None = None,
) -> Tensor:
    """Paste a box of a partner, taken from another place, into every image.

    Args:
        images: Images ``(B, C, H, W)`` or clips ``(B, T, C, H, W)``, floating point or uint8, any range.
        partners: int64 ``(B,)``, indices into the pool.
        boxes: int64 ``(B, 4)`` of ``(x0, y0, x1, y1)`` in pixels, half-open: where the copy goes.
        shifts: int64 ``(B, 2)``, how far right and down the copy has moved, ``(x, y)`` pixels.
        weights: Opacity of the copy, ``(B,)``, in [0, 1].
        feather: Share of half a side over which the copy fades in from the border of the box, in [0, 1]; 0 is a hard
            edge.
        pool: Images ``(N, C, H, W)`` that partners are taken from; the batch itself by default.

    Returns:
        Tensor like ``images``: same shape, dtype, device and memory format.

    Raises:
        ValueError: If a shape is wrong or the pool does not match the images.
        TypeError: If the images are neither floating point nor uint8.

    Example:
        >>> images = torch.tensor([[[[1.0, 2.0]]], [[[3.0, 4.0]]]])
        >>> first, stay = torch.tensor([[0, 0, 1, 1]]).expand(2, 4), torch.zeros(2, 2, dtype=torch.long)
        >>> cut_paste_foreign(images, torch.tensor([1, 0]), first, stay, torch.ones(2)).flatten().tolist()
        [3.0, 2.0, 1.0, 4.0]

    Source: Li et al., CutPaste, CVPR 2021, with the patch of another image.
    """
    check_images(images)
    pool = as_pool(pool, images)
    check_index(partners, "partners", (len(images),), len(pool))
    check_boxes(boxes, len(images), (images.shape[-2], images.shape[-1]))
    check_parameter(shifts, "shifts", (len(images), 2))
    check_share(weights, "weights", (len(images),))
    check_dtype(images)
    planes = as_planes(images)
    donors = matching_planes(pool, planes, images)
    # On the CPU it can be seen that a copy is opaque, and nothing has to be blended.
    opaque = as_share(feather, "feather") == 0 and may_loop(weights) and bool((weights == 1).all())
    fading = None if opaque else Fading(boxes, size_of(planes), feather, weights)
    return as_images(paste(planes, boxes, donors, partners, shifts, fading=fading), images)


def perlin_blend(
    images: Tensor,
    partners: Tensor,
    angles: Tensor,
    frequencies: Tensor,
    rotations: Tensor,
    weights: Tensor,
    *,
    threshold: float = 0.5,
    pool: Tensor | None = None,
) -> Tensor:
    """Blend a partner, an image or a texture, into the islands of a Perlin noise.

    Args:
        images: Images ``(B, C, H, W)`` or clips ``(B, T, C, H, W)``, floating point or uint8, any range.
        partners: int64 ``(B,)``, indices into the pool.
        angles: Gradients of the noise, ``(B, N, N)``, in radians, see :func:`~nda_augment.functional.perlin_noise`.
        frequencies: int64 ``(B, 2)``, cells of the noise per image ``(x, y)``.
        rotations: Turn of the noise, ``(B,)``, in radians.
        weights: Share of the partner inside the islands, ``(B,)``, in [0, 1].
        threshold: Noise above it is an island; lowered where less than 2 % of the image would be.
        pool: Images ``(N, C, H, W)`` that partners are taken from; the batch itself by default.

    Returns:
        Tensor like ``images``: same shape, dtype, device and memory format.

    Raises:
        ValueError: If a shape is wrong or the pool does not match the images.
        TypeError: If the images are neither floating point nor uint8.

    Example:
        >>> images = torch.rand(2, 3, 16, 16)
        >>> noise = torch.rand(2, 5, 5), torch.full((2, 2), 2), torch.zeros(2)
        >>> perlin_blend(images, torch.tensor([1, 0]), *noise, torch.ones(2)).shape
        torch.Size([2, 3, 16, 16])

    Source: Zavrtanik et al., DRAEM, ICCV 2021.
    """
    check_images(images)
    pool = as_pool(pool, images)
    check_index(partners, "partners", (len(images),), len(pool))
    check_share(weights, "weights", (len(images),))
    check_parameter(angles, "angles", (len(images), *angles.shape[-1:] * 2))
    check_parameter(frequencies, "frequencies", (len(images), 2))
    planes = as_planes(images)
    donors = matching_planes(pool, planes, images)

    places = fields.lattice_places(frequencies, rotations, size_of(planes))

    if kernel := fused("blend_islands", planes, donors, partners, weights, angles, *places):
        blends: Tensor = kernel(
            planes, donors, partners, weights, angles, *places, threshold, masks.fewest(size_of(planes))
        )
        return as_images(blends, images)

    def blended(own: Tensor, partners: Tensor, weights: Tensor, angles: Tensor, *places: Tensor) -> Tensor:
        islands = masks.islands(fields.noise_on(angles, *places), threshold).unsqueeze(-1)
        return blend(islands * weights.view(-1, 1, 1, 1, 1), take(donors, partners), own)

    return as_images(by_chunks(blended, planes, partners, weights, angles, *places), images)


def as_fill(fill: Fill) -> Fill:
    """Return the fill, or raise if it is a word that no kernel knows or a number that is not one."""
    if isinstance(fill, str):
        if fill not in FILLS:
            known = ", ".join(FILLS)
            hint = hint_at(fill, FILLS)
            raise ValueError(f"unknown fill {fill!r}; known are {known}, a number, or one per channel.{hint}")
        return fill
    numbers = (fill,) if isinstance(fill, (int, float)) else tuple(fill)
    if not numbers or not all(math.isfinite(number) for number in numbers):
        raise ValueError(f"fill must be made of finite numbers, got {fill}")
    return fill if isinstance(fill, (int, float)) else numbers


def check_channels(fill: Fill, channels: int) -> None:
    """Raise unless a fill of several numbers has one per channel."""
    if isinstance(fill, tuple) and len(fill) != channels:
        raise ValueError(f"fill={fill} has {len(fill)} numbers for images of {channels} channels")


def _colour(planes: Tensor, fill: Fill, channels: int) -> Tensor:
    """Return the colour that a fill gives to all boxes of an image, broadcastable to the planes and of their dtype."""
    if fill == "image_mean":
        return to_dtype(planes.mean(dim=(2, 3), keepdim=True, dtype=working_dtype(planes)), planes.dtype)
    if isinstance(fill, str):
        return planes.new_zeros(())
    numbers = (fill,) if isinstance(fill, (int, float)) else fill
    if planes.dtype == torch.uint8 and not all(0 <= number <= 255 for number in numbers):
        raise ValueError(f"fill={fill} is outside 0..255, the range of uint8 images")
    if isinstance(fill, (int, float)):
        return planes.new_full((), fill)
    check_channels(fill, channels)
    return _per_channel(constant(fill, planes, planes.dtype).unsqueeze(0), planes, channels)


def _box_mean(planes: Tensor, boxes: Tensor, chosen: Chosen | None = None) -> Tensor:
    """Return each plane's mean over a box, ``(B, P, 1, 1, S)`` in the images' dtype; at least those of the chosen."""
    dtype = working_dtype(planes)
    if kernel := fused("box_mean", planes, boxes, *given(chosen and chosen.choice)):
        means: Tensor = kernel(planes, boxes, *(chosen or ()))
        return means
    rows, cols = box_masks(boxes, planes)
    # A product with the box's rows comes first: it reads the images once, at the speed of the memory.
    with without_autocast(planes):
        lines = (rows.flatten(2).unsqueeze(2).to(dtype) @ planes.flatten(3).to(dtype)).view(planes[:, :, :1].shape)
    return to_dtype((lines * cols).sum(dim=3, keepdim=True) / _areas(boxes), planes.dtype)


def _recolouring(planes: Tensor, jitter: Tensor, channels: int) -> Recolouring:
    """Return what jitter makes of pixels: a contrast about the image's mean, and a brightness in its deviations."""
    check_parameter(jitter, "jitter", (planes.shape[0], 2, channels))
    dtype = working_dtype(planes)
    contrast, brightness = (_per_channel(part, planes, channels).to(dtype) for part in jitter.unbind(1))
    deviation, mean = torch.std_mean(planes.to(dtype), dim=(2, 3), keepdim=True, correction=0)
    return Recolouring(mean, contrast.exp(), brightness * deviation)


def _per_channel(values: Tensor, planes: Tensor, channels: int) -> Tensor:
    """View ``(B, C)`` or ``(1, C)`` so that it broadcasts to planes.

    Channels_last images hold the channels in the pixel; contiguous ones have them, frame by frame, as planes.
    """
    count, depth = planes.shape[1], planes.shape[4]
    if depth > 1:
        return values.view(-1, 1, 1, 1, depth)
    return values.repeat(1, count // channels).view(-1, count, 1, 1, 1)
