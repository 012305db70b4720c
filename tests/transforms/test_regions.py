import pytest
import torch

import nda_augment as nda


@pytest.mark.parametrize("square", [False, True])
def test_a_box_has_the_fill_that_it_was_told(square: bool) -> None:
    cutout = nda.Cutout(side=0.5, fill=7.0, square=square)
    for module in (cutout, nda.Mixture([cutout, nda.Cutout(side=0.5, fill=7.0)])):
        assert ((module(torch.rand(6, 3, 8, 8)) == 7).flatten(1).sum(1) == 48).all()


def test_a_fill_of_colours_is_for_as_many_channels() -> None:
    with pytest.raises(ValueError, match=r"fill=\(0.1, 0.2, 0.3\) has 3 numbers for images of 4 channels"):
        nda.Cutout(fill=(0.1, 0.2, 0.3))(torch.rand(2, 4, 8, 8))


def test_a_square_of_one_pixel_is_its_own_mean() -> None:
    images = torch.rand(2, 3, 8, 64)
    assert (nda.Cutout(side=0.1)(images) != images).flatten(1).any(1).all()
    with pytest.raises(ValueError, match="a single pixel of a 8x64 image"):
        nda.Cutout(side=0.1, square=True)(images)


@pytest.mark.parametrize("negative", [nda.CutPaste, nda.CutPasteScar], ids=lambda negative: negative.word)
def test_jitter_changes_colours_inside_the_region_alone(negative: type[nda.NegativeTransform]) -> None:
    images, module = torch.rand(4, 3, 32, 32), negative(jitter=0.5)
    negatives, region = module(images, return_mask=True)
    params = {name: value for name, value in module._params.items() if name != "jitter"}
    plain = negative()(images, params=params)
    differs = (negatives != plain).any(1, keepdim=True)
    assert differs.flatten(1).any(1).all()
    assert not (differs & ~region).any()
