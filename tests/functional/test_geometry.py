"""Kernels that move the whole image, against torch's own for one image."""

import re

import pytest
import torch

from nda_augment import functional
from tests.cases import DTYPES, distinct, generator

SHAPES = [(6, 3, 5, 5), (6, 3, 4, 7), (6, 2, 3, 5, 5)]
each_layout = pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])


def images_of(shape: tuple[int, ...], dtype: torch.dtype, memory_format: torch.memory_format) -> torch.Tensor:
    images = distinct(shape, dtype=dtype)
    return images.contiguous(memory_format=memory_format) if images.ndim == 4 else images


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@each_layout
def test_rotate90(shape: tuple[int, ...], dtype: torch.dtype, memory_format: torch.memory_format) -> None:
    images = images_of(shape, dtype, memory_format)
    turns = torch.tensor([0, 1, 2, 3, 2, 1]) if shape[-1] == shape[-2] else torch.tensor([0, 2, 2, 0, 2, 0])
    expected = torch.stack(
        [torch.rot90(image, turn, (-2, -1)) for image, turn in zip(images, turns.tolist(), strict=True)]
    )
    assert torch.equal(functional.rotate90(images, turns), expected)


def test_four_quarter_turns_are_none() -> None:
    images = distinct((3, 1, 4, 4))
    quarter = torch.ones(3, dtype=torch.long)
    turned = images
    for _ in range(4):
        turned = functional.rotate90(turned, quarter)
    assert torch.equal(turned, images)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@each_layout
def test_roll(shape: tuple[int, ...], dtype: torch.dtype, memory_format: torch.memory_format) -> None:
    images = images_of(shape, dtype, memory_format)
    shifts = torch.randint(-9, 10, (6, 2), generator=generator(0))
    expected = torch.stack(
        [image.roll((y, x), (-2, -1)) for image, (x, y) in zip(images, shifts.tolist(), strict=True)]
    )
    assert torch.equal(functional.roll(images, shifts), expected)
    assert torch.equal(functional.roll(functional.roll(images, shifts), -shifts), images)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize(("direction", "dim"), [("vertical", -2), ("horizontal", -1)])
@each_layout
def test_flip(shape: tuple[int, ...], direction: str, dim: int, memory_format: torch.memory_format) -> None:
    images = images_of(shape, torch.float32, memory_format)
    assert torch.equal(functional.flip(images, direction), images.flip(dim))
    if direction == "vertical":
        assert torch.equal(functional.flip(images), images.flip(dim))


def test_errors() -> None:
    images = torch.rand(2, 3, 4, 4)
    with pytest.raises(ValueError, match=r"direction must be one of 'vertical', 'horizontal', got 'down'"):
        functional.flip(images, "down")
    with pytest.raises(ValueError, match=re.escape("turns must have shape (2,), one entry per image, got (1,)")):
        functional.rotate90(images, torch.ones(1, dtype=torch.long))
    with pytest.raises(ValueError, match=re.escape("shifts must have shape (2, 2), one entry per image, got (2,)")):
        functional.roll(images, torch.ones(2, dtype=torch.long))
    for kernel in (
        functional.flip,
        lambda x: functional.rotate90(x, torch.ones(2, dtype=torch.long)),
        lambda x: functional.roll(x, torch.ones(2, 2, dtype=torch.long)),
    ):
        with pytest.raises(ValueError, match=r"must be \(B, C, H, W\)"):
            kernel(images[0])
        with pytest.raises(TypeError, match=r"must be a torch\.Tensor, got list"):
            kernel([images])
