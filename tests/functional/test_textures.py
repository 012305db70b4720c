"""Texture kernels against loops over every pixel."""

import math
import re

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from nda_augment import functional, sampling
from tests.cases import DTYPES, distinct, generator

SHAPES = [(4, 3, 9, 7), (3, 2, 2, 6, 10)]


def windows_of(side: Tensor, size: tuple[int, int], *layers: int, spare: int = 0) -> Tensor:
    tiles = [-(-length // int(side.min())) + spare for length in size]
    return sampling.window_corners(side, size, *layers, *tiles, generator=generator(0))


def shown(image: Tensor, side: int, windows: list, row: int, col: int) -> Tensor:
    x, y = windows[row // side][col // side]
    return image[..., y + row % side, x + col % side]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_patch_tile_agrees_with_a_loop(shape: tuple[int, ...], dtype: torch.dtype) -> None:
    images, side = distinct(shape, dtype=dtype), torch.tensor([2, 3, 4, 2])[: shape[0]]
    windows = windows_of(side, shape[-2:])
    expected = torch.empty_like(images)
    for b, (own, corners) in enumerate(zip(side.tolist(), windows.tolist(), strict=True)):
        for row in range(shape[-2]):
            for col in range(shape[-1]):
                expected[b, ..., row, col] = shown(images[b], own, corners, row, col)
    assert torch.equal(functional.patch_tile(images, side, windows), expected)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.uint8], ids=str)
def test_texture_resample_agrees_with_a_loop(shape: tuple[int, ...], dtype: torch.dtype) -> None:
    images, side = distinct(shape, dtype=dtype), torch.tensor([2, 3, 4, 5])[: shape[0]]
    windows = windows_of(side, shape[-2:], 4, spare=1)
    expected = torch.zeros(shape, dtype=torch.float64)
    for b, (own, layers) in enumerate(zip(side.tolist(), windows.tolist(), strict=True)):
        for row in range(shape[-2]):
            for col in range(shape[-1]):
                total = 0.0
                for corners, (down, right) in zip(layers, [(0, 0), (0, 1), (1, 0), (1, 1)], strict=True):
                    y, x = row + down * (own // 2), col + right * (own // 2)
                    weight = math.prod(math.sin(math.pi * (i % own + 0.5) / own) ** 2 for i in (y, x))
                    expected[b, ..., row, col] += weight * shown(images[b], own, corners, y, x).double()
                    total += weight
                expected[b, ..., row, col] /= total
    result = functional.texture_resample(images, side, windows)
    if dtype == torch.uint8:
        assert (result - expected).abs().max() <= 0.5 + 1e-3
    else:
        assert_close(result.double(), expected, rtol=1e-5, atol=1e-5)


def test_texture_resample_stays_in_the_range_of_the_image() -> None:
    images = distinct((4, 1, 12, 12)) * 10 - 5
    side = torch.tensor([2, 3, 5, 6])
    result = functional.texture_resample(images, side, windows_of(side, (12, 12), 4, spare=1))
    assert result.min() >= images.min() - 1e-5
    assert result.max() <= images.max() + 1e-5


@pytest.mark.parametrize("corner", [[0, 3], [3, 0], [-1, 0], [0, -1]])
@pytest.mark.parametrize("kernel", [functional.patch_tile, functional.texture_resample])
def test_a_window_that_leaves_the_image_is_named(kernel, corner: list[int]) -> None:
    images, side = torch.rand(2, 1, 4, 4), torch.tensor([2, 2])
    windows = torch.zeros(2, *((4,) if kernel is functional.texture_resample else ()), 3, 3, 2, dtype=torch.long)
    assert kernel(images, side, windows).shape == images.shape
    windows[1, ..., 0, 0, :] = torch.tensor(corner)
    with pytest.raises(ValueError, match=r"windows must lie within images of 4x4 px, got [xy] from (0|-1) to [25]"):
        kernel(images, side, windows)


@pytest.mark.parametrize("tiles", [(1, 2), (2, 1)])
def test_windows_that_do_not_cover_the_image_are_named(tiles: tuple[int, int]) -> None:
    images, side = torch.rand(2, 1, 4, 4), torch.tensor([4, 2])
    with pytest.raises(ValueError, match=r"1 windows along [xy] with a side of 2 px do not cover 4 px"):
        functional.patch_tile(images, side, torch.zeros(2, *tiles, 2, dtype=torch.long))
    with pytest.raises(ValueError, match="2 windows along x with a side of 2 px do not cover 4 px"):
        functional.texture_resample(images, torch.tensor([2, 3]), torch.zeros(2, 4, 2, 2, 2, dtype=torch.long))
    with pytest.raises(ValueError, match="0 windows along x with a side of 2 px do not cover 4 px"):
        functional.patch_tile(images, side, torch.zeros(2, 2, 0, 2, dtype=torch.long))
    with pytest.raises(ValueError, match="0 windows along y with a side of 2 px do not cover 4 px"):
        functional.patch_tile(images, side, torch.zeros(2, 0, 2, 2, dtype=torch.long))
    with pytest.raises(ValueError, match="side must be at least 1 pixel, got 0"):
        functional.patch_tile(images, torch.tensor([4, 0]), torch.zeros(2, *tiles, 2, dtype=torch.long))


def test_errors() -> None:
    images, side = torch.rand(2, 3, 4, 4), torch.tensor([2, 2])
    with pytest.raises(ValueError, match=re.escape("side must have shape (2,)")):
        functional.patch_tile(images, side[:1], torch.zeros(2, 2, 2, 2).long())
    with pytest.raises(ValueError, match="windows must have shape"):
        functional.patch_tile(images, side, torch.zeros(1, 2, 2, 2).long())
    with pytest.raises(ValueError, match="windows must have shape"):
        functional.texture_resample(images, side, torch.zeros(2, 3, 3, 3, 2).long())
    for kernel, layers in ((functional.patch_tile, ()), (functional.texture_resample, (4,))):
        windows = torch.zeros(2, *layers, 3, 3, 2).long()
        with pytest.raises(ValueError, match=r"must be \(B, C, H, W\)"):
            kernel(images[0], side, windows)
    with pytest.raises(TypeError, match="floating point or uint8"):
        functional.texture_resample(images.long(), side, torch.zeros(2, 4, 3, 3, 2).long())
