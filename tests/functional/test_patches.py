"""Patch kernels against loops over every cell."""

import pytest
import torch
from torch import Tensor

from nda_augment import functional, sampling
from tests.cases import DTYPES, distinct, generator

GRIDS = [(1, 2), (2, 1), (2, 2), (3, 2), (2, 4), (6, 8)]


def cell_of(image: Tensor, cell: int, grid: tuple[int, int]) -> Tensor:
    """The view of one cell, counted row by row."""
    height, width = image.shape[-2] // grid[0], image.shape[-1] // grid[1]
    y, x = divmod(cell, grid[1])
    return image[..., y * height : (y + 1) * height, x * width : (x + 1) * width]


def shuffle_by_hand(donors: list[list[Tensor]], permutation: Tensor, grid: tuple[int, int], like: Tensor) -> Tensor:
    result = torch.empty_like(like)
    for b, order in enumerate(permutation.tolist()):
        for place, cell in enumerate(order):
            cell_of(result[b], place, grid)[:] = cell_of(donors[b][place], cell, grid)
    return result


@pytest.mark.parametrize("grid", GRIDS, ids=str)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("shape", [(5, 3, 6, 8), (2, 3, 2, 6, 8)], ids=str)
def test_jigsaw_agrees_with_a_loop(grid: tuple[int, int], dtype: torch.dtype, shape: tuple[int, ...]) -> None:
    images = distinct(shape, dtype=dtype)
    cells = grid[0] * grid[1]
    permutation = sampling.permutations(shape[0], cells, generator=generator(0))
    expected = shuffle_by_hand([[image] * cells for image in images], permutation, grid, images)
    assert torch.equal(functional.jigsaw(images, permutation, grid), expected)


@pytest.mark.parametrize("grid", GRIDS, ids=str)
def test_jigsaw_is_undone_by_the_inverse(grid: tuple[int, int]) -> None:
    images = distinct((4, 3, 6, 8))
    permutation = sampling.permutations(4, grid[0] * grid[1])
    negatives = functional.jigsaw(images, permutation, grid)
    assert torch.equal(functional.jigsaw(negatives, permutation.argsort(dim=1), grid), images)
    assert torch.equal(negatives.flatten(1).sort().values, images.flatten(1).sort().values)


def test_jigsaw_in_the_order_of_the_image_is_the_image() -> None:
    images = distinct((2, 3, 6, 8))
    assert torch.equal(functional.jigsaw(images, torch.arange(6).expand(2, 6), (3, 2)), images)


def test_jigsaw_has_derivatives() -> None:
    images = distinct((2, 1, 2, 4), dtype=torch.float64).requires_grad_()
    permutation = sampling.permutations(2, 4)
    assert torch.autograd.gradcheck(lambda x: functional.jigsaw(x, permutation), (images,))


@pytest.mark.parametrize("with_pool", [False, True])
@pytest.mark.parametrize("grid", GRIDS, ids=str)
@pytest.mark.parametrize("shape", [(5, 3, 6, 8), (3, 2, 3, 6, 8)], ids=str)
def test_cross_patch_shuffle_agrees_with_a_loop(grid: tuple[int, int], shape: tuple[int, ...], with_pool: bool) -> None:
    images, cells = distinct(shape), grid[0] * grid[1]
    pool = distinct((7, *shape[1:]), seed=1) if with_pool else None
    donors = images if pool is None else pool
    sources = torch.randint(0, len(donors), (shape[0], cells), generator=generator(1))
    permutation = sampling.permutations(shape[0], cells, generator=generator(2))
    expected = shuffle_by_hand([[donors[i] for i in row] for row in sources.tolist()], permutation, grid, images)
    assert torch.equal(functional.cross_patch_shuffle(images, sources, permutation, grid, pool=pool), expected)


@pytest.mark.parametrize(("size", "grid"), [((6, 6), (2, 2)), ((6, 8), (3, 4)), ((6, 8), (2, 2)), ((4, 4), (1, 1))])
@pytest.mark.parametrize("frames", [(), (2,)], ids=["images", "clips"])
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last], ids=["planes", "pixels"])
def test_patch_rotate_agrees_with_a_loop(size, grid, frames: tuple[int, ...], memory_format) -> None:
    images = distinct((5, *frames, 3, *size))
    if not frames:
        images = images.contiguous(memory_format=memory_format)
    cells = grid[0] * grid[1]
    square = size[0] * grid[1] == size[1] * grid[0]
    turns = torch.randint(0, 4, (5, cells), generator=generator(0)) // (1 if square else 2) * (1 if square else 2)
    expected = images.clone()
    for b, own in enumerate(turns.tolist()):
        for cell, turn in enumerate(own):
            cell_of(expected[b], cell, grid)[:] = torch.rot90(cell_of(images[b], cell, grid), turn, (-2, -1))
    assert torch.equal(functional.patch_rotate(images, turns, grid), expected)


