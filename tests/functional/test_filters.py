import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from kornia.filters import gaussian_blur2d
from kornia.filters import sobel as kornia_sobel
from torch.testing import assert_close

from nda_augment.functional import add_noise, blur, sobel

IMAGES = torch.rand(5, 3, 9, 8, generator=torch.Generator().manual_seed(0))


def test_noise_is_in_deviations_of_its_channel() -> None:
    noise = torch.randn(IMAGES.shape)
    noisy = add_noise(IMAGES, noise)
    for image, own, result in zip(IMAGES.flatten(0, 1), noise.flatten(0, 1), noisy.flatten(0, 1), strict=True):
        assert_close(result, image + image.std(correction=0) * own)
    assert_close(add_noise(10 * IMAGES - 4, noise), 10 * noisy - 4)


def test_noise_of_a_clip_is_that_of_its_frames() -> None:
    clips, noise = torch.rand(2, 4, 3, 5, 5), torch.randn(2, 3, 5, 5)
    for frame, noisy in zip(clips.unbind(1), add_noise(clips, noise).unbind(1), strict=True):
        assert_close(noisy, add_noise(frame, noise))


def test_a_flat_channel_gets_no_noise() -> None:
    flat = torch.full((1, 1, 4, 4), 0.5)
    assert torch.equal(add_noise(flat, torch.ones(1, 1, 4, 4)), flat)


@given(sigma=st.floats(0.03, 0.4))
def test_blur_is_kornias(sigma: float) -> None:
    side = min(2 * max(1, round(3 * sigma * 8)) + 1, 7)
    expected = gaussian_blur2d(IMAGES, (side, side), (sigma * 8, sigma * 8))
    assert_close(blur(IMAGES, sigma), expected)


def test_blur_is_a_gaussian() -> None:
    point = torch.zeros(1, 1, 33, 33)
    point[..., 16, 16] = 1
    bell = torch.exp(-0.5 * (torch.arange(33) - 16).square() / (0.06 * 33) ** 2)
    expected = bell[:, None] * bell
    assert_close(blur(point, 0.06)[0, 0], expected / expected.sum(), atol=3e-4, rtol=0)


def test_blur_keeps_the_mean_and_lowers_the_contrast() -> None:
    flat = torch.full((2, 3, 16, 16), 0.7)
    assert_close(blur(flat, 0.1), flat)
    weak, strong = (blur(IMAGES, sigma).std() for sigma in (0.05, 0.3))
    assert strong < weak < IMAGES.std()


def test_blur_fits_small_images() -> None:
    assert blur(torch.rand(2, 1, 4, 5), 0.5).shape == (2, 1, 4, 5)


def test_sobel_is_kornias() -> None:
    assert_close(sobel(IMAGES), kornia_sobel(IMAGES))
    assert sobel(torch.ones(1, 1, 4, 4)).max() < 0.01


@pytest.mark.parametrize("kernel", [sobel, lambda images: blur(images, 0.1)], ids=["sobel", "blur"])
def test_bytes_are_rounded_and_clips_are_their_frames(kernel) -> None:
    images = torch.randint(256, (2, 3, 3, 16, 16), dtype=torch.uint8)
    result = kernel(images)
    assert_close(result.float(), kernel(images.float()).round().clamp(0, 255))
    for frame, alone in zip(images.unbind(1), result.unbind(1), strict=True):
        assert torch.equal(kernel(frame), alone)


@pytest.mark.parametrize("sigma", [0.0, -1.0, float("nan")])
def test_a_deviation_is_positive(sigma: float) -> None:
    with pytest.raises(ValueError, match="sigma must be a finite number above 0"):
        blur(IMAGES, sigma)
