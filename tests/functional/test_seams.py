"""Seams that are blended, or lie anywhere, against a loop over every pixel."""

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

import nda_augment as nda
from nda_augment import functional, sampling
from nda_augment.functional import masks, seams
from tests.cases import distinct, generator


def presence(length: int, cells: int, feather: float, *, wrap: bool) -> list[list[tuple[int, float, int]]]:
    """For each place along a side: the cells that count, how much, and how far into them it lies.

    A cell's weight is 1/2 at its border and falls or rises along a line of ``feather`` cells' sides about it.
    """
    side = length // cells
    rows = []
    for place in range(length):
        found = []
        for cell in range(-1, cells + 1):
            inside = place - cell * side
            depth = min(inside + 0.5, side - inside - 0.5)
            weight = min(max(0.5 + depth / (feather * side), 0.0), 1.0)
            if wrap:
                found.append((cell % cells, weight, inside))
            elif 0 <= cell < cells:
                at_border = (cell == 0 and inside < side / 2) or (cell == cells - 1 and inside >= side / 2)
                found.append((cell, 1.0 if at_border and 0 <= inside < side else weight, inside))
        rows.append([one for one in found if one[1] > 0])
    return rows


def feathered_by_hand(images: Tensor, permutation: Tensor, grid: tuple[int, int], feather: float, wrap: bool) -> Tensor:
    height, width = images.shape[-2:]
    cell_height, cell_width = height // grid[0], width // grid[1]
    result = torch.zeros_like(images, dtype=torch.float64)
    down, right = (
        presence(length, cells, feather, wrap=wrap) for length, cells in zip((height, width), grid, strict=True)
    )
    for image, order in enumerate(permutation.tolist()):
        for y in range(height):
            for x in range(width):
                for row, row_weight, inside_y in down[y]:
                    for col, col_weight, inside_x in right[x]:
                        source_row, source_col = divmod(order[row * grid[1] + col], grid[1])
                        at = (source_row * cell_height + inside_y, source_col * cell_width + inside_x)
                        at = tuple(
                            place % length if wrap else min(max(place, 0), length - 1)
                            for place, length in zip(at, (height, width), strict=True)
                        )
                        result[image, ..., y, x] += row_weight * col_weight * images[image, ..., at[0], at[1]]
    return result


@pytest.mark.parametrize("wrap", [False, True], ids=["border", "torus"])
@pytest.mark.parametrize("feather", [0.3, 1.0])
@pytest.mark.parametrize(("size", "grid"), [((8, 8), (2, 2)), ((6, 8), (1, 2)), ((6, 9), (2, 3))], ids=str)
def test_feathered_jigsaw_agrees_with_a_loop(size, grid: tuple[int, int], feather: float, wrap: bool) -> None:
    images = distinct((3, 2, *size), dtype=torch.float64)
    permutation = sampling.permutations(3, grid[0] * grid[1], generator=generator(0))
    stay = torch.zeros(3, 2, dtype=torch.long) if wrap else None
    result = functional.jigsaw(images, permutation, grid, shifts=stay, feather=feather)
    assert_close(result, feathered_by_hand(images, permutation, grid, feather, wrap))


def test_a_narrow_feather_is_a_hard_edge() -> None:
    images, permutation = distinct((4, 3, 8, 8)), sampling.permutations(4, 4)
    assert torch.equal(functional.jigsaw(images, permutation, feather=1e-3), functional.jigsaw(images, permutation))


def test_a_feathered_order_of_the_image_is_the_image() -> None:
    images, order = distinct((2, 3, 8, 8), dtype=torch.uint8), torch.arange(4).expand(2, 4)
    assert torch.equal(functional.jigsaw(images, order, feather=0.8), images)


def test_a_jigsaw_elsewhere_is_a_jigsaw_of_the_rolled_image() -> None:
    images, permutation = distinct((5, 3, 8, 12)), sampling.permutations(5, 4)
    corners, shifts = torch.randint(12, (5, 2)), torch.randint(12, (5, 2))
    expected = []
    for image, order, (x, y), (right, down) in zip(images, permutation, corners.tolist(), shifts.tolist(), strict=True):
        cut = functional.jigsaw(image.roll((-y, -x), (1, 2)).unsqueeze(0), order.unsqueeze(0))[0]
        expected.append(cut.roll((y + down, x + right), (1, 2)))
    assert torch.equal(functional.jigsaw(images, permutation, corners=corners, shifts=shifts), torch.stack(expected))


