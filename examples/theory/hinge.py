"""Hinge loss has many optima: ``python -m examples.theory.hinge``.

Its divergence, the total variation, is convex but not strictly. With negatives apart from the data, every generator
that stays on the data with ``λ · generator ≤ data`` is as good as the data itself. At λ = 1/4 it may show a thing four
times too often, or show no more than a quarter of all there is, and no gradient says so.
"""

from pathlib import Path
from typing import Annotated

import torch
import typer
from matplotlib.figure import Figure
from torch import Tensor

from examples.common.randomness import generator as source
from examples.common.runs import command
from examples.theory import discrete, report, tables
from examples.theory.discrete import ALL_WEIGHTS, DATA, FAKE_WEIGHTS, NEGATIVES
from nda_augment.losses import GANKind

POINTS = int((DATA > 0).sum())
WITHOUT_RAREST = torch.tensor([4.0, 3.0, 2.0, 0.0, 0.0, 0.0], dtype=torch.float64) / 9
TEN_MODES = torch.full((10,), 0.1, dtype=torch.float64)


def sampled_share(data: Tensor, fake_weight: float, generators: Tensor) -> float:
    """The share of generators ``(N, K)`` that hinge loss cannot tell from the data."""
    return float(discrete.is_hinge_optimal(generators, data, fake_weight).double().mean())


def narrowest_cover(data: Tensor, fake_weight: float) -> float:
    """The least share of the data that a generator with nothing wrong in the eyes of hinge loss may show.

    A set of points holds a whole generator if its caps ``data / λ`` sum to one, that is if it holds λ of the data; of
    few modes one can only take whole ones.
    """
    subsets = torch.cartesian_prod(*[torch.tensor([0.0, 1.0], dtype=torch.float64)] * len(data))
    covered = subsets @ data
    return covered[covered >= fake_weight - 1e-12].min().item()


def play_all(starts: Tensor) -> dict[tuple[str, float], Tensor]:
    """Where the game ends from each start, ``(N, K)``, by loss and λ."""
    starts = starts.expand(len(FAKE_WEIGHTS), -1, -1)
    kinds: tuple[GANKind, ...] = ("hinge", "softplus")
    return {
        (kind, fake_weight): end
        for kind in kinds
        for fake_weight, end in zip(FAKE_WEIGHTS, tables.play(DATA, NEGATIVES, starts, kind, ALL_WEIGHTS), strict=True)
    }


def distances(generators: Tensor) -> Tensor:
    """Total variation to the data, ``(N, K)`` to ``(N,)``."""
    return (generators - DATA).abs().sum(dim=-1) / 2


def above_minimum(generators: Tensor, fake_weight: float) -> Tensor:
    """What hinge loss has against generators ``(..., K)``: their total variation, less the least there can be."""
    total = discrete.divergence("total variation", DATA, discrete.mix(generators, NEGATIVES, fake_weight))
    return total - discrete.minimum("total variation", fake_weight)


def check(ends: dict[tuple[str, float], Tensor], generators: Tensor) -> None:
    """Compare with the closed forms; ``generators`` are random ones on the data's points."""
    data = DATA[:POINTS]
    for fake_weight in FAKE_WEIGHTS:
        exact = discrete.hinge_optimal_share(data, fake_weight)
        apart = abs(sampled_share(data, fake_weight, generators) - exact)
        # Five standard errors of a share.
        allowed = 5 * (exact * (1 - exact) / len(generators)) ** 0.5 + 1e-9
        report.confirm(f"λ = {fake_weight:g}: {100 * exact:.1f} % of all generators are optimal", apart, allowed)
    for fake_weight in FAKE_WEIGHTS[1:]:
        dropped = above_minimum(WITHOUT_RAREST, fake_weight).item()
        report.confirm(f"λ = {fake_weight:g}: dropping the rarest mode is free", dropped, 1e-12)
        above = above_minimum(ends["hinge", fake_weight], fake_weight).max().item()
        report.confirm(f"λ = {fake_weight:g}: played with hinge every generator is optimal", above, 1e-9)
        furthest = distances(ends["softplus", fake_weight]).max().item()
        report.confirm(f"λ = {fake_weight:g}: played with softplus every generator is the data", furthest, 1e-9)


