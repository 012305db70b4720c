"""Kernels that move the whole image: turns, shifts, reflections."""

from torch import Tensor

from nda_augment._checks import check_images, check_index, check_parameter, check_word
from nda_augment.functional._layout import as_images, as_planes, shift
from nda_augment.functional.patches import patch_rotate

__all__ = ["flip", "roll", "rotate90"]

DIRECTIONS = ("vertical", "horizontal")


def rotate90(images: Tensor, turns: Tensor) -> Tensor:
    """Turn every image counter-clockwise by quarter turns.

    Args:
        images: Images ``(B, C, H, W)`` or clips ``(B, T, C, H, W)``, any dtype and range.
        turns: int64 ``(B,)``, number of quarter turns in 0..3. Images that are not square take 0 and 2 only, which
            keep their shape: another number is read as 2.

    Returns:
        Tensor like ``images``: same shape, dtype, device and memory format.

    Raises:
        ValueError: If a shape is wrong.
        TypeError: If the images are no tensor.

    Example:
        >>> import torch
        >>> rotate90(torch.tensor([[[[1.0, 2.0], [3.0, 4.0]]]]), torch.tensor([1]))[0, 0].tolist()
        [[2.0, 4.0], [1.0, 3.0]]
    """
    check_images(images)
    check_index(turns, "turns", (len(images),), 4)
    return patch_rotate(images, turns.unsqueeze(1), grid=(1, 1))


def roll(images: Tensor, shifts: Tensor) -> Tensor:
    """Shift every image cyclically: what leaves on one side comes back on the other.

    Args:
        images: Images ``(B, C, H, W)`` or clips ``(B, T, C, H, W)``, any dtype and range.
        shifts: int64 ``(B, 2)``, pixels to the right and pixels down, as ``(x, y)``.

    Returns:
        Tensor like ``images``: same shape, dtype, device and memory format.

    Raises:
        ValueError: If a shape is wrong.
        TypeError: If the images are no tensor.

    Example:
        >>> import torch
        >>> roll(torch.tensor([[[[1.0, 2.0, 3.0]]]]), torch.tensor([[1, 0]])).flatten().tolist()
        [3.0, 1.0, 2.0]
    """
    check_images(images)
    check_parameter(shifts, "shifts", (len(images), 2))
    return as_images(shift(as_planes(images), shifts), images)


def flip(images: Tensor, direction: str = "vertical") -> Tensor:
    """Reflect every image.

    Args:
        images: Images ``(B, C, H, W)`` or clips ``(B, T, C, H, W)``, any dtype and range.
        direction: ``"vertical"`` exchanges top and bottom, ``"horizontal"`` left and right.

    Returns:
        Tensor like ``images``: same shape, dtype, device and memory format.

    Raises:
        ValueError: If the direction is another word.
        TypeError: If the images are no tensor.

    Example:
        >>> import torch
        >>> flip(torch.tensor([[[[1.0], [2.0]]]])).flatten().tolist()
        [2.0, 1.0]
    """
    check_images(images)
    check_word(direction, "direction", DIRECTIONS)
    return as_images(as_planes(images).flip(2 + DIRECTIONS.index(direction)), images)
