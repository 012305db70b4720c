import json
import math

import pytest
import torch

import nda_augment as nda
from nda_augment import AdaptiveWeight, Schedule


def test_a_line_starts_late_and_stops():
    schedule = Schedule("linear", start=0.2, end=1.0, steps=4, delay=10)
    assert [schedule(step) for step in (0, 10, 11, 12, 14, 99)] == pytest.approx([0.2, 0.2, 0.4, 0.6, 1.0, 1.0])


def test_half_a_cosine_is_slow_at_both_ends():
    schedule = Schedule("cosine", start=0.0, end=1.0, steps=8)
    for step in range(9):
        assert schedule(step) == pytest.approx((1 - math.cos(math.pi * step / 8)) / 2)
    assert schedule(1) < 1 / 8 < 7 / 8 < schedule(7)


def test_the_curriculum_of_the_papers_code():
    fake_weight = Schedule("constant", start=1.0, end=0.25, delay=30)
    assert [fake_weight(step) for step in (0, 29, 30, 31)] == [1.0, 1.0, 0.25, 0.25]


def test_a_function_of_the_step():
    assert Schedule(lambda step: step / 10)(3) == 0.3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"kind": "linaer"}, "kind must be one of 'constant', 'linear', 'cosine', got 'linaer'"),
        ({"kind": "linear"}, "a linear schedule needs steps >= 1 and delay >= 0, got steps=0, delay=0"),
        ({"delay": -1}, "a constant schedule needs steps >= 0 and delay >= 0, got steps=0, delay=-1"),
    ],
)
def test_bad_settings_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        Schedule(**arguments)


def test_it_drives_all_members_of_a_mixture_that_have_a_strength():
    mixture = nda.Mixture([nda.Jigsaw(), nda.Mixup(), nda.Mixture([nda.RandomFieldWarp()])])
    schedule = Schedule("linear", start=0.0, end=1.0, steps=4)
    for step, strength in ((1, 0.25), (4, 1.0), (0, 0.0)):
        assert schedule.apply(mixture, step) == strength
        assert mixture.members[1].strength == mixture.members[2].members[0].strength == strength
    assert not hasattr(mixture.members[0], "strength")


def test_a_transform_without_strength_is_refused():
    with pytest.raises(ValueError, match="jigsaw has no strength to set"):
        Schedule().apply(nda.Jigsaw(), 0)


def test_a_strength_outside_its_range_is_refused():
    with pytest.raises(ValueError, match=r"in \[0, 1\], the schedule gives 2.0 at step 7"):
        Schedule(lambda step: 2.0).apply(nda.Mixup(), 7)