@pytest.mark.parametrize("feather", [0.0, 0.4, 1.0])
@pytest.mark.parametrize("size", [(4, 6), (5, 7)], ids=str)
def test_soft_half(size: tuple[int, int], feather: float) -> None:
    for axis in (0, 1):
        for keep in (0, 1):
            soft = seams.soft_half(torch.tensor([axis]), torch.tensor([keep]), size, feather)[0, 0]
            cut = size[axis] // 2
            half = cut if keep else size[axis] - cut
            for place, line in enumerate(soft.unbind(axis)):
                depth = (cut - place if keep else place - cut + 1) - 0.5
                weight = min(max(depth / max(feather * half, 0.5), 0.0), 1.0)
                assert_close(line, torch.full_like(line, weight))


def test_the_partner_fades_in() -> None:
    images = torch.stack([torch.zeros(1, 8, 8), torch.ones(1, 8, 8)])
    other, boxes = torch.tensor([1, 0]), torch.tensor([[1, 2, 7, 6]]).expand(2, 4)
    axis, keep = torch.tensor([0, 1]), torch.tensor([1, 0])
    stitched = functional.stitch(images, other, axis, keep, feather=0.5)
    assert_close(stitched[0], seams.soft_half(axis, keep, (8, 8), 0.5)[0])
    assert_close(functional.cutmix(images, other, boxes, feather=0.7)[0], masks.soft_box(boxes, (8, 8), 0.7)[0])


def test_a_copy_fades_in() -> None:
    image = torch.zeros(1, 1, 8, 16)
    image[..., 8:] = 1.0
    boxes, shifts = torch.tensor([[1, 1, 7, 7]]), torch.tensor([[8, 0]])
    pasted = functional.cut_paste(image, boxes, shifts, feather=1.0)
    assert_close(pasted[..., :8], masks.soft_box(boxes, (8, 8), 1.0))


@pytest.mark.parametrize("feather", [-0.1, 1.5, float("nan")])
def test_a_feather_out_of_bounds_is_named(feather: float) -> None:
    images, zeros = torch.rand(2, 1, 4, 4), torch.zeros(2, dtype=torch.long)
    boxes, shifts = torch.tensor([[0, 0, 2, 2]]).expand(2, 4), torch.ones(2, 2, dtype=torch.long)
    for kernel, parameters in (
        (functional.jigsaw, (torch.zeros(2, 4, dtype=torch.long),)),
        (functional.stitch, (zeros, zeros, zeros)),
        (functional.cutmix, (zeros, boxes)),
        (functional.cut_paste, (boxes, shifts)),
    ):
        with pytest.raises(ValueError, match=r"feather must be in \[0, 1\]"):
            kernel(images, *parameters, feather=feather)


class TestRandomOffset:
    """No jigsaw is undone, nor nearly, and no seam has a place of its own."""

    def test_is_no_small_shift_of_its_source(self) -> None:
        image = torch.arange(256.0).view(1, 1, 16, 16)
        negatives = nda.Jigsaw(offset="random")(image.expand(3000, 1, 16, 16), generator=generator(0))
        for down in (-1, 0, 1):
            for right in (-1, 0, 1):
                shifted = image.roll((down, right), (2, 3))
                assert not (negatives == shifted).flatten(1).all(1).any()

    def test_seams_are_everywhere(self) -> None:
        columns = torch.arange(8.0).view(1, 1, 1, 8).expand(2000, 1, 8, 8)
        torn = nda.Jigsaw(offset="random")(columns, generator=generator(0)).diff(dim=3) % 8 != 1
        shares = torn.double().mean(dim=(0, 1, 2))
        assert shares.min() > 0.8 * shares.max() > 0.05

    def test_is_drawn_per_image(self) -> None:
        params = nda.Jigsaw(grid=(2, 4), offset="random").draw((500, 3, 8, 24), generator=generator(0))
        assert params["corners"].amax(0).tolist() == [23, 7]
        assert params["corners"].amin(0).tolist() == [0, 0]
        assert params["shifts"].amin(0).tolist() == [2, 1]
        assert params["shifts"].amax(0).tolist() == [4, 3]

    def test_needs_cells_to_move_in(self) -> None:
        with pytest.raises(ValueError, match="cells of at least 2x2 px, got 1x2 from a grid of 4x2 on 4x4 px"):
            nda.Jigsaw(grid=(4, 2), offset="random")(torch.rand(2, 1, 4, 4))

    @pytest.mark.parametrize("policy", ["patchshuffle(grid=2x2,offset=random)", "cutperm(offset=random,feather=0.5)"])
    def test_is_a_jigsaws_kin_s_as_well(self, policy: str) -> None:
        assert str(nda.from_policy(policy)) == policy
        assert nda.from_policy(policy).draw((4, 1, 8, 8)).keys() >= {"0.corners", "0.shifts"}
