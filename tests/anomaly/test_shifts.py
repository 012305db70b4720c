import pytest
import torch

from nda_augment import Blur, Noise, Swap, Turn, functional
from nda_augment.anomaly import BANKS, cut_perms, rotations

IMAGES = torch.rand(5, 3, 8, 8, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("turns", [1, 2, 3])
def test_turns_are_those_of_the_kernel(turns) -> None:
    assert torch.equal(Turn(turns)(IMAGES), functional.rotate90(IMAGES, torch.full((5,), turns)))


@pytest.mark.parametrize("swap", [1, 2, 3])
def test_swaps_are_rolls_by_half(swap) -> None:
    rolled = IMAGES
    if swap & 1:
        rolled = rolled.roll(4, dims=3)
    if swap & 2:
        rolled = rolled.roll(4, dims=2)
    assert torch.equal(Swap(swap)(IMAGES), rolled)


@pytest.mark.parametrize("bank", sorted(BANKS))
def test_banks_are_lists_of_their_own_and_change_every_image(bank) -> None:
    shifts = BANKS[bank]()
    assert shifts
    assert shifts[0] is not BANKS[bank]()[0]
    for shift in shifts:
        shifted = shift(IMAGES)
        assert shifted.shape == IMAGES.shape
        assert (shifted != IMAGES).flatten(1).any(dim=1).all()


@pytest.mark.parametrize("bank", [rotations, cut_perms])
def test_shifts_of_a_bank_differ_from_each_other(bank) -> None:
    shifted = torch.stack([IMAGES, *(shift(IMAGES) for shift in bank())])
    for one in range(4):
        for other in range(one):
            assert not torch.equal(shifted[one], shifted[other])


@pytest.mark.parametrize("bank", ["rotation", "cut_perm", "blur", "sobel"])
def test_these_banks_draw_nothing(bank) -> None:
    state = torch.get_rng_state()
    for shift in BANKS[bank]():
        assert torch.equal(shift(IMAGES), shift(IMAGES))
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Turn(0), "turns must be one of 1, 2, 3, got 0"),
        (lambda: Swap(4), "swap must be one of 1, 2, 3, got 4"),
        (lambda: Noise(0.0), "std must be a finite number above 0"),
        (lambda: Blur(-1.0), "sigma must be a finite number above 0"),
        (lambda: Turn(1)(torch.rand(2, 3, 8, 4)), "images of 8x4 px take half turns only, got turns=1"),
    ],
    ids=["turns", "swap", "std", "sigma", "oblong"],
)
def test_arguments_are_checked(build, message) -> None:
    with pytest.raises(ValueError, match=message):
        build()


def test_an_oblong_image_takes_a_half_turn() -> None:
    images = torch.rand(2, 3, 8, 4)
    assert torch.equal(Turn(2)(images), images.flip(2, 3))
