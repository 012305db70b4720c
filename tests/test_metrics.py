import warnings

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from nda_augment import metrics
from nda_augment.metrics import precision_recall_density_coverage


def normal(n, d, seed, scale=1.0):
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * scale


def oracle(real, fake, nearest_k):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from prdc import compute_prdc

        scores = compute_prdc(real.double().numpy(), fake.double().numpy(), nearest_k)
    return [float(scores[name]) for name in ("precision", "recall", "density", "coverage")]


def naive(real, fake, k):
    """The definitions, read aloud."""

    def d(a, b):
        return float((a - b).square().sum().sqrt())

    def radius(points, i):
        return sorted(d(points[i], p) for p in points)[k]

    real_radii = [radius(real, i) for i in range(len(real))]
    fake_radii = [radius(fake, j) for j in range(len(fake))]
    inside_real = np.array([[d(r, f) < radius for f in fake] for r, radius in zip(real, real_radii, strict=True)])
    inside_fake = np.array([[d(r, f) < radius for f, radius in zip(fake, fake_radii, strict=True)] for r in real])
    return [
        inside_real.any(0).mean(),
        inside_fake.any(1).mean(),
        inside_real.sum(0).mean() / k,
        inside_real.any(1).mean(),
    ]


@pytest.mark.parametrize(("n", "m", "d", "k"), [(200, 200, 8, 5), (150, 220, 3, 1), (90, 60, 32, 10), (50, 8, 2, 3)])
def test_agrees_with_prdc(n, m, d, k):
    real, fake = normal(n, d, seed=n), normal(m, d, seed=m + 1, scale=1.2) + 0.1
    scores = precision_recall_density_coverage(real, fake, nearest_k=k)
    assert [score.item() for score in scores] == pytest.approx(oracle(real, fake, k), abs=1e-12)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**31), st.integers(7, 15), st.integers(7, 15), st.integers(1, 3), st.integers(1, 5))
def test_agrees_with_the_definitions_also_on_ties(seed, n, m, d, k):
    generator = torch.Generator().manual_seed(seed)
    # Points of a small lattice: equal points and equal distances abound.
    real = torch.randint(0, 3, (n, d), generator=generator).float()
    fake = torch.randint(0, 3, (m, d), generator=generator).float()
    scores = precision_recall_density_coverage(real, fake, nearest_k=k)
    assert [score.item() for score in scores] == pytest.approx(naive(real, fake, k), abs=1e-6)


def test_a_line_of_points_against_itself():
    # Each point's nearest neighbour is exactly at the radius, so only the point itself is strictly inside.
    line = torch.arange(6.0).unsqueeze(1)
    scores = precision_recall_density_coverage(line, line.clone(), nearest_k=1)
    assert [score.item() for score in scores] == [1, 1, 1, 1]


class TestKnownSituations:
    real = normal(1000, 64, seed=0)

    def scores(self, fake):
        return [score.item() for score in precision_recall_density_coverage(self.real, fake)]

    def test_same_distribution(self):
        precision, recall, density, coverage = self.scores(normal(1000, 64, seed=1))
        assert [precision, recall] == pytest.approx([0.71, 0.74], abs=0.06)
        assert density == pytest.approx(1, abs=0.15)
        assert coverage == pytest.approx(1 - 2**-5, abs=0.02)  # half of a point's 2k nearest are generated

    def test_collapse_to_one_mode(self):
        precision, recall, _, coverage = self.scores(self.real[:1] + normal(1000, 64, seed=1, scale=0.01))
        assert precision == 1
        assert recall < 0.01
        assert coverage < 0.2

    def test_far_away(self):
        assert self.scores(normal(1000, 64, seed=1) + 10) == [0, 0, 0, 0]

    def test_wider_fakes_cost_precision_and_density_not_recall(self):
        same, wider = self.scores(normal(1000, 64, seed=1)), self.scores(normal(1000, 64, seed=1, scale=1.5))
        assert wider[0] < same[0] / 2
        assert wider[1] > same[1]
        assert wider[2] < same[2] / 2

    def test_constant_features_are_inside_nothing(self):
        constant = torch.full((20, 5), 0.3)
        assert list(precision_recall_density_coverage(constant, constant.clone())) == [0, 0, 0, 0]

    def test_far_from_the_origin_single_precision_is_enough(self):
        # Distances by way of dot products are noise there.
        real, fake = (normal(n, 8, seed=n).float() + 1000 for n in (300, 200))
        single = precision_recall_density_coverage(real, fake)
        double = precision_recall_density_coverage(real.double(), fake.double())
        assert [x.item() for x in single] == pytest.approx([x.item() for x in double], abs=1e-6)

    def test_exchanging_real_and_fake_exchanges_precision_and_recall(self):
        fake = normal(700, 64, seed=2, scale=1.1)
        there = precision_recall_density_coverage(self.real, fake)
        back = precision_recall_density_coverage(fake, self.real)
        assert (there.precision, there.recall) == (back.recall, back.precision)


