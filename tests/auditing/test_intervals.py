import math

import pytest
import torch

from nda_augment.auditing.measuring.intervals import jackknife, leave_one_out, share


def means(values, groups):
    return [{"mean": float(values[mask].mean())} for mask in leave_one_out(groups)]


def test_the_jackknife_of_a_mean_is_the_standard_error_of_group_means():
    values, groups = torch.randn(60, dtype=torch.float64), torch.arange(60) % 6
    estimate = jackknife(means(values, groups), 60)["mean"]
    by_group = torch.stack([values[groups == group].mean() for group in range(6)])
    half = 2.571 * float(by_group.std() / math.sqrt(6))
    assert estimate.value == pytest.approx(float(values.mean()))
    assert estimate.high - estimate.value == pytest.approx(half, rel=1e-6)
    assert estimate.value - estimate.low == pytest.approx(half, rel=1e-6)
    assert estimate.n == 60


def test_its_interval_holds_the_truth_in_95_of_100():
    generator = torch.Generator().manual_seed(3)
    groups = torch.arange(100) % 10
    estimates = [
        jackknife(means(torch.rand(100, generator=generator, dtype=torch.float64), groups), 100)["mean"]
        for _ in range(400)
    ]
    held = sum(estimate.low <= 0.5 <= estimate.high for estimate in estimates) / 400
    assert 0.92 < held < 0.98


def test_the_share_of_independent_trials_has_wilsons_interval():
    estimate = share(torch.tensor([1.0] * 8 + [0.0] * 2))
    assert (estimate.value, estimate.n) == (pytest.approx(0.8), 10)
    assert (estimate.low, estimate.high) == (pytest.approx(0.4902, abs=1e-4), pytest.approx(0.9433, abs=1e-4))


@pytest.mark.parametrize("value", [0.0, 1.0], ids=["none", "all"])
def test_no_certainty_from_few(value):
    estimate = share(torch.full((20,), value))
    assert estimate.value == value
    assert estimate.high - estimate.low == pytest.approx(0.161, abs=1e-3)


def test_two_independent_tries_count_as_two_and_two_equal_ones_as_one():
    tries = (torch.rand(4000, generator=torch.Generator().manual_seed(0)) < 0.7).float()
    width = {
        name: estimate.high - estimate.low
        for name, estimate in {
            "one": share(tries[:2000]),
            "equal": share(torch.stack([tries[:2000], tries[:2000]]).mean(0)),
            "independent": share(tries.view(2, -1).mean(0)),
            "both": share(tries),
        }.items()
    }
    assert width["equal"] == pytest.approx(width["one"], rel=1e-3)
    assert width["independent"] == pytest.approx(width["both"], rel=0.05)


def test_masks_are_of_all_and_then_without_each_group():
    masks = leave_one_out(torch.tensor([0, 1, 2, 0]))
    assert [mask.tolist() for mask in masks] == [
        [True] * 4,
        [False, True, True, False],
        [True, False, True, True],
        [True, True, False, True],
    ]
