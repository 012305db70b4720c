import math

import pytest
import torch
from scipy.optimize import minimize

from examples.theory import discrete
from examples.theory.discrete import DATA, FAKE_WEIGHTS, NEGATIVES, STRICTLY_CONVEX


def draws(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


# As in a textbook: the convex function itself, not the terms that the module sums.
TEXTBOOK = {
    "Jensen-Shannon": lambda u: u * math.log(u) - (u + 1) * math.log((u + 1) / 2),
    "chi-squared": lambda u: (u - 1) ** 2,
    "Kullback-Leibler": lambda u: u * math.log(u),
    "triangular": lambda u: (u - 1) ** 2 / (u + 1),
    "total variation": lambda u: abs(u - 1) / 2,
}


@pytest.mark.parametrize("name", list(TEXTBOOK))
def test_divergences_are_those_of_their_convex_functions(name):
    p, q = discrete.random_generators(2, 5, draws())
    expected = sum(b * TEXTBOOK[name](a / b) for a, b in zip(p.tolist(), q.tolist(), strict=True))
    assert discrete.divergence(name, p, q).item() == pytest.approx(expected)
    assert discrete.divergence(name, p, p).item() == pytest.approx(0, abs=1e-12)
    assert discrete.f(name, 2.5) == pytest.approx(TEXTBOOK[name](2.5))
    assert discrete.f(name, 0) == pytest.approx(TEXTBOOK[name](1e-15), abs=1e-12)


@pytest.mark.parametrize("fake_weight", FAKE_WEIGHTS)
def test_minima_have_the_closed_forms(fake_weight):
    assert discrete.minimum("chi-squared", fake_weight) == pytest.approx(1 / fake_weight - 1)
    assert discrete.minimum("Kullback-Leibler", fake_weight) == pytest.approx(-math.log(fake_weight))
    assert discrete.minimum("total variation", fake_weight) == pytest.approx(1 - fake_weight)
    jensen_shannon = {1.0: 0.0, 0.75: 0.19121, 0.5: 0.43152, 0.25: 0.76079}
    assert discrete.minimum("Jensen-Shannon", fake_weight) == pytest.approx(jensen_shannon[fake_weight], abs=5e-6)


@pytest.mark.parametrize("fake_weight", FAKE_WEIGHTS)
@pytest.mark.parametrize("name", STRICTLY_CONVEX)
def test_the_data_have_the_minimum_and_all_others_more(name, fake_weight):
    least = discrete.minimum(name, fake_weight)
    mixed = discrete.mix(DATA, NEGATIVES, fake_weight)
    assert discrete.divergence(name, DATA, mixed).item() == pytest.approx(least, abs=1e-12)
    others = discrete.mix(discrete.random_generators(200, len(DATA), draws()), NEGATIVES, fake_weight)
    assert (discrete.divergence(name, DATA, others) > least + 1e-4).all()


@pytest.mark.parametrize("name", STRICTLY_CONVEX)
def test_descent_reaches_the_closed_form(name):
    starts = discrete.random_generators(3, len(DATA), draws())
    ends = discrete.descend(
        lambda generator: discrete.divergence(name, DATA, discrete.mix(generator, NEGATIVES, 0.5)), starts, steps=1500
    )
    torch.testing.assert_close(ends, DATA.expand(3, -1), atol=1e-6, rtol=0)


def test_steps_stay_on_the_simplex_and_follow_the_slope():
    start = discrete.random_generators(4, 6, draws())
    slope = torch.tensor([0.0, 100.0, 0.0, 0.0, -1.0, 0.0], dtype=torch.float64)
    end = discrete.step_on_simplex(start, slope, 0.1)
    torch.testing.assert_close(end.sum(dim=1), torch.ones(4, dtype=torch.float64))
    assert ((end / start)[:, 1] < 1).all()
    assert (end / start).argmax(dim=1).eq(4).all() or (end[:, 4] > start[:, 4]).all()
    torch.testing.assert_close(discrete.step_on_simplex(start, slope + 7, 0.1), end)


class TestOptimum:
    def test_without_overlap_it_is_the_data(self):
        for fake_weight in FAKE_WEIGHTS:
            torch.testing.assert_close(discrete.optimum(DATA, NEGATIVES, fake_weight), DATA)

    @pytest.mark.parametrize(("fake_weight", "share"), [(0.9, 0.05), (0.75, 0.0), (0.25, 0.0)])
    def test_half_of_the_negatives_on_the_rarest_mode(self, fake_weight, share):
        negatives = torch.tensor([0.0, 0.0, 0.0, 0.5, 0.25, 0.25], dtype=torch.float64)
        assert discrete.optimum(DATA, negatives, fake_weight)[3].item() == pytest.approx(share, abs=1e-12)

    @pytest.mark.parametrize("seed", range(5))
    @pytest.mark.parametrize("name", ["Jensen-Shannon", "triangular"])
    def test_agrees_with_a_solver(self, name, seed):
        data, negatives = discrete.random_generators(2, 5, draws(seed))
        negatives = negatives**3 / (negatives**3).sum()

        def cost(scores):
            generator = torch.tensor(scores, dtype=torch.float64).softmax(0)
            return discrete.divergence(name, data, discrete.mix(generator, negatives, 0.4)).item()

        solution = minimize(cost, [0.0] * 5, method="BFGS")
        optimum = discrete.optimum(data, negatives, 0.4)
        assert optimum.sum().item() == pytest.approx(1)
        # A share that must vanish does so slowly in the solver's coordinates.
        torch.testing.assert_close(torch.tensor(solution.x).softmax(0), optimum, atol=0.01, rtol=0)
        mixed = discrete.mix(optimum, negatives, 0.4)
        assert discrete.divergence(name, data, mixed).item() <= solution.fun + 1e-12


class TestHinge:
    def test_random_generators_are_even(self):
        generators = discrete.random_generators(50_000, 4, draws())
        torch.testing.assert_close(generators.sum(dim=1), torch.ones(50_000, dtype=torch.float64))
        # A coordinate of the even distribution has mean 1/K and P(above x) = (1 − x)^(K − 1).
        for above in (0.1, 0.4, 0.8):
            assert (generators > above).double().mean().item() == pytest.approx((1 - above) ** 3, abs=0.01)

    @pytest.mark.parametrize(("fake_weight", "share"), [(1.0, 0.0), (0.75, 0.029), (0.5, 0.272), (0.25, 0.776)])
    def test_the_share_of_optima(self, fake_weight, share):
        data = DATA[:4]
        assert discrete.hinge_optimal_share(data, fake_weight) == pytest.approx(share, abs=5e-4)
        generators = discrete.random_generators(20_000, 4, draws())
        sampled = discrete.is_hinge_optimal(generators, data, fake_weight).double().mean().item()
        assert sampled == pytest.approx(share, abs=0.015)

    def test_two_modes_by_hand(self):
        """A generator (x, 1 − x) is optimal if both are at most 1 / (2λ): at λ = 0.8, x in [0.375, 0.625]."""
        half = torch.tensor([0.5, 0.5], dtype=torch.float64)
        assert discrete.hinge_optimal_share(half, 0.8) == pytest.approx(0.25)
        assert discrete.hinge_optimal_share(half, 0.4) == 1

    def test_optimal_means_the_least_total_variation(self):
        generators = torch.cat([discrete.random_generators(500, 6, draws()), torch.zeros(500, 6).double()])
        generators[500:, :4] = discrete.random_generators(500, 4, draws(1))
        mixed = discrete.mix(generators, NEGATIVES, 0.5)
        least = discrete.divergence("total variation", DATA, mixed) < discrete.minimum("total variation", 0.5) + 1e-9
        optimal = discrete.is_hinge_optimal(generators, DATA, 0.5)
        assert torch.equal(optimal, least)
        assert 0 < optimal.sum() < 500
