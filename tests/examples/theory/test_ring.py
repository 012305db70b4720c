import math

import pytest
import torch

from examples.theory import ring
from examples.theory.ring import RingSettings


def draws(seed=0):
    return torch.Generator().manual_seed(seed)


def around(mode, count=100):
    angle = 2 * math.pi * mode / ring.MODES
    centre = torch.tensor([math.cos(angle), math.sin(angle)])
    return centre + ring.SPREAD * torch.randn(count, 2, generator=draws(mode))


def test_negatives_fill_the_region_and_data_stay_out_of_it():
    negatives = ring.draw_negatives(20_000, draws())
    assert ring.is_forbidden(negatives).double().mean() > 0.9999
    assert ring.is_forbidden(ring.draw_data(20_000, draws())).double().mean() < 1e-3
    middle = negatives.norm(dim=1) < 0.5
    assert middle.double().mean().item() == pytest.approx(0.2, abs=0.01)
    # Uniform over a disc: a quarter of it within half of its radius.
    inner = (negatives[middle].norm(dim=1) < 0.2).double().mean().item()
    assert inner == pytest.approx(0.25, abs=0.02)
    gaps = torch.atan2(*negatives[~middle].T.flip(0)).div(2 * math.pi / 8).floor().long() % 8
    assert torch.bincount(gaps, minlength=8).min() > 0.9 * (~middle).sum() / 8


def test_negatives_in_the_middle_alone_leave_the_gaps_open():
    assert ring.draw_negatives(2000, draws(), middle=1.0).norm(dim=1).max() <= 0.4
    assert ring.draw_negatives(2000, draws(), middle=0.0).norm(dim=1).min() >= 0.8
    runs = [
        ring.run(RingSettings("softplus", 0.25, steps=20, batch_size=8, latent=2, middle=middle), samples=10)
        for middle in (0.2, 1.0)
    ]
    assert runs[0]["frames"] != runs[1]["frames"]
    assert {settings.middle for settings in ring.settings_of([1, 2], 20, 1.0)} == {1.0}


@pytest.mark.parametrize(
    ("point", "forbidden"),
    [
        ((0, 0), True),
        ((0.39, 0), True),
        ((0.41, 0), False),
        ((1, 0), False),
        ((math.cos(math.pi / 8), math.sin(math.pi / 8)), True),
        ((math.cos(-math.pi / 8), math.sin(-math.pi / 8)), True),
        ((1.3 * math.cos(math.pi / 8), 1.3 * math.sin(math.pi / 8)), False),
    ],
)
def test_the_region(point, forbidden):
    assert ring.is_forbidden(torch.tensor([point], dtype=torch.float32)).item() is forbidden


def test_measures_of_generators_made_by_hand():
    perfect = ring.measure(torch.cat([around(mode) for mode in range(8)]))
    assert perfect["forbidden"] < 0.01
    assert perfect["modes"] == 8
    assert perfect["imbalance"] < 0.01
    half = ring.measure(torch.cat([around(mode) for mode in range(4)]))
    assert (half["modes"], round(half["imbalance"], 2)) == (4, 0.5)
    centre = ring.measure(torch.zeros(100, 2))
    assert (centre["forbidden"], centre["modes"]) == (1, 0)
    # A mode counts from a quarter of its fair share on, 1/32 of the whole.
    for extra, modes in ((4, 2), (2, 1)):
        assert ring.measure(torch.cat([around(0, 100), around(4, extra)]))["modes"] == modes


def test_a_run_gives_its_measures_and_four_moments():
    result = ring.run(RingSettings("softplus", 0.5, steps=20, batch_size=8, latent=2, r1=0.03), samples=500)
    assert list(result["frames"]) == ["1", "4", "10", "20"]
    assert all(len(points) == 400 for points in result["frames"].values())
    assert set(result) == {*ring.MEASURES, "frames"}
