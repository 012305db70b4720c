"""What every kernel asks of its arguments, checked on shapes and dtypes alone so that no device is waited for."""

import torch
from torch import Tensor


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
            raise ValueError(
                f"grid={grid} does not divide the image: {parts} parts of a {axis} of {length} px; "
                f"resize the {axis} to {fitting}, or choose a grid that divides {size[0]}x{size[1]}"
            )
