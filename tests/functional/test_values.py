"""Values of parameters that no image has are refused, where it is free to look at them."""

import pytest
import torch

from nda_augment import functional
from tests.cases import distinct

IMAGES = distinct((2, 1, 4, 4))
CLIPS = distinct((2, 3, 1, 4, 4))
OTHER = torch.tensor([1, 0])
ONES = torch.ones(2)
BOX = torch.tensor([[0, 0, 2, 2], [1, 1, 3, 3]])
STAY = torch.zeros(2, 2, dtype=torch.long)
NOISE = torch.zeros(2, 5, 5), torch.full((2, 2), 2), torch.zeros(2)


def order(*cells: int) -> torch.Tensor:
    return torch.tensor([[0, 1, 2, 3], list(cells)])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: functional.jigsaw(IMAGES, order(1, 0, 2, 4)),
            "permutation must be from 0 to 3, got .* to 4",
        ),
        (lambda: functional.jigsaw(IMAGES, order(1, 0, 2, -1)), "permutation must be from 0 to 3, .* from -1 to 3"),
        (
            lambda: functional.cross_patch_shuffle(IMAGES, order(0, 1, 2, 0), order(0, 1, 2, 3), (2, 2)),
            "sources .* to 1,",
        ),
        (
            lambda: functional.cross_patch_shuffle(IMAGES, 0 * order(0, 1, 2, 3), order(0, 1, 2, 9), (2, 2)),
            "permutation .* to 3,",
        ),
        (lambda: functional.patch_rotate(IMAGES, order(1, 2, 3, 4), (2, 2)), "turns must be from 0 to 3"),
        (
            lambda: functional.rotate90(IMAGES, torch.tensor([1, 5])),
            "turns must be from 0 to 3, got .* to 5",
        ),
        (
            lambda: functional.frame_shuffle(CLIPS, torch.tensor([[0, 1, 2], [1, 2, 3]])),
            "permutation must be from 0 to 2",
        ),
        (lambda: functional.clip_stitch(CLIPS, torch.tensor([1, 2])), "partners must be from 0 to 1"),
        (lambda: functional.stitch(IMAGES, torch.tensor([1, -1]), OTHER, OTHER), "partners must be from 0 to 1, .* -1"),
        (lambda: functional.stitch(IMAGES, OTHER, torch.tensor([0, 2]), OTHER), "axis must be from 0 to 1"),
        (lambda: functional.stitch(IMAGES, OTHER, OTHER, torch.tensor([0, 2])), "keep must be from 0 to 1"),
        (lambda: functional.stitch(IMAGES, torch.tensor([3, 0]), OTHER, OTHER, pool=IMAGES[:1]), "partners .* 0 to 0"),
        (lambda: functional.mixup(IMAGES, OTHER, torch.tensor([0.5, 2.0])), r"weights must be from 0 to 1, .* to 2.0"),
        (
            lambda: functional.mixup(IMAGES, OTHER, torch.tensor([0.5, torch.nan])),
            "weights must be from 0 to 1.* nan",
        ),
        (lambda: functional.cutmix(IMAGES, OTHER, BOX + 2), r"boxes must be .* got \[3, 3, 5, 5\]"),
        (lambda: functional.cutout(IMAGES, BOX - 1), r"0 <= x0 <= x1 <= 4 and .* got \[-1, -1, 1, 1\]"),
        (lambda: functional.cutout(IMAGES[:1], BOX[1:] - 2), r"got \[-1, -1, 1, 1\]"),
        (lambda: functional.cut_paste(IMAGES, BOX.flip(1), STAY), "boxes must be"),
        (lambda: functional.cut_paste_foreign(IMAGES, OTHER, BOX * 3, STAY, ONES), "boxes must be"),
        (lambda: functional.cut_paste_foreign(IMAGES, OTHER + 1, BOX, STAY, ONES), "partners must be"),
        (lambda: functional.cut_paste_foreign(IMAGES, OTHER, BOX, STAY, -ONES), "weights must be from 0 to 1"),
        (lambda: functional.perlin_blend(IMAGES, OTHER + 1, *NOISE, ONES), "partners must be"),
        (lambda: functional.perlin_blend(IMAGES, OTHER, *NOISE, 2 * ONES), "weights must be from 0 to 1"),
        (lambda: functional.other_class(torch.tensor([0, 5]), OTHER, 3), "labels must be from 0 to 2, .* to 5"),
        (lambda: functional.other_class(OTHER, torch.tensor([1, 3]), 3), "offsets must be from 0 to 2, .* to 3"),
    ],
    ids=range(25),
)
def test_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_a_box_is_wide_and_high_in_its_own_directions():
    wide = distinct((1, 1, 2, 6))
    assert functional.cutout(wide, torch.tensor([[4, 0, 6, 2]])).shape == wide.shape
    with pytest.raises(ValueError, match="x1 <= 6 and 0 <= y0 <= y1 <= 2"):
        functional.cutout(wide, torch.tensor([[0, 4, 2, 6]]))


@pytest.mark.parametrize(
    "box", [[-1, 0, 2, 2], [0, -1, 2, 2], [2, 0, 1, 2], [0, 2, 2, 1], [0, 0, 5, 2], [0, 0, 2, 5]], ids=str
)
def test_each_side_of_a_box_counts(box):
    for others in ([], [[0, 0, 2, 2]], 80 * [[0, 0, 4, 4]]):
        with pytest.raises(ValueError, match="boxes must be"):
            functional.cutout(IMAGES[:1].repeat(1 + len(others), 1, 1, 1), torch.tensor([*others, box]))


def test_borders_are_allowed():
    whole = torch.tensor([[0, 0, 4, 4], [4, 4, 4, 4]])
    assert torch.equal(functional.cutmix(IMAGES, OTHER, whole)[0], IMAGES[1])
    assert torch.equal(functional.mixup(IMAGES, OTHER, torch.tensor([0.0, 1.0])), IMAGES[[1, 1]])


def test_an_empty_batch_has_nothing_to_refuse():
    assert functional.stitch(IMAGES[:0], *(OTHER[:0] for _ in range(3))).shape == (0, 1, 4, 4)
