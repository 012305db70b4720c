"""What every kernel asks of its arguments.

Shapes and dtypes are always checked. Values are looked at where that is free: on the CPU, and where nobody traces; to
ask a GPU would mean to wait for it.
"""

import torch
from torch import Tensor

# A side no longer than this, beside a longer one, is rather the channels of an image whose axes are in another order.
_MOST_CHANNELS = 4


def check_images(images: Tensor, name: str = "images") -> None:
    """Raise unless ``images`` is a float or uint8 batch ``(B, C, H, W)`` or ``(B, T, C, H, W)``."""
    if not isinstance(images, Tensor):
        raise TypeError(f"{name} must be a torch.Tensor, got {type(images).__name__}")
    if images.ndim not in (4, 5):
        raise ValueError(
            f"{name} must be (B, C, H, W), or (B, T, C, H, W) for clips, got shape {tuple(images.shape)}; "
            "add the missing dimensions with unsqueeze"
        )
    check_dtype(images, name)


def check_dtype(images: Tensor, name: str = "images") -> None:
    """Raise unless the dtype is one that images come in."""
    if not (images.is_floating_point() or images.dtype == torch.uint8):
        raise TypeError(
            f"{name} must be floating point or uint8, got {images.dtype}; convert with .float() or .to(torch.uint8)"
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
    # Four numbers an image: Python compares a batch of them faster than a tensor does.
    for x0, y0, x1, y1 in boxes.tolist():
        if not (0 <= x0 <= x1 <= width and 0 <= y0 <= y1 <= height):
            raise ValueError(
                f"boxes must be (x0, y0, x1, y1) with 0 <= x0 <= x1 <= {width} and 0 <= y0 <= y1 <= {height}, the "
                f"image's sides, got {[x0, y0, x1, y1]}"
            )


def is_plain(*tensors: Tensor) -> bool:
    """Tell whether these are tensors with values, and nobody traces what is done with them."""
    return not (torch.compiler.is_compiling() or any(map(torch._C._functorch.is_functorch_wrapped_tensor, tensors)))


def check_pool(pool: Tensor | None, images: Tensor) -> Tensor:
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


def _check_between(values: Tensor, name: str, low: float, high: float) -> None:
    if not (values.device.type == "cpu" and is_plain(values)) or not values.numel():
        return
    least, most = (extreme.item() for extreme in values.aminmax())
    if not (low <= least and most <= high):
        raise ValueError(f"{name} must be from {low} to {high}, got values from {least} to {most}")
