import math

import pytest

import nda_augment as nda
from nda_augment import StrengthSchedule


def test_a_line_starts_late_and_stops():
    schedule = StrengthSchedule("linear", start=0.2, end=1.0, steps=4, delay=10)
    assert [schedule(step) for step in (0, 10, 11, 12, 14, 99)] == pytest.approx([0.2, 0.2, 0.4, 0.6, 1.0, 1.0])


def test_half_a_cosine_is_slow_at_both_ends():
    schedule = StrengthSchedule("cosine", start=0.0, end=1.0, steps=8)
    for step in range(9):
        assert schedule(step) == pytest.approx((1 - math.cos(math.pi * step / 8)) / 2)
    assert schedule(1) < 1 / 8 < 7 / 8 < schedule(7)


def test_the_curriculum_of_the_papers_code():
    fake_weight = StrengthSchedule("constant", start=1.0, end=0.25, delay=30)
    assert [fake_weight(step) for step in (0, 29, 30, 31)] == [1.0, 1.0, 0.25, 0.25]


def test_a_function_of_the_step():
    assert StrengthSchedule(lambda step: step / 10)(3) == 0.3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"kind": "linaer"}, "kind must be one of 'constant', 'linear', 'cosine', got 'linaer'"),
        ({"kind": "linear"}, "steps=0"),
        ({"kind": "constant", "delay": -1}, "delay=-1"),
    ],
)
def test_bad_settings_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        StrengthSchedule(**arguments)


def test_it_drives_all_members_of_a_mixture_that_have_a_strength():
    mixture = nda.Mixture([nda.Jigsaw(), nda.Mixup(), nda.Mixture([nda.RandomFieldWarp()])])
    assert StrengthSchedule("linear", start=0.0, end=1.0, steps=4).apply(mixture, 1) == 0.25
    assert mixture.members[1].strength == mixture.members[2].members[0].strength == 0.25
    assert not hasattr(mixture.members[0], "strength")


def test_a_transform_without_strength_is_refused():
    with pytest.raises(ValueError, match="jigsaw has no strength to set"):
        StrengthSchedule().apply(nda.Jigsaw(), 0)


def test_a_strength_outside_its_range_is_refused():
    with pytest.raises(ValueError, match=r"in \[0, 1\], the schedule gives 2.0 at step 7"):
        StrengthSchedule(lambda step: 2.0).apply(nda.Mixup(), 7)
