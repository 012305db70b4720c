import pytest
import torch

import nda_augment as nda


def test_colours_are_of_three_channels() -> None:
    with pytest.raises(ValueError, match=r"^RandomFieldColor needs 3 channels, got images of shape \(2, 4, 8, 8\)"):
        nda.RandomFieldColor()(torch.rand(2, 4, 8, 8))


@pytest.mark.parametrize("correlation", [0.009, 10.1, "wide"])
def test_a_correlation_that_is_none_is_named(correlation: float) -> None:
    message = rf"^correlation must be a fraction of the sides in \[0.01, 10\], got {correlation!r}"
    for negative in (nda.RandomFieldWarp, nda.RandomFieldColor):
        with pytest.raises(ValueError, match=message):
            negative(correlation=correlation)
        assert negative(correlation=0.01).correlation == 0.01
        assert negative(correlation=10).correlation == 10.0