@pytest.mark.parametrize(
    ("rate", "grid", "centre"),
    [
        (0.25, (4, 4), {(1, 1), (1, 2), (2, 1), (2, 2)}),
        (0.375, (4, 8), {(row, col) for row in (1, 2) for col in range(1, 7)}),
    ],
)
def test_patch_infill_replaces_the_centre_by_the_border(rate: float, grid: tuple[int, int], centre: set) -> None:
    images = distinct((2, 3, 8, 16))
    negatives = functional.patch_infill(images, rate)
    border = [cell for cell in range(grid[0] * grid[1]) if divmod(cell, grid[1])[0] in (0, grid[0] - 1)]
    used = []
    for cell in range(grid[0] * grid[1]):
        shown = cell_of(negatives, cell, grid)
        if divmod(cell, grid[1]) in centre:
            source = [other for other in border if torch.equal(shown, cell_of(images, other, grid))]
            assert len(source) == 1
            used += source
        else:
            assert torch.equal(shown, cell_of(images, cell, grid))
    assert len(set(used)) == len(centre) == rate * grid[0] * grid[1]


def test_patch_infill_knows_two_rates() -> None:
    with pytest.raises(ValueError, match=r"rate must be one of 0\.25, 0\.375, got 0\.5"):
        functional.patch_infill(torch.rand(1, 3, 8, 8), 0.5)
    images = distinct((2, 3, 8, 8))
    assert torch.equal(functional.patch_infill(images), functional.patch_infill(images, 0.25))


class TestJigsawErrors:
    @pytest.mark.parametrize(
        ("size", "grid", "sizes"),
        [
            ((33, 32), (2, 2), "height of 33 px; resize the height to 32 or 34, or choose a grid that divides 33x32"),
            ((32, 32), (2, 5), "width of 32 px; resize the width to 30 or 35"),
            ((2, 2), (3, 2), "height of 2 px; resize the height to 3"),
        ],
    )
    def test_a_grid_that_does_not_divide_names_sizes_that_would(self, size, grid, sizes: str) -> None:
        permutation = torch.arange(grid[0] * grid[1]).unsqueeze(0)
        with pytest.raises(ValueError, match=sizes) as caught:
            functional.jigsaw(torch.rand(1, 3, *size), permutation, grid)
        assert f"grid={grid}" in str(caught.value)
        assert "channels last" not in str(caught.value)

    @pytest.mark.parametrize("shape", [(2, 32, 32, 3), (2, 3, 32, 33)], ids=["channels last", "height last"])
    def test_channels_last_are_suspected(self, shape: tuple[int, ...]) -> None:
        with pytest.raises(ValueError, match="does not divide") as caught:
            functional.jigsaw(torch.rand(shape), torch.arange(4).expand(2, 4))
        assert ("channels last" in str(caught.value)) == (shape[-1] == 3)

    @pytest.mark.parametrize("shape", [(2, 3), (1, 4), (8,)])
    def test_shape_of_the_permutation(self, shape: tuple[int, ...]) -> None:
        with pytest.raises(ValueError, match=r"permutation must have shape \(2, 4\)") as caught:
            functional.jigsaw(torch.rand(2, 3, 4, 4), torch.zeros(shape, dtype=torch.long))
        assert str(shape) in str(caught.value)

    @pytest.mark.parametrize("shape", [(4, 4), (3, 4, 4)])
    def test_rank(self, shape: tuple[int, ...]) -> None:
        with pytest.raises(ValueError, match=r"must be \(B, C, H, W\).*unsqueeze"):
            functional.jigsaw(torch.rand(shape), torch.arange(4).unsqueeze(0))

    def test_dtype(self) -> None:
        with pytest.raises(TypeError, match=r"floating point or uint8, got torch\.int64"):
            functional.jigsaw(torch.zeros(1, 3, 4, 4, dtype=torch.long), torch.arange(4).unsqueeze(0), feather=0.5)