def draw(ends: dict[tuple[str, float], Tensor], generators: Tensor) -> Figure:
    """How many optima there are; where games end; what such a generator looks like."""
    figure, (shares, games, examples) = report.panels(3, "Hinge loss with negatives: many generators are optimal")
    data = DATA[:POINTS]

    weights = torch.linspace(0.05, 1, 96).tolist()
    for modes, colour, name in ((data, report.RED, "4 modes, unequal"), (TEN_MODES, report.BLUE, "10 modes, equal")):
        line = [100 * discrete.hinge_optimal_share(modes, weight) for weight in weights]
        shares.plot(weights, line, color=colour, label=name)
    dots = [100 * sampled_share(data, weight, generators) for weight in FAKE_WEIGHTS]
    shares.plot(FAKE_WEIGHTS, dots, "o", color=report.RED, label=f"{len(generators):,} random ones")
    shares.set(title="generators that are optimal, %", xlabel="λ", ylim=(-3, 103))
    shares.legend(fontsize=8, frameon=False)

    for kind, colour, side in (("hinge", report.RED, -0.02), ("softplus", report.BLUE, 0.02)):
        for place, fake_weight in enumerate(FAKE_WEIGHTS):
            apart = distances(ends[kind, fake_weight]).tolist()
            label = kind if place == 0 else None
            across = torch.linspace(fake_weight + side - 0.015, fake_weight + side + 0.015, len(apart)).tolist()
            games.plot(across, apart, "o", color=colour, alpha=0.25, ms=4, label=label)
    games.set(title="games end so far from the data", xlabel="λ", ylabel="total variation", xticks=FAKE_WEIGHTS)
    games.legend(fontsize=8, frameon=False, loc="upper right")

    # The ends nearest to and furthest from the data, of all games at λ = 1/4.
    order = distances(ends["hinge", 0.25]).argsort()
    shown = {"data": DATA, "softplus": ends["softplus", 0.25][0]}
    shown |= {f"hinge {n}": ends["hinge", 0.25][order[i]] for n, i in enumerate((len(order) // 2, -2, -1), start=1)}
    bottom = torch.zeros(len(shown), dtype=torch.float64)
    for mode, colour in enumerate((report.BLUE, report.SKY, report.ORANGE, report.PURPLE)):
        heights = torch.stack([generator[mode] for generator in shown.values()])
        examples.bar(list(shown), heights.tolist(), bottom=bottom.tolist(), color=colour, label=f"mode {mode + 1}")
        bottom += heights
    examples.set(title="optimal at λ = 1/4", ylim=(0, 1.3))
    examples.tick_params(axis="x", labelsize=8)
    examples.legend(fontsize=8, frameon=False, ncols=2, loc="upper center")
    return figure


@command
def main(
    output: Annotated[Path, typer.Option(help="The figure")] = Path("runs/theory/hinge.png"),
    starts: Annotated[int, typer.Option(help="Random generators to start games from", min=3)] = 200,
) -> None:
    """How many generators hinge loss cannot tell from the data, and where games end."""
    ends = play_all(discrete.random_generators(starts, len(DATA), source(0, "starts")))
    generators = discrete.random_generators(100_000, POINTS, source(0, "generators"))
    report.table(
        "What hinge loss accepts; games from random starts, total variation to the data",
        [
            "λ",
            "optimal generators",
            "least cover, 4 modes",
            "10 modes",
            "hinge, mean",
            "furthest",
            "softplus, furthest",
        ],
        [
            [
                f"{weight:g}",
                f"{100 * discrete.hinge_optimal_share(DATA[:POINTS], weight):.1f} %",
                f"{100 * narrowest_cover(DATA[:POINTS], weight):.0f} %",
                f"{100 * narrowest_cover(TEN_MODES, weight):.0f} %",
                f"{distances(ends['hinge', weight]).mean():.3f}",
                f"{distances(ends['hinge', weight]).max():.3f}",
                f"{distances(ends['softplus', weight]).max():.1e}",
            ]
            for weight in FAKE_WEIGHTS
        ],
    )
    check(ends, generators)
    report.save(draw(ends, generators), output)


if __name__ == "__main__":
    typer.run(main)
