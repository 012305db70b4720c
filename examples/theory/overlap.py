"""Negatives that are not negative: ``python -m examples.theory.overlap``.

The theorem wants negatives where there is no data. Two ways to break that:

- **Overlap**: some negatives look like a part of the data. Then the optimum moves, the same for every strictly convex
  loss: the generator leaves that part to the negatives, and below a certain λ drops it.
- **Leak**: some negatives are unmodified images, as in the code released with the paper. The optimum stays, and the
  discriminator is there as with fewer negatives: a share ε of unmodified images makes λ into λ + (1 − λ) ε. But a wrong
  generator costs less.
"""

import math
from itertools import permutations
from pathlib import Path
from typing import Annotated

import torch
import typer
from matplotlib.figure import Figure
from torch import Tensor

from examples.common.randomness import generator as source
from examples.common.runs import command
from examples.theory import discrete, report, tables
from examples.theory.discrete import ALL_WEIGHTS, DATA, FAKE_WEIGHTS, NEGATIVES, STRICTLY_CONVEX
from nda_augment.functional import jigsaw

OVERLAPS = (0.05, 0.1, 0.25, 0.5)
LEAKS = (0.0, 1 / 23, 0.25, 0.5, 1.0)
RAREST = 3


def overlapping(share: float) -> Tensor:
    """Negatives of which a share looks like the rarest mode of the data, ``(K,)``."""
    rarest = torch.zeros_like(DATA)
    rarest[RAREST] = 1
    return torch.lerp(NEGATIVES, rarest, share)


def leaking(share: float) -> Tensor:
    """Negatives of which a share is unmodified data, ``(K,)``."""
    return torch.lerp(NEGATIVES, DATA, share)


def critical_weight(frequency: float, overlap: float) -> float:
    """The λ at which a mode of so much data is dropped, if such a share of the negatives looks like it."""
    odds = overlap * (1 / frequency - 1)
    return odds / (1 + odds)


def effective_weight(fake_weight: float, leak: float) -> float:
    """The λ without a leak that has the same optimum, value and discriminator as this one with a leak."""
    return fake_weight + (1 - fake_weight) * leak


def leaked_share_of_transposed_jigsaw(side: int = 2) -> float:
    """How often a jigsaw returns its image if it cuts row by row but puts together column by column.

    All orders of the pieces but the identity are equally likely, as in the code released with the paper.
    """
    image = torch.arange(float(side**2)).view(1, 1, side, side)
    drawn = [order for order in permutations(range(side**2)) if order != tuple(range(side**2))]
    # Place i of the rows is place i of the columns, transposed.
    placed = torch.tensor(drawn).view(-1, side, side).mT.flatten(1)
    returned = jigsaw(image.expand(len(drawn), -1, -1, -1), placed, (side, side))
    return (returned == image).flatten(1).all(dim=1).double().mean().item()


def price_of_leak(fake_weight: float, leak: float) -> float:
    """What a small fault of the generator costs with a leak, of what it costs without (Jensen-Shannon), exactly.

    Near the optimum the price is ``λ² / (λ' (1 + λ'))`` times a constant, with λ' the effective weight.
    """
    effective = effective_weight(fake_weight, leak)
    return fake_weight * (1 + fake_weight) / (effective * (1 + effective))


def measured_price(fake_weight: float, leak: float) -> float:
    """What Jensen-Shannon charges for a small fault: a thousandth of the rarest mode goes to the first."""
    fault = torch.zeros_like(DATA)
    fault[RAREST], fault[0] = -1e-4, 1e-4
    wrong, right = (
        discrete.divergence("Jensen-Shannon", DATA, discrete.mix(generator, leaking(leak), fake_weight)).item()
        for generator in (DATA + fault, DATA)
    )
    return wrong - right


def check(starts: Tensor) -> None:
    """Compare descents with the closed form of the optimum, and leaks with the λ that they amount to."""
    _check_overlaps(starts)
    for leak in LEAKS:
        apart = max(_apart_from_effective(fake_weight, leak) for fake_weight in FAKE_WEIGHTS)
        claim = f"leak {leak:.3f}: the optimum is the data, and value and discriminator there those of λ + (1 − λ) ε"
        report.confirm(claim, apart, 1e-9)
        price, exact = measured_price(0.25, leak) / measured_price(0.25, 0), price_of_leak(0.25, leak)
        report.confirm(f"leak {leak:.3f}, λ = 0.25: a small fault costs {exact:.3f} of it", abs(price - exact), 1e-3)
    returned = leaked_share_of_transposed_jigsaw()
    report.confirm("the released 2x2 jigsaw returns its image once in 23", abs(returned - 1 / 23), 1e-12)