class TestAdaptiveWeight:
    def test_easy_negatives_lose_weight_and_hard_ones_gain_it(self):
        easy, hard = (AdaptiveWeight(0.25, rate=0.01, interval=1) for _ in range(2))
        assert [easy.update(3.0) for _ in range(3)] == pytest.approx([0.26, 0.27, 0.28])
        assert [hard.update(1.0) for _ in range(3)] == pytest.approx([0.24, 0.23, 0.22])
        assert easy.negative_weight == pytest.approx(0.72)

    def test_moves_once_in_an_interval_by_the_mean_gap(self):
        """Three gaps below the target and one far above it: the mean is above."""
        weight = AdaptiveWeight(0.5, target=1.0, rate=0.01, interval=4)
        values = [weight.update(gap) for gap in (0.0, 0.0, 0.0, 5.0, 0.0)]
        assert values == pytest.approx([0.5, 0.5, 0.5, 0.54, 0.54])

    @pytest.mark.parametrize(("gap", "bound"), [(9.0, 0.6), (-9.0, 0.3)])
    def test_stays_within_its_bounds(self, gap, bound):
        weight = AdaptiveWeight(0.5, rate=0.03, interval=1, lowest=0.3, highest=0.6)
        assert [weight.update(gap) for _ in range(20)][-1] == bound

    def test_holds_the_gap_of_a_discriminator_that_answers_to_it(self):
        """Where more weight on negatives widens the gap, the two meet at the target."""
        weight = AdaptiveWeight(0.9, target=2.0, rate=0.001, interval=2)
        for _ in range(2000):
            weight.update(4 * weight.negative_weight)
        assert 4 * weight.negative_weight == pytest.approx(2.0, abs=0.02)

    def test_takes_tensors_and_waits_for_the_device_once_in_an_interval(self, monkeypatch):
        reads = []
        to_float = torch.Tensor.__float__
        monkeypatch.setattr(torch.Tensor, "__float__", lambda tensor: (reads.append(1), to_float(tensor))[1])
        weight = AdaptiveWeight(0.25, interval=4, rate=0.01)
        gaps = torch.full((8, 1), 3.0, requires_grad=True)
        assert [weight.update(gap) for gap in gaps][3::4] == pytest.approx([0.29, 0.33])
        assert len(reads) == 2

    @pytest.mark.parametrize("stop", range(6))
    def test_resumes_exactly(self, stop):
        gaps = 2 + torch.randn(12, generator=torch.Generator().manual_seed(0))
        unbroken, first, second = (AdaptiveWeight(rate=0.01, interval=5) for _ in range(3))
        expected = [unbroken.update(gap) for gap in gaps]
        for gap in gaps[:stop]:
            first.update(gap)
        second.load_state_dict(json.loads(json.dumps(first.state_dict())))
        assert second.state_dict() == first.state_dict()
        assert [second.update(gap) for gap in gaps[stop:]] == expected[stop:]
        assert second.state_dict() == unbroken.state_dict()

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ({"fake_weight": 1.0}, "got lowest=0.1, fake_weight=1.0, highest=0.95"),
            ({"fake_weight": math.nan}, "fake_weight=nan"),
            ({"lowest": 0.0}, "lowest=0.0"),
            ({"highest": 1.0}, "highest=1.0"),
            ({"rate": 0.0}, "rate must be a finite number above 0, got 0.0"),
            ({"target": math.nan}, "target must be a finite number, got nan"),
            ({"interval": 0}, "interval must be a whole number from 1 on, got 0"),
            ({"interval": 2.5}, "interval must be a whole number from 1 on, got 2.5"),
            ({"interval": True}, "interval must be a whole number from 1 on, got True"),
        ],
    )
    def test_bad_settings_are_refused(self, arguments, message):
        with pytest.raises(ValueError, match=message):
            AdaptiveWeight(**arguments)

    def test_bad_gaps_are_refused(self):
        with pytest.raises(ValueError, match=r"must be a single number, got shape \(2,\)"):
            AdaptiveWeight().update(torch.zeros(2))

    @pytest.mark.parametrize("gap", [math.nan, math.inf, torch.tensor(math.nan), torch.tensor([-math.inf])])
    def test_of_a_gap_that_is_not_finite_nothing_is_noted(self, gap):
        weight = AdaptiveWeight(0.5, rate=0.01, interval=2)
        weight.update(3.0)
        before = weight.state_dict()
        for _ in range(3):
            with pytest.raises(ValueError, match=r"logit_gap must be finite, got .*: training diverged"):
                weight.update(gap)
        assert weight.state_dict() == before
        weight.load_state_dict(before)
        assert weight.update(3.0) == pytest.approx(0.52)

    def test_gaps_that_nobody_looked_at_are_forgotten_once_their_mean_is_refused(self):
        """Two whose sum is infinite, as one on a device may be by itself."""
        weight = AdaptiveWeight(0.5, rate=0.01, interval=2)
        before = weight.state_dict()
        weight.update(torch.tensor(3e38))
        with pytest.raises(ValueError, match="last 2 updates is inf: training diverged"):
            weight.update(torch.tensor(3e38))
        assert weight.state_dict() == before
        assert [weight.update(3.0) for _ in range(2)] == pytest.approx([0.5, 0.52])

    @pytest.mark.parametrize(
        ("state", "message"),
        [
            ({"fake_weight": 0.3}, r"keys fake_weight, total and count, got \['fake_weight'\]"),
            ({"fake_weight": 0.99, "total": 0.0, "count": 0}, "fake_weight=0.99"),
            ({"fake_weight": 0.3, "total": 0.0, "count": 4}, "count below interval=4"),
        ],
    )
    def test_a_state_of_another_setting_is_refused(self, state, message):
        with pytest.raises(ValueError, match=message):
            AdaptiveWeight(interval=4).load_state_dict(state)

    @pytest.mark.parametrize("bound", [0.3, 0.6])
    def test_its_bounds_are_weights_to_start_and_to_go_on_from(self, bound):
        weight = AdaptiveWeight(0.5, lowest=0.3, highest=0.6)
        weight.load_state_dict(AdaptiveWeight(bound, lowest=0.3, highest=0.6).state_dict())
        assert weight.fake_weight == bound

    def test_shows_its_settings(self):
        shown = repr(AdaptiveWeight(0.3))
        assert shown == "AdaptiveWeight(fake_weight=0.3, target=2.0, rate=0.0001, interval=4, lowest=0.1, highest=0.95)"
