import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from kornia.filters import sobel
from torch.nn import functional as F

from nda_augment import functional
from nda_augment.anomaly import BANKS, Blur, Noise, Sobel, Swap, Turn, cut_perms, rotations

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
    if bank != "cut_perm":  # which draws a swap, and takes another
        assert torch.equal(torch.get_rng_state(), state)


@given(st.floats(0.05, 2.0))
def test_noise_has_its_deviation(std) -> None:
    images = torch.zeros(4, 3, 64, 64)
    noise = Noise(std)(images, generator=torch.Generator().manual_seed(0))
    assert noise.std().item() == pytest.approx(std, rel=0.03)
    assert abs(noise.mean().item()) < 0.02 * std
    assert not torch.equal(noise[0], noise[1])


def test_noise_is_replayed() -> None:
    noise = Noise()
    noisy = noise(IMAGES)
    assert torch.equal(noise(IMAGES, params=noise._params), noisy)


@pytest.mark.parametrize("shift", [Noise(20.0), Blur(), Sobel()], ids=["noise", "blur", "sobel"])
def test_bytes_are_rounded_and_held_to_their_range(shift) -> None:
    images = torch.randint(256, (2, 3, 16, 16), dtype=torch.uint8)
    images[:, :, :2], images[:, :, 2:4] = 0, 255
    shifted = shift(images)
    assert shifted.dtype == torch.uint8
    expected = shift(images.float(), params=shift._params)
    torch.testing.assert_close(shifted.float(), expected.round().clamp(0, 255))


def test_blur_keeps_the_mean_and_lowers_the_contrast() -> None:
    flat = torch.full((2, 3, 16, 16), 0.7)
    torch.testing.assert_close(Blur(0.1)(flat), flat)
    weak, strong = (Blur(sigma)(IMAGES).std() for sigma in (0.05, 0.3))
    assert strong < weak < IMAGES.std()


def test_blur_is_a_gaussian() -> None:
    point = torch.zeros(1, 1, 33, 33)
    point[..., 16, 16] = 1
    sigma = 0.06 * 33
    bell = torch.exp(-0.5 * (torch.arange(33) - 16).square() / sigma**2)
    expected = bell[:, None] * bell
    torch.testing.assert_close(Blur(0.06)(point)[0, 0], expected / expected.sum(), atol=3e-4, rtol=0)


def test_blur_fits_small_images() -> None:
    assert Blur(0.5)(torch.rand(2, 1, 4, 5)).shape == (2, 1, 4, 5)


def test_sobel_is_kornias() -> None:
    assert torch.equal(Sobel()(IMAGES), sobel(IMAGES))
    assert Sobel()(F.pad(torch.ones(1, 1, 4, 4), (0, 0))).abs().max() < 0.01


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Turn(0), "turns must be 1, 2 or 3 quarters, got 0"),
        (lambda: Swap(4), "swap must be 1, 2 or 3, got 4"),
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
