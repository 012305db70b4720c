from typing import Any

import pytest
import torch
from torch import Tensor

from examples.video import data, digits
from examples.video.config import Data
from examples.video.digits import MOTIONS, moving_digits


@pytest.fixture
def steady(monkeypatch: pytest.MonkeyPatch) -> None:
    """Digits that are held by a hand that does not shake."""
    monkeypatch.setattr(digits, "_SHAKE", 0.0)


def move(motion: int, frames: int = 5, count: int = 6) -> Tensor:
    """A blot right of the middle of its field, with the same draws whatever the motion; ``(N, T, 40, 40)``."""
    blot = torch.zeros(count, 8, 8)
    blot[:, 3:5, 5:7] = 255
    moved = moving_digits(blot, torch.full((count,), motion), frames, 40, torch.Generator().manual_seed(0))
    return moved[:, :, 0]


def centres(pictures: Tensor) -> tuple[Tensor, Tensor]:
    """Where the light is, ``(N, T)`` each, from left to right and from top to bottom."""
    places = torch.arange(pictures.shape[-1]).float()
    light = pictures.sum((-2, -1))
    return (pictures.sum(-2) * places).sum(-1) / light, (pictures.sum(-1) * places).sum(-1) / light


@pytest.mark.usefixtures("steady")
@pytest.mark.parametrize("number", range(4), ids=MOTIONS[:4])
def test_a_motion_goes_where_its_name_says(number: int) -> None:
    x, y = centres(move(number))
    along, across = (x, y) if number < 2 else (y, x)
    steps = along.diff(dim=1) * (1 if number % 2 == 0 else -1)
    # From 0.3 to 0.6 of half a frame of 40 pixels, in four steps.
    assert ((steps > 1.4) & (steps < 3.1)).all()
    assert across.diff(dim=1).abs().max() < 0.1


@pytest.mark.usefixtures("steady")
@pytest.mark.parametrize("number", [4, 5], ids=MOTIONS[4:6])
def test_a_turn_goes_where_its_name_says(number: int) -> None:
    _, y = centres(move(number))
    # The blot starts on the right; clockwise on the screen is downwards, where y grows.
    steps = y.diff(dim=1) * (1 if number == 4 else -1)
    assert (steps > 0.2).all()


@pytest.mark.usefixtures("steady")
@pytest.mark.parametrize("number", [6, 7], ids=MOTIONS[6:])
def test_a_change_of_size_goes_where_its_name_says(number: int) -> None:
    light = move(number).sum((-2, -1))
    steps = light.diff(dim=1) * (1 if number == 6 else -1)
    assert (steps > 0).all()


@pytest.mark.usefixtures("steady")
@pytest.mark.parametrize("pair", range(4), ids=MOTIONS[::2])
def test_a_motion_played_backwards_is_the_one_beside_it(pair: int) -> None:
    forwards, other = move(2 * pair), move(2 * pair + 1)
    torch.testing.assert_close(forwards.flip(1), other, atol=0.05, rtol=0)
    assert (forwards - other).abs().max() > 50


@pytest.mark.usefixtures("steady")
def test_the_frame_in_the_middle_does_not_tell_the_motion() -> None:
    middles = [move(motion)[:, 2] for motion in range(len(MOTIONS))]
    for middle in middles[1:]:
        torch.testing.assert_close(middle, middles[0], atol=0.05, rtol=0)


@pytest.mark.usefixtures("steady")
def test_a_motion_stays_in_the_frame() -> None:
    for motion in range(len(MOTIONS)):
        light = move(motion, count=200).clone()
        inside = light[..., 1:-1, 1:-1].sum()
        assert inside / light.sum() > 0.99


def test_clips_are_labelled_balanced_and_always_the_same() -> None:
    (training, test), (again, _) = (digits.load(48, 16, 4, 12) for _ in range(2))
    assert training.images.shape == (48, 4, 3, 12, 12)
    assert test.images.shape == (16, 4, 3, 12, 12)
    assert training.images.dtype == torch.uint8
    assert training.labels is not None
    assert training.labels.bincount().tolist() == [6] * 8
    assert training.fingerprint() == again.fingerprint()
    assert len(training.images.flatten(1).unique(dim=0)) == 48


def test_digits_shake_and_clips_are_noisy() -> None:
    x, _ = centres(move(0))
    assert x.diff(dim=1).std() > 0.3
    source = torch.Generator().manual_seed(0)
    clips = digits.clips_of(torch.zeros(3, 8, 8), torch.tensor([0, 1]), 4, 12, source)
    assert clips.float().std() > 10


def test_no_digit_is_in_both_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[set[tuple[float, ...]]] = []

    def remember(some: Tensor, labels: Tensor, frames: int, size: int, _: Any) -> Tensor:
        given.append({tuple(digit.flatten().tolist()) for digit in some})
        return torch.zeros(len(labels), frames, 3, size, size, dtype=torch.uint8)

    monkeypatch.setattr(digits, "clips_of", remember)
    digits.load(12, 4, 2, 8)
    training, test = given
    assert len(training) + len(test) > 1700
    assert not training & test


def test_nothing_to_test_on_is_refused() -> None:
    with pytest.raises(ValueError, match=r"DATA.holdout=0.0 of 16 clips leaves 16 to learn from and 0 to test on"):
        data.load(Data(clips=16, frames=2, img_size=8, holdout=0.0))
