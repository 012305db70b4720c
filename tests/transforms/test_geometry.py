import pytest
import torch

import nda_augment as nda


@pytest.mark.parametrize("negative", [nda.Rotate90(), nda.Turn()], ids=lambda negative: negative.word)
@pytest.mark.parametrize("shape", [(2, 3, 1, 1), (2, 4, 3, 1, 1)], ids=["image", "clip"])
def test_a_single_pixel_has_no_other_side(negative: nda.NegativeTransform, shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="an image of 1x1 px looks the same from all sides"):
        negative(torch.rand(shape))


def test_quarter_turns_are_for_squares() -> None:
    with pytest.raises(ValueError, match="images of 4x6 px take half turns only, got turns=1"):
        nda.Turn(turns=1)(torch.rand(2, 3, 4, 6))


@pytest.mark.parametrize(("direction", "axis"), [("vertical", 2), ("horizontal", 3)])
def test_flips_go_the_way_they_are_told(direction: str, axis: int) -> None:
    images = torch.rand(2, 3, 4, 6)
    assert torch.equal(nda.Flip(direction)(images), images.flip(axis))