def _check_overlaps(starts: Tensor) -> None:
    cases = [(overlap, weight) for overlap in OVERLAPS for weight in FAKE_WEIGHTS[1:]]
    negatives = torch.stack([overlapping(overlap) for overlap, _ in cases])[:, None]
    weights = torch.tensor([weight for _, weight in cases], dtype=torch.float64)[:, None, None]
    exact = torch.stack([discrete.optimum(DATA, overlapping(overlap), weight) for overlap, weight in cases])[:, None]
    for name in STRICTLY_CONVEX:

        def objective(generators: Tensor, name: str = name) -> Tensor:
            return discrete.divergence(name, DATA, discrete.mix(generators, negatives, weights))

        ends = discrete.descend(objective, starts.repeat(len(cases), 1, 1))
        claim = f"{name}: at every overlap and λ the optimum is where the formula says"
        report.confirm(claim, (ends - exact).abs().max().item(), 1e-4)
    for overlap in OVERLAPS:
        around = critical_weight(DATA[RAREST].item(), overlap)
        below, above = (discrete.optimum(DATA, overlapping(overlap), around + by)[RAREST] for by in (-1e-6, 1e-6))
        claim = f"overlap {overlap:g}: the mode is dropped from λ = {around:.3f} down, and not before"
        report.confirm(claim, below.item() if above > 0 else 1.0, 0)


def _apart_from_effective(fake_weight: float, leak: float) -> float:
    """The largest difference between a leak and the λ it amounts to, in optimum, values and discriminator."""
    mixed, effective = discrete.mix(DATA, leaking(leak), fake_weight), effective_weight(fake_weight, leak)
    apart = [(discrete.optimum(DATA, leaking(leak), fake_weight) - DATA).abs().max().item()]
    apart += [
        abs(discrete.divergence(name, DATA, mixed).item() - discrete.minimum(name, effective))
        for name in STRICTLY_CONVEX
    ]
    logits = tables.best_logits(DATA, mixed, "softplus")[DATA > 0]
    apart.append((logits + math.log(effective)).abs().max().item())
    return max(apart)


def draw(start: Tensor) -> Figure:
    """The mode that negatives overlap; what a leak amounts to, and what it takes away."""
    figure, (modes, leaks, prices) = report.panels(3, "Negatives that overlap the data, or are data")
    weights = torch.linspace(0.05, 1, 200).tolist()
    colours = (report.GREY, report.SKY, report.BLUE, report.RED)

    negatives = torch.stack([overlapping(overlap) for overlap in OVERLAPS])
    played = tables.play(DATA, negatives, start.expand(len(FAKE_WEIGHTS), len(OVERLAPS), -1), "softplus", ALL_WEIGHTS)
    for place, (overlap, colour) in enumerate(zip(OVERLAPS, colours, strict=True)):
        line = [discrete.optimum(DATA, overlapping(overlap), weight)[RAREST].item() for weight in weights]
        modes.plot(weights, line, color=colour, label=f"{100 * overlap:g} % overlap")
        modes.plot(FAKE_WEIGHTS, played[:, place, RAREST].tolist(), "o", color=colour)
    modes.set(
        title="the overlapped mode: 0.1 of the data", xlabel="λ", ylabel="share in the generator", ylim=(-0.005, 0.15)
    )
    modes.legend(fontsize=8, frameon=False, loc="upper left", ncols=2)

    shares = torch.linspace(0, 1, 50).tolist()
    for fake_weight, colour in report.OF_WEIGHT.items():
        line = [effective_weight(fake_weight, share) for share in shares]
        leaks.plot(shares, line, color=colour, label=f"λ = {fake_weight:g}")
        prices.plot(shares, [price_of_leak(fake_weight, share) for share in shares], color=colour)
    for panel, high in ((leaks, 0.08), (prices, 1.03)):
        panel.axvline(1 / 23, color="black", linewidth=0.8, linestyle=":")
        panel.annotate("released jigsaw", (1 / 23, high), xytext=(0.07, high), fontsize=8)
        panel.set(xlabel="share of negatives that are unmodified images", ylim=(0, 1.12))
    leaks.set_title("the λ that a leak amounts to")
    leaks.legend(fontsize=8, frameon=False, loc="lower right")
    prices.set_title("what a small fault still costs")
    return figure


@command
def main(
    output: Annotated[Path, typer.Option(help="The figure")] = Path("runs/theory/overlap.png"),
    starts: Annotated[int, typer.Option(help="Random generators to start from", min=1)] = 20,
) -> None:
    """Where the optimum goes when negatives overlap the data, and what unmodified images among them do."""
    generators = discrete.random_generators(starts, len(DATA), source(0, "starts"))
    mode = DATA[RAREST].item()
    report.table(
        "Share that the best generator gives to a mode with 0.1 of the data",
        ["overlap", *(f"λ = {weight:g}" for weight in FAKE_WEIGHTS), "dropped from λ ="],
        [
            [
                f"{100 * overlap:g} %",
                *(f"{discrete.optimum(DATA, overlapping(overlap), w)[RAREST]:.4f}" for w in FAKE_WEIGHTS),
                f"{critical_weight(mode, overlap):.3f}",
            ]
            for overlap in OVERLAPS
        ],
    )
    check(generators)
    report.save(draw(generators[0]), output)


if __name__ == "__main__":
    typer.run(main)
