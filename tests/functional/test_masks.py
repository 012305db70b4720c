"""Masks against their definitions, pixel by pixel."""

import math

import pytest
import torch

from nda_augment import sampling
from nda_augment.functional import masks
from nda_augment.functional.fields import perlin_noise
from tests.cases import generator

SIZE = (8, 11)


def boxes(batch: int = 12) -> torch.Tensor:
    return sampling.boxes(batch, SIZE, side=(0.1, 1.0), generator=generator(0))


def test_box() -> None:
    mask = masks.box(boxes(), SIZE)
    assert mask.shape == (12, 1, *SIZE)
    for b, (x0, y0, x1, y1) in enumerate(boxes().tolist()):
        for y in range(SIZE[0]):
            for x in range(SIZE[1]):
                assert bool(mask[b, 0, y, x]) == (x0 <= x < x1 and y0 <= y < y1)


@pytest.mark.parametrize("feather", [0.0, 0.3, 1.0])
def test_soft_box(feather: float) -> None:
    soft = masks.soft_box(boxes(), SIZE, feather)
    assert torch.equal(soft > 0, masks.box(boxes(), SIZE))
    assert soft.max() <= 1
    for b, (x0, y0, x1, y1) in enumerate(boxes().tolist()):
        for y in range(y0, y1):
            for x in range(x0, x1):
                depth_y, depth_x = min(y + 0.5 - y0, y1 - y - 0.5), min(x + 0.5 - x0, x1 - x - 0.5)
                rise_y, rise_x = (max(feather * side / 2, 0.5) for side in (y1 - y0, x1 - x0))
                expected = min(depth_y / rise_y, 1) * min(depth_x / rise_x, 1)
                assert float(soft[b, 0, y, x]) == pytest.approx(expected, abs=1e-5)


def test_a_hard_box_has_no_ramp() -> None:
    assert torch.equal(masks.soft_box(boxes(), SIZE, 0.0) > 0.999, masks.box(boxes(), SIZE))


@pytest.mark.parametrize("angle", [0.0, math.pi / 2, 0.4, -1.1])
@pytest.mark.parametrize("extent", [(1, 1), (5, 1), (4, 3)], ids=str)
def test_strip(angle: float, extent: tuple[int, int]) -> None:
    centre = (4, 3)
    mask = masks.strip(torch.tensor([centre]), torch.tensor([extent]), torch.tensor([angle]), SIZE)
    assert mask[0, 0, 3, 4]
    for y in range(SIZE[0]):
        for x in range(SIZE[1]):
            along = math.cos(angle) * (x - centre[0]) + math.sin(angle) * (y - centre[1])
            across = math.cos(angle) * (y - centre[1]) - math.sin(angle) * (x - centre[0])
            near = min(abs(abs(along) - extent[0] / 2), abs(abs(across) - extent[1] / 2))
            if near > 1e-4:  # on the very edge the last bit decides
                assert bool(mask[0, 0, y, x]) == (abs(along) <= extent[0] / 2 and abs(across) <= extent[1] / 2)


def test_a_strip_of_any_angle_is_never_empty() -> None:
    angles = torch.linspace(-math.pi, math.pi, 64)
    corner = torch.zeros(64, 2, dtype=torch.long)
    assert masks.strip(corner, torch.ones(64, 2), angles, SIZE)[:, 0, 0, 0].all()


@pytest.mark.parametrize("threshold", [-1.0, 0.0, 0.5, 2.0])
@pytest.mark.parametrize("size", [(1, 2), (2, 2), (5, 5), SIZE, (40, 40)], ids=str)
def test_perlin_is_the_noise_above_the_threshold_and_never_empty(size: tuple[int, int], threshold: float) -> None:
    angles = torch.rand(32, 5, 5, generator=generator(0)) * 2 * math.pi
    frequencies, rotations = torch.full((32, 2), 2), torch.rand(32, generator=generator(1))
    mask = masks.perlin(angles, frequencies, rotations, size, threshold=threshold)
    noise = perlin_noise(angles, frequencies, rotations, size)
    least = math.ceil(0.02 * size[0] * size[1])
    for own, values in zip(mask[:, 0], noise, strict=True):
        above = values >= threshold
        assert own.sum() >= least
        assert (own | ~above).all()
        if above.sum() >= least:
            assert torch.equal(own, above)
        else:
            assert own.sum() == least or len(values.unique()) < values.numel()
            assert values[own].min() >= values[~own].max()


def test_perlin_islands_are_above_a_half_by_default() -> None:
    lattice = torch.rand(32, 5, 5, generator=generator(0)) * 6, torch.full((32, 2), 2), torch.zeros(32)
    assert torch.equal(masks.perlin(*lattice, (40, 40)), masks.perlin(*lattice, (40, 40), threshold=0.5, least=0.02))


def test_the_far_ends_of_a_strip_are_open() -> None:
    across = masks.strip(torch.tensor([[4, 2]]), torch.tensor([[4, 2]]), torch.zeros(1), (5, 9))[0, 0]
    assert across.nonzero().tolist() == [[row, col] for row in (1, 2) for col in (2, 3, 4, 5)]
