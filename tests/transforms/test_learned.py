"""Learned weights against their formulas, written out; states, ranks, and draws of other weights."""

import copy
import math
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import distributed as dist

import nda_augment as nda
from nda_augment import LearnedMixture
from nda_augment.transforms import NegativeTransform
from tests.cases import distinct, generator
from tests.properties import assert_same_pixels

Heard = list[tuple[list[float], list[int]]]


def members() -> list[NegativeTransform]:
    return [nda.Jigsaw(), nda.Stitch(), nda.Mixup()]


def batches(seed: int, number: int = 12) -> Heard:
    """What is heard in some steps: a hardness and a member for each of six images; the last member comes late."""
    source = torch.Generator().manual_seed(seed)
    hardness = torch.randn(number, 6, generator=source) * 3
    choice = torch.randint(3, (number, 6), generator=source)
    choice[:4] = choice[:4] % 2
    return list(zip(hardness.tolist(), choice.tolist(), strict=True))


def hear(mixture: LearnedMixture, heard: Heard) -> None:
    for hardness, choice in heard:
        mixture.update(torch.tensor(hardness), torch.tensor(choice))


def by_hand(heard: Heard, *, interval: int, momentum: float, floor: float, temperature: float) -> list[float]:
    running: list[float | None] = [None, None, None]
    for start in range(0, len(heard) - interval + 1, interval):
        for member in range(3):
            own = [
                value
                for hardness, choice in heard[start : start + interval]
                for value, chosen in zip(hardness, choice, strict=True)
                if chosen == member
            ]
            if own:
                mean, before = sum(own) / len(own), running[member]
                running[member] = mean if before is None else momentum * before + (1 - momentum) * mean
    known = [value for value in running if value is not None]
    filled = [sum(known) / len(known) if value is None else value for value in running]
    total = sum(math.exp(value / temperature) for value in filled)
    return [floor / 3 + (1 - floor) * math.exp(value / temperature) / total for value in filled]


@given(
    seed=st.integers(0, 2**31),
    steps=st.integers(2, 12),
    interval=st.sampled_from([1, 2, 5]),
    temperature=st.sampled_from([0.5, 2.0]),
)
def test_weights_are_the_softmax_of_running_means_over_a_floor(seed, steps, interval, temperature) -> None:
    heard, settings = batches(seed)[:steps], {"momentum": 0.7, "floor": 0.3, "temperature": temperature}
    if steps < interval:
        return
    mixture = LearnedMixture(members(), interval=interval, **settings)
    hear(mixture, heard)
    expected = by_hand(heard, interval=interval, **settings)
    assert mixture.probabilities == pytest.approx(expected, rel=1e-4)


@given(seed=st.integers(0, 2**31))
def test_multipliers_climb_while_a_member_is_above_the_target(seed: int) -> None:
    heard, multipliers = batches(seed), [0.0] * 3
    mixture = LearnedMixture(members(), target=0.5, rate=0.25, floor=0.1, interval=1)
    assert mixture.probabilities == pytest.approx([1 / 3] * 3)
    for hardness, choice in heard:
        hear(mixture, [(hardness, choice)])
        for member in set(choice):
            own = [value for value, chosen in zip(hardness, choice, strict=True) if chosen == member]
            multipliers[member] = max(multipliers[member] + 0.25 * (sum(own) / len(own) - 0.5), 0.0)
        assert mixture.multipliers == pytest.approx(multipliers, abs=1e-5)
        whole = sum(multipliers)
        expected = [0.1 / 3 + 0.9 * (one / whole if whole > 1e-4 else 1 / 3) for one in multipliers]
        if whole > 1e-4 or whole == 0:
            assert mixture.probabilities == pytest.approx(expected, rel=1e-3)


def test_what_is_hard_comes_more_often_and_nothing_is_given_up() -> None:
    mixture, images = LearnedMixture(members(), floor=0.3, interval=1), distinct((60, 3, 8, 8))
    for step in range(5):
        mixture(images, generator=generator(step))
        mixture.update(torch.tensor([-50.0, 0.0, 50.0])[mixture._params["choice"]])
    mixture(images, generator=generator(9))
    assert mixture._params["choice"].bincount().tolist() == [6, 6, 48]


