import re

import pytest
import torch

import nda_augment as nda


def test_two_lines_have_two_halves_and_one_has_none() -> None:
    images = torch.rand(4, 3, 2, 1)
    assert (nda.Stitch(axis="horizontal")(images) != images).flatten(1).any(1).all()
    for axis in ("vertical", "random"):
        message = f"an image of 2x1 px has no two halves along axis={axis!r}"
        with pytest.raises(ValueError, match=re.escape(message)):
            nda.Stitch(axis=axis)(images)
        with pytest.raises(ValueError, match=re.escape(message)):
            nda.Stitch(axis=axis)(torch.rand(4, 5, 3, 2, 1))


@pytest.mark.parametrize("feather", [0.0, 0.5])
@pytest.mark.parametrize(("axis", "keep"), [("horizontal", "first"), ("vertical", "second")])
def test_the_share_of_a_stitch_is_the_area_that_is_its_own(axis: str, keep: str, feather: float) -> None:
    stitch = nda.Stitch(axis=axis, keep=keep, feather=feather)
    negatives, shares = stitch(torch.ones(1, 1, 8, 12), pool=torch.zeros(1, 1, 8, 12), return_weight=True)
    assert shares.item() == pytest.approx(negatives.mean().item())
    assert shares.item() == 0.5 or feather


@pytest.mark.parametrize("size", [(6, 8), (8, 6), (7, 8), (8, 7), (7, 9)], ids=str)
@pytest.mark.parametrize("leading", [(2, 3), (2, 5, 3)], ids=["images", "clips"])
def test_a_stitch_is_four_quarters_where_both_sides_are_even(size: tuple[int, int], leading: tuple[int, ...]) -> None:
    stitch, shape = nda.Stitch(), (*leading, *size)
    params = stitch.draw(shape)
    assert (stitch.cells(shape, params) is None) == any(side % 2 for side in size)
    assert stitch.cells(shape, {**params, "pool": torch.rand(shape)}) is None
    assert nda.Stitch(feather=0.5).cells(shape, params) is None
