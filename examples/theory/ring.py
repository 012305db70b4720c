"""Eight Gaussians on a ring, few points to learn them from: ``python -m examples.theory.ring``.

A generator that is continuous has to cross from mode to mode, and 64 points do not say where the data end. Negatives
do: they lie between neighbouring modes and in the middle. What is measured, on three seeds, is how much of the
generator is where negatives are, and how many modes it shows. ``--middle 1`` leaves the gaps between modes open, as the
control for what negatives there do to the way from mode to mode.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated

import torch
import typer
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor, nn

from examples.common import randomness
from examples.common.randomness import generator as source
from examples.common.runs import command
from examples.theory import report, runs
from examples.theory.adversary import Settings, train
from examples.theory.discrete import FAKE_WEIGHTS
from examples.theory.runs import Result
from nda_augment.losses import GANKind

MODES = 8
SPREAD = 0.05  # standard deviation of a mode; the ring has radius 1
POINTS = 64  # to learn from
KINDS: tuple[GANKind, ...] = ("softplus", "hinge")
SEEDS = (1, 2, 3)  # 0 is the one that rate and penalty were chosen with, at λ = 1
MEASURES = ("forbidden", "modes", "imbalance")

_SECTOR = 2 * math.pi / MODES
_RING = (0.8, 1.2)  # radii between which gaps between modes are forbidden, over the middle half of their angle
_MIDDLE = 0.4  # radius of the forbidden disc in the centre
_REACH = 4 * SPREAD  # what is nearer to a centre than this belongs to the mode


@dataclass(frozen=True)
class RingSettings(Settings):
    """Of a run, and where its negatives are."""

    middle: float = 0.2  # share of the negatives in the middle of the ring; the others lie between the modes


def draw_data(count: int, draws: torch.Generator) -> Tensor:
    """Points of the ring, ``(count, 2)``."""
    modes = torch.randint(MODES, (count,), generator=draws)
    noise = torch.randn(count, 2, generator=draws)
    return _centres()[modes] + SPREAD * noise


def draw_negatives(count: int, draws: torch.Generator, middle: float = RingSettings.middle) -> Tensor:
    """Points where no data are, uniform over the disc in the middle, which gets its share, and over the gaps.

    Returns:
        ``(count, 2)``.
    """
    gap = torch.randint(MODES, (count,), generator=draws)
    inside, across, which = torch.rand(3, count, generator=draws)
    low, high = _RING
    in_middle = which < middle
    # Uniform over an area means uniform in the squared radius.
    radius = torch.where(in_middle, _MIDDLE**2 * inside, low**2 + (high**2 - low**2) * inside).sqrt()
    angle = torch.where(in_middle, 2 * math.pi * across, (gap + 0.25 + 0.5 * across) * _SECTOR)
    return torch.stack([radius * angle.cos(), radius * angle.sin()], dim=1)


def is_forbidden(points: Tensor) -> Tensor:
    """Whether points ``(N, 2)`` lie where negatives are drawn from."""
    radius = points.norm(dim=1)
    turn = torch.atan2(points[:, 1], points[:, 0]) / _SECTOR
    between = ((turn - turn.floor()) - 0.5).abs() <= 0.25
    forbidden: Tensor = (radius <= _MIDDLE) | (between & (radius >= _RING[0]) & (radius <= _RING[1]))
    return forbidden


def measure(points: Tensor) -> dict[str, float]:
    """What a generator makes, from a sample ``(N, 2)`` of it.

    Returns:
        ``forbidden``: its share in the gaps and the middle. ``modes``: how many modes have at least a quarter of their
        fair share. ``imbalance``: total variation between the modes' shares, of what is in one, and equal ones.
    """
    distance, nearest = torch.cdist(points, _centres()).min(dim=1)
    counts = torch.bincount(nearest[distance <= _REACH], minlength=MODES).double()
    shares = counts / counts.sum().clamp_min(1)
    return {
        "forbidden": is_forbidden(points).double().mean().item(),
        "modes": float((counts / len(points) >= 0.25 / MODES).sum()),
        "imbalance": (shares - 1 / MODES).abs().sum().item() / 2,
    }


def networks(seed: int, latent: int, width: int = 64) -> tuple[nn.Module, nn.Module]:
    """Generator and discriminator, two hidden layers each."""
    with randomness.seeded(seed, "weights"):
        return _layers(latent, width, 2), nn.Sequential(_layers(2, width, 1), nn.Flatten(0))


def run(settings: RingSettings, samples: int = 10_000) -> Result:
    """Train one generator: its measures and 400 points at four moments."""
    training = draw_data(POINTS, source(settings.seed, "data"))
    latents = torch.randn(samples, settings.latent, generator=source(settings.seed, "samples"))
    generator, discriminator = networks(settings.seed, settings.latent)

    def draw_training(count: int, draws: torch.Generator) -> Tensor:
        return training[torch.randint(len(training), (count,), generator=draws)]

    moments = {max(1, settings.steps * part // 20): part for part in (1, 4, 10, 20)}
    frames = {}
    negative = partial(draw_negatives, middle=settings.middle)
    for step in train(generator, discriminator, draw_training, negative, settings):
        if step in moments:
            with torch.no_grad():
                points = generator(latents)
            frames[str(step)] = [[round(x, 3) for x in point] for point in points[:400].tolist()]
    return {**measure(points), "frames": frames}


def draw_frames(results: dict[RingSettings, Result]) -> Figure:
    """A strip for each of three settings: the generator at four moments, over data and negatives."""
    strips = [("softplus", 1.0), ("softplus", 0.25), ("hinge", 0.25)]
    one = min(results, key=lambda settings: settings.seed)
    first = one.seed
    figure = Figure(figsize=(9.6, 7.4), layout="constrained")
    figure.suptitle(
        f"A ring of eight Gaussians learned from {POINTS} points (crosses); negatives in grey; seed {first}"
    )
    axes = figure.subplots(len(strips), 4, sharex=True, sharey=True)
    negatives = draw_negatives(1500, source(0, "figure"), one.middle)
    training = draw_data(POINTS, source(first, "data"))
    for row, (kind, weight) in zip(axes, strips, strict=True):
        shown = next(r for s, r in results.items() if (s.kind, s.fake_weight, s.seed) == (kind, weight, first))
        row[0].set_ylabel(f"{kind}, λ = {weight:g}", fontsize=11)
        for panel, (step, points) in zip(row, shown["frames"].items(), strict=True):
            _scatter(panel, negatives, color="#d9d9d9", s=2)
            _scatter(panel, training, color="black", marker="x", s=16, linewidth=0.8)
            colour = report.RED if kind == "hinge" else report.BLUE
            _scatter(panel, torch.tensor(points), color=colour, s=4, alpha=0.6)
            panel.set(xlim=(-1.6, 1.6), ylim=(-1.6, 1.6), xticks=[], yticks=[], aspect="equal")
            if row is axes[0]:
                panel.set_title(f"step {step}", fontsize=10)
    return figure


def draw_measures(results: dict[RingSettings, Result]) -> Figure:
    """Each measure over λ, every seed a dot, the means joined."""
    figure, panels = report.panels(len(MEASURES), f"Eight modes, {POINTS} points: mean and each seed")
    titles = ("share in the gaps and the middle", "modes shown, of 8", "imbalance of the modes")
    for panel, name, title in zip(panels, MEASURES, titles, strict=True):
        for kind, colour, side in (("softplus", report.BLUE, -0.012), ("hinge", report.RED, 0.012)):
            values = {weight: _values(results, kind, weight, name) for weight in FAKE_WEIGHTS}
            places = [weight + side for weight in values]
            panel.plot(places, [sum(each) / len(each) for each in values.values()], color=colour, label=kind)
            for place, each in zip(places, values.values(), strict=True):
                panel.plot([place] * len(each), each, "o", color=colour, alpha=0.6, ms=5)
        panel.set(title=title, xlabel="λ", xticks=FAKE_WEIGHTS)
        panel.set_ylim(0, MODES + 0.4 if name == "modes" else None)
    panels[0].legend(frameon=False)
    return figure


def _centres() -> Tensor:
    angles = torch.arange(MODES) * _SECTOR
    return torch.stack([angles.cos(), angles.sin()], dim=1)


def _layers(inputs: int, width: int, outputs: int) -> nn.Module:
    return nn.Sequential(
        nn.Linear(inputs, width),
        nn.LeakyReLU(0.2),
        nn.Linear(width, width),
        nn.LeakyReLU(0.2),
        nn.Linear(width, outputs),
    )


def _values(results: dict[RingSettings, Result], kind: str, weight: float, name: str) -> list[float]:
    return [result[name] for s, result in results.items() if (s.kind, s.fake_weight) == (kind, weight)]


def _scatter(panel: Axes, points: Tensor, **style: object) -> None:
    panel.scatter(*points.T.tolist(), **style)  # type: ignore[arg-type]


def settings_of(seeds: Sequence[int], steps: int, middle: float) -> list[RingSettings]:
    """All runs."""
    return [
        RingSettings(kind, weight, seed=seed, steps=steps, latent=2, rate=2e-3, r1=0.03, middle=middle)
        for seed in seeds
        for kind in KINDS
        for weight in FAKE_WEIGHTS
    ]


@command
def main(
    output: Annotated[Path, typer.Option(help="Folder of the runs and the figures")] = Path("runs/theory/ring"),
    seeds: Annotated[int, typer.Option(help="How many", min=1)] = len(SEEDS),
    steps: Annotated[int, typer.Option(min=20)] = 2000,
    middle: Annotated[
        float, typer.Option(help="Share of the negatives in the middle; at 1 no gap is closed", min=0, max=1)
    ] = RingSettings.middle,
) -> None:
    """Train GANs on a ring of Gaussians with negatives in its gaps: λ in {1, 0.75, 0.5, 0.25}, softplus and hinge."""
    data = draw_data(100_000, source(0, "check"))
    report.confirm("negatives lie where the data are not", is_forbidden(data).double().mean().item(), 1e-3)
    drawn = is_forbidden(draw_negatives(10_000, source(0, "check"), middle)).double().mean().item()
    report.confirm("all of them lie where they should", 1 - drawn, 1e-3)
    results = runs.run_all(settings_of(range(SEEDS[0], SEEDS[0] + seeds), steps, middle), run, output)
    report.table(
        f"Mean ± standard deviation over {seeds} seeds",
        ["loss", "λ", "in gaps and middle", "modes of 8", "imbalance"],
        [
            [kind, f"{weight:g}", *(runs.spread(_values(results, kind, weight, name)) for name in MEASURES)]
            for kind in KINDS
            for weight in FAKE_WEIGHTS
        ],
    )
    report.save(draw_frames(results), output / "frames.png")
    report.save(draw_measures(results), output / "measures.png")


if __name__ == "__main__":
    typer.run(main)
