"""What is asked of every argument: of constructors, of images and kernels' parameters, of logits and embeddings.

``as_...`` returns the value in the form that the code works with, ``check_...`` only raises; both take the value first
and then its name. Shapes and dtypes are always checked. Values of tensors are looked at where that is free: on the
CPU, and where nobody traces; to ask a GPU would mean to wait for it.
"""

import math
from collections.abc import Collection
from difflib import get_close_matches
from numbers import Integral, Real
from typing import Any, TypeVar

import torch
from torch import Tensor

from nda_augment._tracing import is_plain

T = TypeVar("T")

# A side no longer than this, beside a longer one, is rather the channels of an image whose axes are in another order.
_MOST_CHANNELS = 4

_FEW = 256  # numbers


def as_fractions(value: Any, name: str) -> tuple[float, float]:
    """Return a range of fractions in (0, 1]; a single number is a range of one value."""
    return _as_range(value, name, "a fraction or a range of fractions 0 < low <= high <= 1", 0.0, 1.0)


def as_positive_range(value: Any, name: str) -> tuple[float, float]:
    """Return a range of positive numbers; a single number is a range of one value."""
    return _as_range(value, name, "a positive number or a range 0 < low <= high", 0.0, math.inf)


def as_range(value: Any, name: str) -> tuple[float, float]:
    """Return a range of finite numbers; a single number is a range of one value."""
    return _as_range(value, name, "a number or a range low <= high, and finite", -math.inf, math.inf)


def as_grid(value: Any, name: str = "grid") -> tuple[int, int]:
    """Return (rows, columns) of at least two cells; a single number is a square grid."""
    rows, cols = value if _is_pair(value) else (value, value)
    if not (_is_whole(rows) and _is_whole(cols)) or rows < 1 or cols < 1 or rows * cols < 2:
        raise ValueError(f"{name} must be whole numbers (rows, columns) with at least two cells, got {value!r}")
    return int(rows), int(cols)


def as_whole_range(value: Any, name: str) -> tuple[int, int]:
    """Return a range of whole numbers from 0."""
    if not _is_pair(value) or not all(map(_is_whole, value)) or not 0 <= value[0] <= value[1]:
        raise ValueError(f"{name} must be whole numbers 0 <= low <= high, got {value!r}")
    return int(value[0]), int(value[1])


def as_whole(value: Any, name: str, least: int = 0) -> int:
    """Return a whole number from 0, or from another on."""
    if not _is_whole(value) or value < least:
        raise ValueError(f"{name} must be a whole number from {least} on, got {value!r}")
    return int(value)


def as_share(value: Any, name: str, wanted: str = "in [0, 1]") -> float:
    """Return a number in [0, 1]."""
    if not _is_number(value) or not 0.0 <= value <= 1.0:
        raise ValueError(f"{name} must be {wanted}, got {value!r}")
    return float(value)


def as_positive(value: Any, name: str) -> float:
    """Return a finite number above 0."""
    if not _is_number(value) or not 0.0 < value < math.inf:
        raise ValueError(f"{name} must be a finite number above 0, got {value!r}")
    return float(value)


def as_deviation(value: Any, name: str) -> float:
    """Return a standard deviation: a finite number that is not negative."""
    if not _is_number(value) or not 0.0 <= value < math.inf:
        raise ValueError(f"{name} must be finite and not negative, got {value!r}")
    return float(value)


def as_finite(value: Any, name: str) -> float:
    """Return a finite number."""
    if not _is_number(value) or not math.isfinite(value):
        raise ValueError(f"{name} must be a finite number, got {value!r}")
    return float(value)


def as_flag(value: Any, name: str) -> bool:
    """Return a truth value, which no number stands for."""
    if not isinstance(value, bool):
        raise ValueError(f"{name} must be True or False, got {value!r}")
    return value


def as_one_of(value: T, name: str, known: tuple[T, ...]) -> T:
    """Return a value that must be one of a few."""
    check_word(value, name, known)
    return value


def check_word(word: Any, name: str, known: Collection[Any]) -> None:
    """Raise unless a word is one of ``known``; the message names the nearest that is."""
    if word not in known:
        raise ValueError(f"{name} must be one of {', '.join(map(repr, known))}, got {word!r}.{hint_at(word, known)}")


def hint_at(word: Any, known: Collection[Any]) -> str:
    """Return a sentence that names the nearest known word, if one is near."""
    nearest = get_close_matches(str(word), map(str, known), n=1, cutoff=0.5)
    return f" Did you mean {nearest[0]!r}?" if nearest else ""


def check_images(images: Tensor, name: str = "images") -> None:
    """Raise unless ``images`` is a batch ``(B, C, H, W)`` or ``(B, T, C, H, W)``."""
    if not isinstance(images, Tensor):
        raise TypeError(f"{name} must be a torch.Tensor, got {type(images).__name__}")
    if images.ndim not in (4, 5):
        raise ValueError(
            f"{name} must be (B, C, H, W), or (B, T, C, H, W) for clips, got shape {tuple(images.shape)}; "
            "add the missing dimensions with unsqueeze"
        )


def check_dtype(images: Tensor, name: str = "images") -> None:
    """Raise unless the dtype is one that images come in whose values are computed with."""
    if not (images.is_floating_point() or images.dtype == torch.uint8):
        raise TypeError(
            f"{name} must be floating point or uint8, got {images.dtype}; convert with .float() and divide by the "
            "largest value, such as 65535, or, if values are from 0 to 255 only, with .to(torch.uint8)"
        )


