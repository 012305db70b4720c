"""One view of a batch that all kernels share, and the two ways to fill a new batch: gather rows, or blend.

The planes of a batch are ``(B, P, H, W, S)``, contiguous: ``P`` planes of rows of ``W`` pixels of ``S`` values. A
contiguous batch has its channels (and frames) as planes and one value per pixel; a channels_last batch has one plane
and all channels in the pixel. A kernel written for planes keeps the memory format, takes clips, and moves whole rows.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from nda_augment._tracing import is_plain
from nda_augment.functional import masks
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


def size_of(planes: Tensor) -> tuple[int, int]:
    """Return the height and width of planes."""
    return planes.shape[2], planes.shape[3]


def matching_planes(pool: Tensor, planes: Tensor, like: Tensor) -> Tensor:
    """View a pool as planes with the layout of ``planes``, those of ``like``."""
    layout = torch.contiguous_format if planes.shape[-1] == 1 else torch.channels_last
    return as_planes(pool.contiguous(memory_format=layout)) if pool.ndim == like.ndim == 4 else as_planes(pool)


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
    return gather(source, image.unsqueeze(1), torch.arange(source.shape[2], device=source.device).unsqueeze(0))


def shift(source: Tensor, offset: Tensor) -> Tensor:
    """Shift every image cyclically by its offset ``(B, 2)``, pixels to the right and down."""
    batch, count, height, width, values = source.shape
    row = (torch.arange(height, device=source.device) - offset[:, 1:]) % height
    col = (torch.arange(width, device=source.device) - offset[:, :1]) % width
    rows = gather(source, torch.arange(batch, device=source.device).unsqueeze(1), row)
    return rows.gather(3, col.view(batch, 1, 1, width, 1).expand(batch, count, height, width, values))


def put(target: Tensor, image: Tensor, values: Tensor) -> None:
    """Write images into the places ``image (B,)`` of planes that are the caller's own."""
    _, count, height, width, channels = target.shape
    line = torch.arange(count * height, device=target.device)
    index = (image.view(-1, 1) * (count * height) + line).flatten()
    target.view(-1, width * channels).index_copy_(0, index, values.reshape(-1, width * channels))


def pick(source: Tensor, index: Tensor) -> Tensor:
    """Fill planes pixel by pixel: ``index (B, H, W)`` counts the pixels of an image line by line.

    Slower than :func:`gather`, and the index is as large as an image of two channels.
    """
    batch, count, _, _, values = source.shape
    places = index.flatten(1)[:, None, :, None].expand(-1, count, -1, values)
    return source.flatten(2, 3).gather(2, places).view(batch, count, *index.shape[1:], values)


def overlay(mask: Tensor, inside: Tensor, outside: Tensor) -> Tensor:
    """``torch.where(mask, inside, outside)``, written into ``inside``, a tensor of the kernel's own, when possible."""
    if _may_write(inside, outside):
        return torch.where(mask, inside, outside, out=inside)
    return torch.where(mask, inside, outside)


def overlay_box(boxes: Tensor, inside: Tensor, outside: Tensor) -> Tensor:
    """Fill boxes ``(B, 4)`` of planes from other planes, or with a colour that broadcasts to them.

    A single image on the CPU is copied and its box written as a slice: a mask costs many times the copy there.
    """
    if len(outside) == 1 and outside.device.type == boxes.device.type == "cpu" and is_plain(boxes, inside, outside):
        x0, y0, x1, y1 = boxes[0].tolist()
        filled = outside.clone()
        filled[:, :, y0:y1, x0:x1] = inside[:, :, y0:y1, x0:x1] if inside.shape == outside.shape else inside
        return filled
    mask = masks.box(boxes, size_of(outside)).unsqueeze(-1)
    if inside.shape == outside.shape:
        return overlay(mask, inside, outside)
    return torch.where(mask, inside, outside)


def mix(weight: Tensor, inside: Tensor, outside: Tensor) -> Tensor:
    """``weight * inside + (1 - weight) * outside``, written into ``outside``, the kernel's own, when possible.

    Autograd knows this in-place operation; torch.func does not.
    """
    return outside.lerp_(inside, weight) if is_plain(outside, inside) else torch.lerp(outside, inside, weight)


def blend(weight: Tensor, inside: Tensor, outside: Tensor) -> Tensor:
    """``weight * inside + (1 - weight) * outside`` where the weight is positive; elsewhere ``outside``, untouched."""
    dtype = working_dtype(outside)
    mixed = torch.lerp(outside.to(dtype), inside.to(dtype), weight.to(dtype))
    return torch.where(weight > 0, to_dtype(mixed, outside.dtype), outside)


def constant(values: Sequence[float], like: Tensor, dtype: torch.dtype) -> Tensor:
    """Return a few numbers as a tensor on the device of ``like``, without a copy from the host.

    Such a copy would make the host wait, and cannot be captured into a CUDA graph.
    """
    return torch.stack([torch.full((), value, dtype=dtype, device=like.device) for value in values])


def _may_write(*tensors: Tensor) -> bool:
    """Tell whether ``out=`` is allowed: autograd and torch.func refuse it, and a compiler fuses better without."""
    return is_plain(*tensors) and not (torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors))