def test_blocks_bound_the_memory_and_change_nothing(monkeypatch):
    real, fake = normal(101, 4, seed=0), normal(67, 4, seed=1)
    whole = precision_recall_density_coverage(real, fake)
    sizes = []
    distances = metrics._distances

    def recorded(rows, columns):
        result = distances(rows, columns)
        sizes.append(result.numel())
        return result

    monkeypatch.setattr(metrics, "_distances", recorded)
    monkeypatch.setattr(metrics, "_BLOCK", 500)
    assert precision_recall_density_coverage(real, fake) == whole
    assert max(sizes) <= 500
    assert sum(sizes) == 101 * 101 + 67 * 67 + 101 * 67


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_dtypes(dtype):
    real, fake = normal(60, 4, seed=0).to(dtype), normal(60, 4, seed=1).to(dtype)
    scores = precision_recall_density_coverage(real, fake)
    wide = torch.float64 if dtype == torch.float64 else torch.float32
    assert {score.dtype for score in scores} == {wide}
    assert scores == precision_recall_density_coverage(real.to(wide), fake.to(wide))


def test_mixed_dtypes_are_compared_in_the_wider():
    real, fake = normal(60, 4, seed=0), normal(60, 4, seed=1).float()
    assert precision_recall_density_coverage(real, fake).recall.dtype == torch.float64


def test_no_gradient_is_recorded():
    real = normal(20, 2, seed=0).requires_grad_()
    assert not precision_recall_density_coverage(real, real).precision.requires_grad


@pytest.mark.parametrize(
    ("real", "fake", "k", "error", "message"),
    [
        (torch.ones(5, 2), torch.rand(9, 2), 5, ValueError, "real has 5 points, too few for nearest_k=5"),
        (torch.rand(9, 2), torch.ones(3, 2), 5, ValueError, "fake has 3 points"),
        (torch.rand(9, 2), torch.rand(9, 3), 5, ValueError, r"agree in D, got 2 \(real\) and 3 \(fake\)"),
        (torch.rand(9), torch.rand(9, 3), 5, ValueError, r"real features must be \(N, D\).*\(9,\)"),
        (torch.rand(9, 2, 1), torch.rand(9, 2), 5, ValueError, "real features must be"),
        (torch.rand(9, 0), torch.rand(9, 0), 5, ValueError, "D >= 1"),
        (torch.rand(9, 2), torch.tensor([[float("nan"), 0]] * 9), 5, ValueError, "fake features hold NaN"),
        (torch.tensor([[float("inf"), 0]] * 9), torch.rand(9, 2), 5, ValueError, "real features hold NaN or inf"),
        (torch.ones(9, 2).long(), torch.rand(9, 2), 5, TypeError, "floating-point tensor, got torch.int64"),
        (np.ones((9, 2)), torch.rand(9, 2), 5, TypeError, "got ndarray"),
        (torch.rand(9, 2), torch.rand(9, 2), 0, ValueError, "nearest_k must be at least 1, got 0"),
        (torch.rand(9, 2), torch.rand(9, 2, device="meta"), 5, ValueError, "one device, got cpu"),
    ],
)
def test_bad_input_is_named(real, fake, k, error, message):
    with pytest.raises(error, match=message):
        precision_recall_density_coverage(real, fake, nearest_k=k)