def check_parameter(parameter: Tensor, name: str, shape: tuple[int, ...]) -> None:
    """Raise unless a parameter has exactly the shape the batch asks for: nothing is broadcast by accident."""
    if not isinstance(parameter, Tensor):
        raise TypeError(f"{name} must be a torch.Tensor of shape {shape}, got {type(parameter).__name__}")
    if tuple(parameter.shape) != tuple(shape):
        raise ValueError(f"{name} must have shape {tuple(shape)}, one entry per image, got {tuple(parameter.shape)}")


def check_index(index: Tensor, name: str, shape: tuple[int, ...], size: int) -> None:
    """Raise unless a parameter has this shape, and entries from 0 to ``size - 1``."""
    check_parameter(index, name, shape)
    _check_between(index, name, 0, size - 1)


def check_share(share: Tensor, name: str, shape: tuple[int, ...]) -> None:
    """Raise unless a parameter has this shape, and entries in [0, 1]."""
    check_parameter(share, name, shape)
    _check_between(share, name, 0, 1)


def check_boxes(boxes: Tensor, batch: int, size: tuple[int, int]) -> None:
    """Raise unless boxes ``(B, 4)`` of ``(x0, y0, x1, y1)`` lie within images of a height and a width."""
    check_parameter(boxes, "boxes", (batch, 4))
    if not (boxes.device.type == "cpu" and is_plain(boxes)):
        return
    height, width = size
    # Few numbers Python compares faster than tensors do, whose operations are slow to start.
    if boxes.numel() > _FEW and bool(_is_ordered(boxes, (width, height)).all()):
        return
    for x0, y0, x1, y1 in boxes.tolist():
        if not (0 <= x0 <= x1 <= width and 0 <= y0 <= y1 <= height):
            raise ValueError(
                f"boxes must be (x0, y0, x1, y1) with 0 <= x0 <= x1 <= {width} and 0 <= y0 <= y1 <= {height}, the "
                f"image's sides, got {[x0, y0, x1, y1]}"
            )


def _is_ordered(boxes: Tensor, ends: tuple[int, int]) -> Tensor:
    """Return whether each box begins at 0 or behind it, and does not end before that, or behind the ends."""
    low, high = boxes.view(-1, 2, 2).unbind(1)
    return (low >= 0) & (low <= high) & (high <= torch.tensor(ends))


def as_pool(pool: Tensor | None, images: Tensor) -> Tensor:
    """Return the pool that partners index into: the batch itself, or images that match it."""
    if pool is None:
        return images
    check_images(pool, "pool")
    if pool.shape[1:] != images.shape[1:] or pool.dtype != images.dtype or pool.device != images.device:
        raise ValueError(
            f"pool must hold images of shape {tuple(images.shape[1:])}, {images.dtype} on {images.device}, got "
            f"{tuple(pool.shape[1:])}, {pool.dtype} on {pool.device}"
        )
    return pool


def check_grid(grid: tuple[int, int], size: tuple[int, int]) -> None:
    """Raise unless the grid cuts the image into equal cells."""
    for parts, length, axis in zip(grid, size, ("height", "width"), strict=True):
        if length % parts or length < parts:
            below, above = length // parts * parts, (length // parts + 1) * parts
            fitting = f"{below} or {above}" if below else f"{above}"
            looks_turned = length <= _MOST_CHANNELS < max(size)
            raise ValueError(
                f"grid={grid} does not divide the image: {parts} parts of a {axis} of {length} px; "
                f"resize the {axis} to {fitting}, or choose a grid that divides {size[0]}x{size[1]}"
                f"{'; are channels last? They come before the height, (B, C, H, W)' if looks_turned else ''}"
            )


def as_full_precision(values: Tensor, name: str) -> Tensor:
    """Return logits or embeddings in float32 or wider: means and exponentials in half precision lose or overflow."""
    if not values.is_floating_point():
        raise TypeError(f"{name} must be floating point, got {values.dtype}")
    if values.numel() == 0:
        raise ValueError(f"{name} is empty (shape {tuple(values.shape)}), so it has no mean")
    return values.to(torch.promote_types(values.dtype, torch.float32))


def check_same_trailing(logits: Tensor, name: str, like: Tensor) -> None:
    """Raise unless logits have the shape of the real images' logits beyond the batch."""
    if logits.shape[1:] != like.shape[1:]:
        raise ValueError(
            f"{name} has logits of shape {tuple(logits.shape)} but real has {tuple(like.shape)}: "
            "only the first dimension may differ"
        )


def _check_between(values: Tensor, name: str, low: float, high: float) -> None:
    if not (values.device.type == "cpu" and is_plain(values)) or not values.numel():
        return
    if values.numel() <= _FEW:
        numbers = values.reshape(-1).tolist()
        # Python's least and most depend on where what is no number stands.
        least, most = (math.nan, math.nan) if any(map(math.isnan, numbers)) else (min(numbers), max(numbers))
    else:
        least, most = (extreme.item() for extreme in values.aminmax())
    if not (low <= least and most <= high):
        raise ValueError(f"{name} must be from {low} to {high}, got values from {least} to {most}")


def _as_range(value: Any, name: str, wanted: str, above: float, most: float) -> tuple[float, float]:
    low, high = value if _is_pair(value) else (value, value)
    if not (_is_number(low) and _is_number(high)) or not above < low <= high <= most or not math.isfinite(high):
        raise ValueError(f"{name} must be {wanted}, got {value!r}")
    return float(low), float(high)


def _is_pair(value: Any) -> bool:
    return isinstance(value, (tuple, list)) and len(value) == 2


def _is_number(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)


def _is_whole(value: Any) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool)
