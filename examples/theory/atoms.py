"""Negatives do not move the optimum: ``python -m examples.theory.atoms``.

Over a few points, with negatives where there is no data, every strictly convex divergence is smallest at
``generator = data``, for every λ, and its value there is ``(1 − λ) f(0) + λ f(1/λ)``. Gradient descent on the
divergence finds it, and so does a generator that plays against the best discriminator with the package's losses.

It also shows what the theorem does not say: the optimum stays, but with the losses in use a wrong generator costs less
the smaller λ is.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, NamedTuple

import torch
import typer
from matplotlib.figure import Figure
from torch import Tensor

from examples.common.randomness import generator as source
from examples.common.runs import command
from examples.theory import discrete, report, tables
from examples.theory.discrete import ALL_WEIGHTS, DATA, FAKE_WEIGHTS, NEGATIVES, OF_LOSS, STRICTLY_CONVEX
from nda_augment.losses import GANKind

PROVEN: tuple[GANKind, ...] = ("softplus", "least_squares")

# What a small fault of the generator costs at λ, of what it costs at λ = 1: f''(1/λ) / (λ f''(1)).
PRICES: dict[str, Callable[[float], float]] = {
    "Jensen-Shannon": lambda weight: 2 * weight / (1 + weight),
    "chi-squared": lambda weight: 1 / weight,
    "Kullback-Leibler": lambda weight: 1.0,
    "triangular": lambda weight: 8 * weight**2 / (1 + weight) ** 3,
}


class Reached(NamedTuple):
    """The furthest that any of the descents ended from where it should."""

    value: float
    from_minimum: float
    from_data: float


def descend_all(starts: Tensor) -> dict[tuple[str, float], Reached]:
    """Follow each divergence downhill from all starts, ``(N, K)``, at every λ."""
    reached = {}
    for name in STRICTLY_CONVEX:

        def objective(generators: Tensor, name: str = name) -> Tensor:
            return discrete.divergence(name, DATA, discrete.mix(generators, NEGATIVES, ALL_WEIGHTS))

        ends = discrete.descend(objective, starts.expand(len(FAKE_WEIGHTS), -1, -1))
        for fake_weight, end, values in zip(FAKE_WEIGHTS, ends, objective(ends), strict=True):
            apart = (values - discrete.minimum(name, fake_weight)).abs().max().item()
            reached[name, fake_weight] = Reached(values.max().item(), apart, _distance(end))
    return reached


def play_all(starts: Tensor) -> dict[tuple[str, float], float]:
    """Play the package's losses from all starts at every λ: the furthest that any generator ended from the data."""
    return {
        (kind, fake_weight): _distance(end)
        for kind in PROVEN
        for fake_weight, end in zip(FAKE_WEIGHTS, _play(starts, kind), strict=True)
    }


def price_of_dropping(name: str, fake_weight: float, dropped: Tensor) -> Tensor:
    """What a divergence charges for a share ``(N,)`` of the least frequent mode that goes to the others instead."""
    without = torch.where(torch.arange(len(DATA)) == 3, 0, DATA)
    generators = DATA + dropped[:, None] * (without / without.sum() - DATA)
    mixed = discrete.mix(generators, NEGATIVES, fake_weight)
    return discrete.divergence(name, DATA, mixed) - discrete.minimum(name, fake_weight)


def check(reached: dict[tuple[str, float], Reached], played: dict[tuple[str, float], float]) -> None:
    """Compare with the closed forms."""
    for name in STRICTLY_CONVEX:
        ends = [end for (which, _), end in reached.items() if which == name]
        report.confirm(f"{name}: the minimum is (1 − λ) f(0) + λ f(1/λ)", max(end.from_minimum for end in ends), 1e-9)
        report.confirm(f"{name}: it is at generator = data", max(end.from_data for end in ends), 1e-5)
    for kind in PROVEN:
        furthest = max(distance for (which, _), distance in played.items() if which == kind)
        report.confirm(f"played with {kind} loss ({OF_LOSS[kind]}): generator = data", furthest, 1e-9)
    small = torch.tensor([1e-3], dtype=torch.float64)
    for name, price in PRICES.items():
        for fake_weight in FAKE_WEIGHTS[1:]:
            found = price_of_dropping(name, fake_weight, small) / price_of_dropping(name, 1.0, small)
            claim = (
                f"{name}, λ = {fake_weight:g}: a small fault costs {price(fake_weight):.2f} of what it costs at λ = 1"
            )
            report.confirm(claim, abs(found.item() - price(fake_weight)), 2e-3)


