import pytest
import torch

import nda_augment as nda


def test_a_blur_needs_three_lines_and_four_tenths_of_a_pixel() -> None:
    images = torch.rand(2, 3, 3, 5)
    assert (nda.Blur(sigma=0.4 / 3 + 1e-6)(images) != images).flatten(1).any(1).all()
    with pytest.raises(ValueError, match=r"sigma=0\.13 is 0\.39 px of an image of 3x5 px"):
        nda.Blur(sigma=0.13)(images)
    with pytest.raises(ValueError, match=r"sigma=2\.0 is 4\.00 px of an image of 2x5 px"):
        nda.Blur(sigma=2.0)(images[..., :2, :])
