"""Corruptions against what they are said to do, written out."""

import re
from typing import Any

import kornia
import pytest
import torch
from torch.testing import assert_close

import nda_augment as nda
from nda_augment import Corruption, from_policy, functional
from nda_augment.transforms.corruptions import CORRUPTIONS
from tests.cases import distinct, generator
from tests.properties import assert_same_pixels

IMAGES = distinct((3, 3, 24, 32))
each_kind = pytest.mark.parametrize("kind", CORRUPTIONS)


def drawn(kind: str, **settings: Any) -> Any:
    return Corruption(kind, **settings)(IMAGES, generator=generator(0))


def test_point_by_point_they_are_their_formulas() -> None:
    module = Corruption("noise", amount=0.3)
    noisy = module(IMAGES, generator=generator(0))
    assert_close(noisy, (IMAGES + 0.3 * module._params["draws"]).clamp(0, 1))
    assert_close(drawn("darkness", amount=0.3), 0.3 * IMAGES)
    assert_close(drawn("brightness", amount=0.3), (IMAGES + 0.3).clamp(max=1))
    grey = 0.299 * IMAGES[:, 0] + 0.587 * IMAGES[:, 1] + 0.114 * IMAGES[:, 2]
    mean = grey.mean(dim=(1, 2)).view(3, 1, 1, 1)
    assert_close(drawn("contrast", amount=0.3), mean + 0.3 * (IMAGES - mean))
    assert_close(drawn("blur", amount=0.05), functional.blur(IMAGES, 0.05).clamp(0, 1))


def test_salt_and_pepper_replace_whole_pixels_as_often_as_they_say() -> None:
    images = torch.full((1, 3, 200, 200), 0.5)
    spoiled = Corruption("salt_and_pepper", amount=0.2)(images, generator=generator(0))
    assert set(spoiled.unique().tolist()) == {0.0, 0.5, 1.0}
    assert (spoiled.amax(1) == spoiled.amin(1)).all()
    for value in (0.0, 1.0):
        assert abs((spoiled == value).double().mean().item() - 0.1) < 0.01


def test_motion_smears_a_point_along_a_diagonal() -> None:
    point = torch.zeros(1, 1, 33, 33)
    point[..., 16, 16] = 1.0
    smeared = Corruption("motion_blur", amount=7 / 33)(point)[0, 0]
    rows, cols = (smeared > 0.02).nonzero().unbind(1)
    assert smeared.sum().item() == pytest.approx(1.0, abs=0.05)
    assert rows.max() - rows.min() >= 4
    along = torch.stack([(rows - 16) - (cols - 16), (rows - 16) + (cols - 16)])
    assert along.abs().amax(dim=1).min() <= 1, "all of it lies near one diagonal"
    assert_close(smeared, smeared.rot90(2), atol=1e-3, rtol=0)  # to both sides alike


@pytest.mark.parametrize(("amount", "size"), [(5 / 24, 5), (6.9 / 24, 7), (8 / 24, 9), (0.01, 3)])
def test_motion_is_as_long_as_the_nearest_odd_number(amount: float, size: int) -> None:
    smeared = kornia.filters.motion_blur(IMAGES, size, 45.0, 0.0, border_type="replicate", mode="bilinear")
    assert_close(drawn("motion_blur", amount=amount), smeared.clamp(0, 1))


def test_rounding_may_leave_the_range_by_a_thousandth() -> None:
    module, images = Corruption("darkness", value_range=(0.0, 200.0)), torch.full((1, 1, 2, 2), 100.0)
    for within, beyond in ((-0.19, -0.21), (200.19, 200.21)):
        images[..., 0, 0] = within
        module(images)
        images[..., 0, 0] = beyond
        with pytest.raises(ValueError, match="must lie in value_range"):
            module(images)


def test_noise_may_be_stronger_than_the_range_is_wide() -> None:
    assert Corruption("noise", amount=1.5)(IMAGES).shape == IMAGES.shape


def test_pixelation_leaves_so_many_pixels() -> None:
    coarse = Corruption("pixelate", amount=0.25)(distinct((1, 1, 32, 32)))
    assert len(coarse.unique()) == 64
    assert (coarse[..., ::4, ::4] == coarse[..., 3::4, 3::4]).all()


def test_jpeg_is_kornias_codec_for_colours_and_greys() -> None:
    coded = kornia.enhance.jpeg_codec_differentiable(IMAGES, torch.tensor([20.0]))
    assert_close(drawn("jpeg", severity=3), coded[..., :24, :32].clamp(0, 1))
    grey = IMAGES[:, :1]
    coloured = Corruption("jpeg")(grey.expand(-1, 3, -1, -1))
    assert_close(Corruption("jpeg")(grey), coloured.mean(1, keepdim=True), atol=1e-5, rtol=0)


@each_kind
def test_they_grow_with_the_severity_and_repeat(kind: str) -> None:
    smooth = functional.blur(distinct((2, 3, 48, 64)), 0.05)
    changes = []
    for severity in (1, 2, 3, 4, 5):
        module = Corruption(kind, severity)
        corrupted = module(smooth, generator=generator(0))
        assert (corrupted.shape, corrupted.dtype) == (smooth.shape, smooth.dtype)
        assert corrupted.min() >= 0
        assert corrupted.max() <= 1
        assert torch.equal(module(smooth, params=module._params), corrupted)
        changes.append((corrupted - smooth).abs().mean().item())
    assert changes == sorted(set(changes))
    assert changes[0] > 0


@each_kind
def test_bytes_other_ranges_clips_and_layouts_are_corrupted_alike(kind: str) -> None:
    module = Corruption(kind)
    pixels = (255 * IMAGES).round()
    expected = module(pixels / 255, generator=generator(0))
    assert_close(module(pixels.to(torch.uint8), generator=generator(0)).float(), 255 * expected, atol=0.51, rtol=0)
    signed = Corruption(kind, value_range=(-1, 1))(pixels / 127.5 - 1, generator=generator(0))
    assert_close((signed + 1) / 2, expected, atol=1e-4, rtol=1e-4)
    clips = module((pixels / 255).unsqueeze(1).expand(-1, 2, -1, -1, -1), generator=generator(0))
    for frame in clips.unbind(1):
        assert_same_pixels(frame, expected)
    last = (pixels / 255).contiguous(memory_format=torch.channels_last)
    assert module(last, generator=generator(0)).is_contiguous(memory_format=torch.channels_last)
    assert module(IMAGES[:0]).shape == IMAGES[:0].shape


def test_a_policy_names_them_and_an_audit_takes_them() -> None:
    policy = "corruption(severity=5),corruption(kind=jpeg,amount=10.0)"
    assert str(from_policy(policy)) == policy
    assert nda.Mixture([Corruption("noise"), nda.Jigsaw()])(IMAGES).shape == IMAGES.shape


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Corruption("blurr"), "kind must be one of"),
        (lambda: Corruption("blur", 6), "severity must be one of 1, 2, 3, 4, 5, got 6"),
        (lambda: Corruption("darkness", amount=1.5), "amount of darkness must be at most 1, got 1.5"),
        (lambda: Corruption("jpeg", amount=0), "amount must be a finite number above 0, got 0"),
        (lambda: Corruption("noise", value_range=(1, 1)), "value_range must be two numbers low < high"),
        (lambda: Corruption("noise")(IMAGES * 255), "must lie in value_range=(0.0, 1.0), got values from 0 to 255"),
        (lambda: Corruption("jpeg")(IMAGES[:, :2]), "jpeg takes images of 1 or 3 channels, got 2"),
    ],
)
def test_what_does_not_fit_is_named(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        make()