def draw(reached: dict[tuple[str, float], Reached], start: Tensor) -> Figure:
    """Minima with their closed forms; the way there; the price of a fault."""
    figure, (minima, ways, prices) = report.panels(3, "Negatives apart from the data leave the optimum where it is")

    weights = torch.linspace(0.2, 1, 100).tolist()
    colours = (report.BLUE, report.ORANGE, report.GREEN, report.PURPLE)
    for name, colour in zip(STRICTLY_CONVEX, colours, strict=True):
        minima.plot(weights, [discrete.minimum(name, weight) for weight in weights], color=colour, label=name)
        minima.plot(FAKE_WEIGHTS, [reached[name, weight].value for weight in FAKE_WEIGHTS], "o", color=colour)
    minima.set(title="minimum: formula (line), descent (dots)", xlabel="λ", ylim=(-0.1, 3.2))
    minima.legend(fontsize=8, frameon=False)

    steps = range(0, 61, 2)
    paths = torch.stack([_play(start, "softplus", count) for count in steps], dim=1)
    for fake_weight, path in zip(FAKE_WEIGHTS, paths, strict=True):
        distances = [_distance(end) for end in path]
        ways.semilogy(steps, distances, color=report.OF_WEIGHT[fake_weight], label=f"λ = {fake_weight:g}")
    ways.set(title="softplus: distance to the data", xlabel="steps in all", ylim=(1e-6, 1))
    ways.legend(fontsize=8, frameon=False)

    dropped = torch.linspace(0, 1, 100, dtype=torch.float64)
    for fake_weight, colour in report.OF_WEIGHT.items():
        prices.plot(dropped.tolist(), price_of_dropping("Jensen-Shannon", fake_weight, dropped).tolist(), color=colour)
    prices.set(title="softplus: divergence above its minimum", xlabel="share of the rarest mode that is dropped")
    return figure


def _play(starts: Tensor, kind: GANKind, steps: int = 2000) -> Tensor:
    """Where games end from each start ``(N, K)`` at every λ, ``(weights, N, K)``."""
    return tables.play(DATA, NEGATIVES, starts.expand(len(FAKE_WEIGHTS), -1, -1), kind, ALL_WEIGHTS, steps=steps)


def _distance(generators: Tensor) -> float:
    """Total variation to the data, of the furthest."""
    return ((generators - DATA).abs().sum(dim=-1) / 2).max().item()


@command
def main(
    output: Annotated[Path, typer.Option(help="The figure")] = Path("runs/theory/atoms.png"),
    starts: Annotated[int, typer.Option(help="Random generators to start from", min=1)] = 100,
) -> None:
    """Negatives do not move the optimum of a strictly convex loss: closed forms, descent, and the package's losses."""
    generators = discrete.random_generators(starts, len(DATA), source(0, "starts"))
    reached, played = descend_all(generators), play_all(generators)
    report.table(
        f"Minimum of D_f(data ‖ λ·generator + (1 − λ)·negatives), reached from {starts} starts",
        ["λ", *STRICTLY_CONVEX],
        [[f"{w:g}", *(f"{reached[name, w].value:.5f}" for name in STRICTLY_CONVEX)] for w in FAKE_WEIGHTS],
    )
    check(reached, played)
    report.save(draw(reached, generators[:1]), output)


if __name__ == "__main__":
    typer.run(main)