def test_an_even_hardness_is_a_plain_mixture() -> None:
    images, plain, learned = distinct((9, 3, 8, 8)), nda.Mixture(members()), LearnedMixture(members(), interval=1)
    plain(images, generator=generator(0))
    learned(images, generator=generator(0))
    learned.update(torch.ones(9))
    assert torch.equal(learned(images, generator=generator(1)), plain(images, generator=generator(1)))


@pytest.mark.parametrize("target", [None, 0.5])
def test_a_run_that_goes_on_learns_what_it_would_have(target: float | None) -> None:
    heard, settings = batches(3), {"target": target, "interval": 3}
    whole, first = LearnedMixture(members(), **settings), LearnedMixture(members(), **settings)
    hear(whole, heard)
    hear(first, heard[:7])  # within an interval
    second = LearnedMixture(members(), **settings)
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    assert second.weights == first.weights
    hear(second, heard[7:])
    assert second.weights == whole.weights
    assert second.get_extra_state() == whole.get_extra_state()
    with pytest.raises(ValueError, match="not one of a learned mixture of 2 members"):
        LearnedMixture(members()[:2]).set_extra_state(first.get_extra_state())


def test_ranks_have_the_weights_of_all_that_they_heard(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two ranks with half of every batch each, against one process with all of it."""
    heard = batches(5, number=2)
    one = LearnedMixture(members(), interval=2)
    hear(one, heard)
    halves = [[(hardness[part], choice[part]) for hardness, choice in heard] for part in (slice(3), slice(3, 6))]
    steps = [[], []]
    for rank, half in enumerate(halves):
        for step in half:
            silent = LearnedMixture(members(), interval=3)
            hear(silent, [step])
            steps[rank].append(silent._heard)
    monkeypatch.setattr(dist, "is_initialized", lambda: True)
    for rank, half in enumerate(halves):
        others = iter(steps[1 - rank])
        monkeypatch.setattr(dist, "all_reduce", lambda sums, others=others: sums.add_(next(others)))
        mixture = LearnedMixture(members(), interval=2)
        hear(mixture, half)
        assert mixture.weights == pytest.approx(one.weights, rel=1e-5)


@pytest.mark.parametrize("compiling", [False, True])
def test_a_draw_of_other_weights_is_repeated(compiling: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a device a group is as large as its weight allows; an old draw may have larger groups."""
    mixture, images = LearnedMixture(members(), floor=0.1, interval=1), distinct((20, 3, 8, 8))
    _compile(monkeypatch, compiling)
    negatives = mixture(images, generator=generator(0))
    params = dict(mixture._params)
    mixture.update(torch.tensor([9.0, 0.0, 0.0])[params["choice"]])
    assert_same_pixels(mixture(images, params=params), negatives)
    fresh = mixture(images, generator=generator(1))
    _compile(monkeypatch, False)
    assert_same_pixels(fresh, mixture(images, params=mixture._params))


def _compile(monkeypatch: pytest.MonkeyPatch, compiling: bool) -> None:
    """Pretend; before torch 2.7 what is compiled without dynamo is taken for an export."""
    for name in ("is_compiling", "is_dynamo_compiling"):
        monkeypatch.setattr(torch.compiler, name, lambda: compiling)


def test_a_fresh_draw_is_computed_in_groups_of_its_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    mixture, images = LearnedMixture([nda.Cutout(), nda.Noise(), nda.Mixup()]), distinct((30, 3, 8, 8))
    sizes: list[int] = []
    whole = nda.Mixture._of_member
    monkeypatch.setattr(
        nda.Mixture,
        "_of_member",
        lambda self, number, group, *rest: sizes.append(len(group)) or whole(self, number, group, *rest),
    )
    _compile(monkeypatch, True)
    mixture(images, generator=generator(0))
    assert sizes == [11, 11, 11]
    mixture(images, params=dict(mixture._params) | {"choice": mixture._params["choice"].clone()})
    assert sizes[3:] == [30, 30, 30]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"floor": 0.0}, "floor must be above 0 and at most 1, got 0.0"),
        ({"momentum": 1.0}, "momentum must be at least 0 and below 1, got 1.0"),
        ({"temperature": 0.0}, "temperature must be a finite number above 0, got 0.0"),
        ({"interval": 0}, "interval must be a whole number from 1 on, got 0"),
        ({"interval": -1}, "interval must be a whole number from 1 on, got -1"),
        ({"target": math.nan}, "target must be a finite number, got nan"),
        ({"rate": -1.0}, "rate must be a finite number above 0, got -1.0"),
    ],
)
def test_what_is_out_of_bounds_is_named(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        LearnedMixture(members(), **arguments)


def test_what_cannot_be_learned_from_is_named() -> None:
    mixture = LearnedMixture(members(), interval=1)
    with pytest.raises(ValueError, match="nothing was drawn yet"):
        mixture.update(torch.zeros(3))
    mixture(distinct((4, 3, 8, 8)))
    with pytest.raises(ValueError, match=r"hardness must have shape \(4,\)"):
        mixture.update(torch.zeros(3))
    with pytest.raises(ValueError, match="not finite: training diverged"):
        mixture.update(torch.full((4,), math.nan))
    with pytest.raises(TypeError, match="weights"):
        LearnedMixture(members(), weights=[1, 2, 3])


@pytest.mark.parametrize("interval", [1, 3])
def test_a_hardness_that_is_refused_changes_nothing(interval: int) -> None:
    mixture, twin = (LearnedMixture(members(), interval=interval) for _ in range(2))
    heard = batches(2, number=6)
    for step in heard:
        with pytest.raises(ValueError, match="not finite: training diverged"):
            mixture.update(torch.tensor([1.0, math.nan]), torch.tensor([0, 1]))
        hear(mixture, [step])
        hear(twin, [step])
        assert mixture.get_extra_state() == twin.get_extra_state()
    assert mixture.weights == twin.weights != (1 / 3,) * 3


def test_what_nobody_looked_at_is_forgotten_once_it_is_refused() -> None:
    """Two whose sum is infinite, as one on a device may be by itself."""
    mixture, twin = (LearnedMixture(members(), interval=2) for _ in range(2))
    mixture.update(torch.tensor([3e38]), torch.tensor([0]))
    with pytest.raises(ValueError, match="the last 2 updates is not finite"):
        mixture.update(torch.tensor([3e38]), torch.tensor([0]))
    heard = batches(2, number=2)
    hear(mixture, heard)
    hear(twin, heard)
    assert mixture.hardness == twin.hardness
    assert mixture.weights == twin.weights


@pytest.mark.parametrize("p", [1.0, 0.6])
@pytest.mark.parametrize("depth", [1, 2])
def test_in_another_mixture_it_learns_from_its_own_images(p: float, depth: int) -> None:
    learned, images = LearnedMixture(members(), interval=1), distinct((40, 3, 8, 8))
    whole: NegativeTransform = learned
    for level in range(depth):
        whole = nda.Mixture([nda.Noise(), whole], p=p if level == depth - 1 else 1.0)
    negatives = whole(images, generator=generator(0))
    prefix = "1." * depth
    own = torch.stack([whole._params["1." * level + "choice"] == 1 for level in range(depth)]).all(0)
    if p < 1:
        own &= whole._params["batch_prob"]
    choice = whole._params[f"{prefix}choice"]
    assert 0 < own.sum() < 40
    # Hardness of what is not its own would be heard of.
    learned.update(torch.where(own, choice.float(), math.nan))
    assert learned.hardness == tuple(float(k) if (choice[own] == k).any() else None for k in range(3))
    assert torch.equal(whole(images, params=whole._params), negatives)
    with pytest.raises(ValueError, match=r"hardness must have shape \(40,\)"):
        learned.update(torch.zeros(3))


def test_images_that_were_left_alone_teach_nothing() -> None:
    mixture, images = nda.LearnedMixture([nda.Jigsaw(), nda.Stitch()], p=0.5, interval=1), distinct((16, 3, 8, 8))
    changed = (mixture(images, generator=generator(0)) != images).flatten(1).any(dim=1)
    assert 0 < changed.sum() < 16
    mixture.update(torch.where(changed, -1.0, 5.0))
    assert set(mixture.hardness) <= {-1.0, None}
