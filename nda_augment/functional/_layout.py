"""One view of a batch that all kernels share, and the ways to fill a new batch: gather rows, paste boxes, blend.

The planes of a batch are ``(B, P, H, W, S)``, contiguous: ``P`` planes of rows of ``W`` pixels of ``S`` values. A
contiguous batch has its channels (and frames) as planes and one value per pixel; a channels_last batch has one plane
and all channels in the pixel. A kernel written for planes keeps the memory format, takes clips, and moves whole rows.

Where a fused kernel can be had it does all of this in one pass. Elsewhere, on the CPU, a mask over whole images costs
several copies of them, and memory is what counts: there a region is written as one slice per image, and what takes many
passes goes a few images at a time. On a device, where each of these would be a launch, and while compiling, for
autograd and for torch.func, the same is one operation for the whole batch.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import NamedTuple

import torch
from torch import Tensor

from nda_augment._checks import as_pool, check_dtype
from nda_augment._constants import kept
from nda_augment._tracing import is_plain
from nda_augment.functional import masks
from nda_augment.functional._kernels import fused, given, may_write
from nda_augment.functional._precision import to_dtype, working_dtype


def as_planes(images: Tensor) -> Tensor:
    """View images ``(B, ..., H, W)`` as planes, without a copy for contiguous and channels_last batches."""
    if images.is_contiguous() or images.ndim != 4 or not images.is_contiguous(memory_format=torch.channels_last):
        batch, *others, height, width = images.shape
        return images.contiguous().view(batch, math.prod(others), height, width, 1)
    return images.permute(0, 2, 3, 1).unsqueeze(1)


def as_images(planes: Tensor, like: Tensor) -> Tensor:
    """View planes as images of the shape and memory format of ``like``."""
    return planes.view(like.shape) if planes.shape[-1] == 1 else planes.squeeze(1).permute(0, 3, 1, 2)


def in_layout_of(images: Tensor, values: Tensor) -> Tensor:
    """Return values of the shape of ``images`` in their memory format, contiguous or channels_last."""
    if images.ndim == 4 and not images.is_contiguous() and images.is_contiguous(memory_format=torch.channels_last):
        return values.contiguous(memory_format=torch.channels_last)
    return values.contiguous()


def size_of(planes: Tensor) -> tuple[int, int]:
    """Return the height and width of planes."""
    return planes.shape[2], planes.shape[3]


def matching_planes(pool: Tensor, planes: Tensor, like: Tensor) -> Tensor:
    """View a pool as planes with the layout of ``planes``, those of ``like``."""
    layout = torch.contiguous_format if planes.shape[-1] == 1 else torch.channels_last
    return as_planes(pool.contiguous(memory_format=layout)) if pool.ndim == like.ndim == 4 else as_planes(pool)


def donor_planes(params: Mapping[str, Tensor], images: Tensor) -> Tensor:
    """Return the planes that partners are taken from: those of the pool among the parameters, or of the images."""
    planes = as_planes(images)
    return matching_planes(as_pool(params["pool"], images), planes, images) if "pool" in params else planes


def gather(source: Tensor, image: Tensor, row: Tensor) -> Tensor:
    """Fill planes with rows of others: whole rows move, so it runs at the speed of a copy.

    Args:
        source: Planes ``(N, P, H, W, S)``.
        image: Source image of each row, broadcastable to ``(B, H')``.
        row: Source row, likewise.

    Returns:
        Planes ``(B, P, H', W, S)``.
    """
    _, count, height, width, values = source.shape
    plane = torch.arange(0, count * height, height, device=source.device).view(1, count, 1)
    index = (image * (count * height) + row).unsqueeze(1) + plane
    rows = source.reshape(-1, width * values).index_select(0, index.flatten())
    return rows.view(*index.shape, width, values)


def take(source: Tensor, image: Tensor) -> Tensor:
    """Copy the images numbered ``image (B,)`` out of a batch's planes."""
    return source.index_select(0, image)


def shift(source: Tensor, offset: Tensor) -> Tensor:
    """Shift every image cyclically by its offset ``(B, 2)``, pixels to the right and down."""
    batch, count, height, width, values = source.shape
    if kernel := fused("paste_", source, offset):
        shifted = torch.empty_like(source)
        kernel(shifted, source, whole_boxes(batch, (height, width), source.device), source, offset=offset)
        return shifted
    if width * values * source.element_size() <= _SHORT_LINE and may_loop(source, offset) and batch:
        return _shift_lines(source, offset)
    if slices_pay(batch, source, offset):
        shifted = torch.empty_like(source)
        paste_slices(shifted.unbind(), [[0, 0, width, height]] * batch, source, range(batch), offset)
        return shifted
    row = (torch.arange(height, device=source.device) - offset[:, 1:]) % height
    col = (torch.arange(width, device=source.device) - offset[:, :1]) % width
    rows = gather(source, torch.arange(batch, device=source.device).unsqueeze(1), row)
    return rows.gather(3, col.view(batch, 1, 1, width, 1).expand(batch, count, height, width, values))


def whole_boxes(batch: int, size: tuple[int, int], device: torch.device) -> Tensor:
    """Return boxes ``(B, 4)`` of whole images."""
    return kept(_whole_box, size, device=device).expand(batch, 4)


def _whole_box(size: tuple[int, int], device: torch.device) -> Tensor:
    height, width = size
    return torch.stack([torch.full((), end, dtype=torch.long, device=device) for end in (0, 0, width, height)])


# Lines of so many bytes are handled one by one faster as rows of an index than in slices.
_SHORT_LINE = 512


def _shift_lines(source: Tensor, offset: Tensor) -> Tensor:
    """Shift images on the CPU by copying lines as a whole, each out of two of it side by side."""
    count, height, width, values = source.shape[1:]
    line = 2 * width * values
    row = (torch.arange(height) - offset[:, 1:]) % height
    first = (row * line + -offset[:, :1] % width * values).unsqueeze(1)
    first = first + torch.arange(0, count * height * line, height * line).view(-1, 1)
    size = in_caches(source)
    image = torch.arange(0, size * count * height * line, count * height * line).view(-1, 1, 1)
    shifted = torch.empty_like(source)
    for part, own, index in zip(*(torch.split(tensor, size) for tensor in (shifted, source, first)), strict=True):
        places = (index + image[: len(index)]).flatten()
        # Two of each line are there for no longer than this one call.
        torch.index_select(
            every_span(torch.cat([own, own], dim=3), width * values), 0, places, out=part.view(-1, width * values)
        )
    return shifted


def every_span(values: Tensor, length: int) -> Tensor:
    """View a contiguous tensor as all spans of a length that there are in it, one from each of its values on."""
    return values.view(-1).as_strided((values.numel() - length + 1, length), (1, 1))


def put(target: Tensor, image: Tensor, values: Tensor) -> None:
    """Write images into the places ``image (B,)`` of planes that are the caller's own."""
    if not may_loop(target, image, values):
        target.index_copy_(0, image, values)
    elif values.nbytes > _LARGE * len(values):
        for number, own in zip(image.tolist(), values.unbind(), strict=True):
            target[number].copy_(own)
    else:
        target[image] = values


# Images of so many bytes are copied faster one by one on the CPU than by an index.
_LARGE = 2**15


def in_order(parts: Iterable[Tensor], order: Tensor, like: Tensor) -> Tensor:
    """Join parts of a batch on the CPU, of images numbered ``order (B,)``, into planes like others."""
    if len(like) and like.nbytes <= _LARGE * len(like):
        return torch.cat(list(parts)).index_select(0, order.argsort())
    result, numbers = torch.empty_like(like), iter(order.tolist())
    for part in parts:
        for own in part.unbind():
            result[next(numbers)].copy_(own)
    return result


def pick(source: Tensor, index: Tensor) -> Tensor:
    """Fill planes pixel by pixel: ``index (B, H, W)`` counts the pixels of an image line by line.

    Slower than :func:`gather`, and the index is as large as an image of two channels.
    """
    batch, count, _, _, values = source.shape
    places = index.flatten(1)[:, None, :, None].expand(-1, count, -1, values)
    return source.flatten(2, 3).gather(2, places).view(batch, count, *index.shape[1:], values)


def overlay(inside: Tensor, outside: Tensor, *masks: Tensor) -> Tensor:
    """Return ``inside`` where all masks hold, and ``outside`` elsewhere.

    The result is written into ``inside``, a tensor of the kernel's own, if that has its shape.
    """
    if may_write(inside, outside) and outside.device.type == "cpu":
        return _overlay_bits(inside, outside, *masks)
    mask = reduce(torch.bitwise_and, masks)
    if may_write(inside, outside) and inside.shape == outside.shape:
        return torch.where(mask, inside, outside, out=inside)
    return torch.where(mask, inside, outside)


def _overlay_bits(inside: Tensor, outside: Tensor, *masks: Tensor) -> Tensor:
    """Choose by exclusive or: on the CPU, unlike ``where``, these operations take several pixels at once."""
    bits = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}[outside.element_size()]
    own, kept = inside.view(bits), outside.view(bits)
    differing = own.bitwise_xor_(kept) if own.shape == kept.shape else own ^ kept
    for mask in masks:
        differing.bitwise_and_(mask.to(bits).neg_())
    return differing.bitwise_xor_(kept).view(outside.dtype)


# The number of an image, or those of several.
Numbers = int | slice | Tensor


class Recolouring(NamedTuple):
    """A contrast about the mean, and a brightness: numbers of each plane, broadcastable to ``(B, P, 1, 1, S)``."""

    mean: Tensor
    gain: Tensor
    change: Tensor

    def __call__(self, image: Numbers, inside: Tensor) -> Tensor:
        """Return the pixels of a region in other colours."""
        mean, gain, change = (part[image] for part in self)
        return to_dtype(mean + (inside.to(mean.dtype) - mean) * gain + change, inside.dtype)


@dataclass
class Fading:
    """What lets boxes fade in from their border, and be as opaque as their weights say."""

    boxes: Tensor
    size: tuple[int, int]
    feather: float
    weights: Tensor | None = None
    _sides: tuple[Tensor, Tensor] | None = None

    def __call__(self, image: Numbers, inside: Tensor, outside: Tensor, rows: slice, cols: slice) -> Tensor:
        """Return the pixels of a region, its rows and columns, blended with those that are there."""
        # Once for all images, and not where a fused kernel does without; compilers know no cached property.
        self._sides = down, across = self._sides or self._weights_of_sides()
        return blend(down[image][..., rows, :, :] * across[image][..., cols, :], inside, outside)

    def _weights_of_sides(self) -> tuple[Tensor, Tensor]:
        down, across = masks.soft_sides(self.boxes, self.size, self.feather)
        down, across = down[:, None, :, None, None], across[:, None, None, :, None]
        return down if self.weights is None else down * self.weights.view(-1, 1, 1, 1, 1), across


def paste(
    planes: Tensor,
    boxes: Tensor,
    source: Tensor,
    image: Tensor | None = None,
    offset: Tensor | None = None,
    recolouring: Recolouring | None = None,
    fading: Fading | None = None,
) -> Tensor:
    """Copy planes, and fill a box of every image from elsewhere.

    Args:
        planes: Planes ``(B, P, H, W, S)``.
        boxes: int64 ``(B, 4)`` of ``(x0, y0, x1, y1)``: where the pixels go.
        source: Planes ``(N, P, H, W, S)`` that they come from.
        image: int64 ``(B,)``, the image of ``source`` that they come from; its own by default.
        offset: int64 ``(B, 2)``, how far right and down they move, cyclically; none by default.
        recolouring: Change of the colours that they get on their way.
        fading: Blend of them with what is there.

    Returns:
        Planes like ``planes``.

    Raises:
        TypeError: If something is blended in and the images are neither floating point nor uint8.
    """
    if fading is not None:
        check_dtype(planes)
    colours = recolouring or (None, None, None)
    weights, feather = (fading.weights, fading.feather) if fading else (None, None)
    if kernel := fused("paste_", planes, source, boxes, *given(image, offset, *colours, weights)):
        target = torch.empty_like(planes)
        kernel(target, planes, boxes, source, image, offset, *colours, weight=weights, feather=feather)
        return target
    if slices_pay(len(planes), planes, source, boxes):
        pasted = planes.clone()
        numbers = range(len(planes)) if image is None else image.tolist()
        paste_slices(pasted.unbind(), boxes.tolist(), source, numbers, offset, recolouring, fading)
        return pasted
    inside = source if image is None else take(source, image)
    inside = inside if offset is None else shift(inside, offset)
    everywhere = slice(None)
    inside = inside if recolouring is None else recolouring(everywhere, inside)
    inside = inside if fading is None else fading(everywhere, inside, planes, everywhere, everywhere)
    return overlay(inside, planes, *box_masks(boxes, planes))


class Chosen(NamedTuple):
    """Some images of a batch: those whose choice ``(B,)`` is a number. How many they are only a device knows."""

    choice: Tensor
    number: int


def paste_chosen(
    target: Tensor,
    planes: Tensor,
    chosen: Chosen,
    boxes: Tensor,
    source: Tensor,
    image: Tensor | None = None,
    fading: Fading | None = None,
) -> bool:
    """Write what :func:`paste` makes of every chosen one of some images, or tell that one cannot."""
    if fading is not None:
        check_dtype(planes)
    feather = fading.feather if fading else None
    if kernel := fused("paste_", planes, chosen.choice, source, boxes, *given(image)):
        kernel(target, planes, boxes, source, image, feather=feather, choice=chosen.choice, number=chosen.number)
    return kernel is not None


def paste_slices(
    targets: Sequence[Tensor],
    boxes: Sequence[Sequence[int]],
    source: Tensor,
    image: Sequence[int],
    offset: Tensor | None = None,
    recolouring: Recolouring | None = None,
    fading: Fading | None = None,
) -> None:
    """Fill a box of every one of some images ``(P, H, W, S)`` where they lie, as :func:`paste` does in copies."""
    height, width = size_of(source)
    donors, offsets = source.unbind(), [[0, 0]] * len(boxes) if offset is None else offset.tolist()
    for number, (target, (x0, y0, x1, y1), (right, down)) in enumerate(zip(targets, boxes, offsets, strict=True)):
        for rows, from_rows in _runs(y0, y1, down, height):
            for cols, from_cols in _runs(x0, x1, right, width):
                region, coming = target[:, rows, cols], donors[image[number]][:, from_rows, from_cols]
                coming = coming if recolouring is None else recolouring(number, coming)
                coming = coming if fading is None else fading(number, coming, region, rows, cols)
                region.copy_(coming)


def _runs(low: int, high: int, offset: int, length: int) -> Iterator[tuple[slice, slice]]:
    """Yield the parts of a range, at most two, and where each comes from in a cycle that has moved by an offset."""
    start = (low - offset) % length
    middle = min(high, low + length - start)
    yield slice(low, middle), slice(start, start + middle - low)
    if middle < high:
        yield slice(middle, high), slice(0, high - middle)


def fill_boxes(planes: Tensor, boxes: Tensor, colour: Tensor) -> Tensor:
    """Copy planes, and fill a box of every image with a colour that broadcasts to the planes."""
    if kernel := fused("paste_", planes, boxes, colour):
        target = torch.empty_like(planes)
        kernel(target, planes, boxes, colour.expand_as(planes))
        return target
    if not slices_pay(len(planes), planes, boxes):
        return overlay(colour, planes, *box_masks(boxes, planes))
    filled = planes.clone()
    colours = colour.expand(len(planes), *planes.shape[1:2], 1, 1, planes.shape[-1]).unbind()
    for region, own in zip(regions(filled.unbind(), boxes), colours, strict=True):
        flood(region, own)
    return filled


def flood(region: Tensor, colour: Tensor) -> None:
    """Fill a region ``(P, H, W, S)`` with a colour ``(P, 1, 1, S)``."""
    if colour.stride(-1) and region.shape[-1] > 1:
        # Lines of several values a pixel are copied as a whole, several times faster than pixel by pixel.
        colour = colour.expand(-1, -1, region.shape[2], -1).contiguous()
    region.copy_(colour)


def regions(images: Sequence[Tensor], boxes: Tensor) -> Iterator[Tensor]:
    """Yield the box of every one of some images ``(P, H, W, S)``, as a view of it."""
    for image, (x0, y0, x1, y1) in zip(images, boxes.tolist(), strict=True):
        yield image[:, y0:y1, x0:x1]


def box_masks(boxes: Tensor, planes: Tensor) -> tuple[Tensor, Tensor]:
    """Return the rows and the columns of boxes, which broadcast to the planes."""
    rows, cols = masks.box_sides(boxes, size_of(planes))
    return rows[:, None, :, None, None], cols[:, None, None, :, None]


# What the handling of one slice costs, in values of the passes over whole images that it saves.
_SLICE = 5000


def slices_pay(number: int, planes: Tensor, *others: Tensor) -> bool:
    """Tell whether writing a number of slices is possible, and takes less time than masks over whole images."""
    return may_loop(planes, *others) and (number - 5) * _SLICE < planes.numel()


def may_loop(*tensors: Tensor) -> bool:
    """Tell whether tensors lie on the CPU with values that can be read and written freely."""
    return all(tensor.device.type == "cpu" for tensor in tensors) and may_write(*tensors)


# A few images of this many values, and what is computed from them, stay in a processor's cache.
_CHUNK = 2**18


def in_caches(images: Tensor) -> int:
    """Return how many of these images stay in a processor's cache, with what is computed from them; one at least."""
    return max(_CHUNK * len(images) // max(images.numel(), 1), 1)


def by_chunks(kernel: Callable[..., Tensor], images: Tensor, *parameters: Tensor) -> Tensor:
    """Return ``kernel(images, *parameters)``, computed a few images at a time on the CPU: it takes less memory so."""
    if not may_loop(images, *parameters):
        return kernel(images, *parameters)
    size = in_caches(images)
    if len(images) <= size:
        return kernel(images, *parameters)
    result = torch.empty_like(images)
    for part, *own in zip(*(torch.split(tensor, size) for tensor in (result, images, *parameters)), strict=True):
        part.copy_(kernel(*own))
    return result


def few_at_once(index: Tensor, images: Tensor) -> Sequence[Tensor]:
    """Split the numbers of images, on the CPU into parts that stay in a processor's caches; nothing gives no part."""
    size = 4 * in_caches(images) if may_loop(images, index) else len(index)
    return torch.split(index, size) if len(index) else []


def mix(weight: Tensor, inside: Tensor, outside: Tensor) -> Tensor:
    """``weight * inside + (1 - weight) * outside``, written into ``outside``, the kernel's own, when possible.

    Autograd knows this in-place operation; torch.func does not.
    """
    return outside.lerp_(inside, weight) if is_plain(outside, inside) else torch.lerp(outside, inside, weight)


def blend(weight: Tensor, inside: Tensor, outside: Tensor) -> Tensor:
    """``weight * inside + (1 - weight) * outside`` where the weight is positive; elsewhere ``outside``, untouched."""
    dtype = working_dtype(outside)
    mixed = torch.lerp(outside.to(dtype), inside.to(dtype), weight.to(dtype))
    # A weight of 0 leaves what is finite as it is, and no mask is needed; a sum tells where that can be seen.
    finite = may_loop(weight, inside, outside) and math.isfinite(mixed.sum().item())
    mixed = to_dtype(mixed, outside.dtype, within=True)
    return mixed if finite else overlay(mixed, outside, weight > 0)


def constant(values: Sequence[float], like: Tensor, dtype: torch.dtype) -> Tensor:
    """Return a few numbers as a tensor on the device of ``like``, without a copy from the host.

    Such a copy would make the host wait, and cannot be captured into a CUDA graph.
    """
    return torch.stack([torch.full((), value, dtype=dtype, device=like.device) for value in values])
