"""Data, generator and negatives over a few points, where the theory can be computed exactly.

Distributions are float64 tensors ``(..., K)`` that sum to one over K points. To the discriminator, generated images and
negatives are one distribution ``Q = λG + (1 − λ)P̄``, and what the best discriminator makes of a generator is an
f-divergence ``D_f(data ‖ Q) = Σ Q f(data / Q)`` (Nowozin et al., NeurIPS 2016; Sinha et al., ICLR 2021).
"""

from collections.abc import Callable
from itertools import combinations

import torch
from torch import Tensor

FAKE_WEIGHTS = (1.0, 0.75, 0.5, 0.25)
ALL_WEIGHTS = torch.tensor(FAKE_WEIGHTS, dtype=torch.float64)[:, None, None]  # to be tried at once

# Four points with data, and two without that the negatives are on.
DATA = torch.tensor([0.4, 0.3, 0.2, 0.1, 0.0, 0.0], dtype=torch.float64)
NEGATIVES = torch.tensor([0.0, 0.0, 0.0, 0.0, 0.5, 0.5], dtype=torch.float64)


def _log_ratio(p: Tensor, q: Tensor) -> Tensor:
    return torch.xlogy(p, p) - torch.xlogy(p, q)


# q f(p / q), written without the quotient so that it holds where p or q is zero.
_TERMS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "Jensen-Shannon": lambda p, q: _log_ratio(p, (p + q) / 2) + _log_ratio(q, (p + q) / 2),
    "chi-squared": lambda p, q: (p - q).square() / q,
    "Kullback-Leibler": _log_ratio,
    "triangular": lambda p, q: (p - q).square() / (p + q),
    "total variation": lambda p, q: (p - q).abs() / 2,
}
STRICTLY_CONVEX = ("Jensen-Shannon", "chi-squared", "Kullback-Leibler", "triangular")
OF_LOSS = {"softplus": "Jensen-Shannon", "least_squares": "triangular", "hinge": "total variation"}


def mix(generator: Tensor, negatives: Tensor, fake_weight: float | Tensor) -> Tensor:
    """What the discriminator sees beside the data: ``λG + (1 − λ)P̄``; several λ at once as ``(..., 1)``."""
    return fake_weight * generator + (1 - fake_weight) * negatives


def divergence(name: str, data: Tensor, other: Tensor) -> Tensor:
    """``D_f(data ‖ other)``, ``(..., K)`` to ``(...)``; points with nothing of either count for nothing."""
    empty = (data + other) == 0
    terms = _TERMS[name](data, torch.where(empty, 1, other))
    return torch.where(empty, 0, terms).sum(dim=-1)


def f(name: str, ratio: float) -> float:
    """The convex function behind a divergence."""
    return _TERMS[name](torch.tensor(ratio, dtype=torch.float64), torch.ones((), dtype=torch.float64)).item()


def minimum(name: str, fake_weight: float) -> float:
    """The least a generator can reach when negatives share no point with the data: ``(1 − λ) f(0) + λ f(1/λ)``."""
    return (1 - fake_weight) * f(name, 0) + fake_weight * f(name, 1 / fake_weight)


def optimum(data: Tensor, negatives: Tensor, fake_weight: float) -> Tensor:
    """The one best generator of every strictly convex f, also where negatives share points with the data, ``(K,)``.

    At the optimum ``data / Q`` is the same wherever there is a generator, and no larger anywhere else; so
    ``λG = max(0, c · data − (1 − λ)P̄)``, with the level c at which this sums to λ. Where negatives are many the
    generator leaves the data to them.
    """
    there = data > 0
    taken = (1 - fake_weight) * negatives
    order = (taken[there] / data[there]).argsort()
    # Water over the first points in this order; the true set of points is the one with the lowest level.
    levels = (fake_weight + taken[there][order].cumsum(0)) / data[there][order].cumsum(0)
    return (levels.min() * data - taken).clamp_min(0) / fake_weight


def is_hinge_optimal(generator: Tensor, data: Tensor, fake_weight: float) -> Tensor:
    """Whether hinge loss has nothing against a generator, negatives being elsewhere: ``λG ≤ data`` at every point."""
    return (fake_weight * generator <= data + 1e-12).all(dim=-1)


def hinge_optimal_share(data: Tensor, fake_weight: float) -> float:
    """The share of all generators on the data's points that hinge loss cannot tell from the data, exactly.

    Of the volume of the simplex ``G ≥ 0, ΣG = 1``, what is left under the caps ``data / λ``, by inclusion and
    exclusion of the corners that stick out.
    """
    caps = (data[data > 0] / fake_weight).tolist()
    subsets = (subset for size in range(len(caps) + 1) for subset in combinations(caps, size))
    share = sum((-1) ** len(subset) * max(0.0, 1 - sum(subset)) ** (len(caps) - 1) for subset in subsets)
    return max(0.0, float(share))


def random_generators(count: int, points: int, source: torch.Generator) -> Tensor:
    """Generators drawn evenly from all there are on so many points, ``(count, points)``."""
    exponential = -torch.rand(count, points, generator=source, dtype=torch.float64).clamp_min(1e-300).log()
    return exponential / exponential.sum(dim=1, keepdim=True)


def descend(objective: Callable[[Tensor], Tensor], start: Tensor, steps: int = 3000, rate: float = 0.1) -> Tensor:
    """Follow the gradient of ``objective``, ``(..., K)`` to ``(...)``, from generators ``start`` to better ones."""
    generator = start
    for _ in range(steps):
        at = generator.clone().requires_grad_()
        (slope,) = torch.autograd.grad(objective(at).sum(), at)
        generator = step_on_simplex(generator, slope, rate)
    return generator


def step_on_simplex(generator: Tensor, slope: Tensor, rate: float) -> Tensor:
    """One step of mirror descent: probabilities are multiplied, which keeps them positive and lets them vanish.

    The slope is limited at each point, since it may be as steep as a hole in the generator is deep.
    """
    slope = slope - (generator * slope).sum(dim=-1, keepdim=True)
    return (generator.log() - rate * slope.clamp(-1, 1)).softmax(dim=-1)
