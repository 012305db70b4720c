"""Can a generator count to six? ``python -m examples.theory.dots``.

Every training image shows six dots, at random places. Generators trained on them show five or seven as well, which
nobody has shown them, but nobody has forbidden either (Zhao et al., NeurIPS 2018). Here negatives are images of four,
five and seven dots, as in the first experiment of Sinha et al., ICLR 2021. All images are drawn on the fly, so there is
no training set to run out of, and dots are counted as connected components.
"""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import torch
import typer
from matplotlib.figure import Figure
from skimage.measure import label
from torch import Tensor, nn

from examples.common import pictures, randomness
from examples.common.randomness import generator as source
from examples.common.runs import command
from examples.theory import report, runs
from examples.theory.adversary import Settings, train
from examples.theory.runs import Result

SIZE = 16
DOTS = 6
NOT_SO_MANY = (4, 5, 7)
SEEDS = (1, 2, 3)  # 0 is the one that rates and penalties were chosen with, at λ = 1
WITH_NEGATIVES = 0.25  # λ
SAMPLES = 1000
TITLES = {"wasserstein": "WGAN-GP", "softplus": "softplus"}

_CELL = 4  # pixels; a dot of 2x2 pixels moves by one within its cell, so that dots never touch


def draw_dots(counts: Tensor, draws: torch.Generator) -> Tensor:
    """Images with so many dots each, ``(B,)`` to ``(B, 1, 16, 16)`` in [-1, 1]."""
    cells = SIZE // _CELL
    order = torch.rand(len(counts), cells**2, generator=draws).argsort(dim=1)
    filled = (order < counts[:, None]).view(-1, 1, cells, 1, cells, 1)
    down, right = torch.randint(2, (2, len(counts), 1, cells, 1, cells, 1), generator=draws)
    row, column = torch.arange(_CELL).view(-1, 1, 1), torch.arange(_CELL)
    inside = ((row == down) | (row == down + 1)) & ((column == right) | (column == right + 1))
    images: Tensor = (filled & inside).reshape(-1, 1, SIZE, SIZE) * 2.0 - 1
    return images


def draw_data(count: int, draws: torch.Generator) -> Tensor:
    """Images of six dots, ``(count, 1, 16, 16)``."""
    return draw_dots(torch.full((count,), DOTS), draws)


def draw_negatives(count: int, draws: torch.Generator) -> Tensor:
    """Images of four, five or seven dots, ``(count, 1, 16, 16)``."""
    which = torch.randint(len(NOT_SO_MANY), (count,), generator=draws)
    return draw_dots(torch.tensor(NOT_SO_MANY)[which], draws)


def count_dots(images: Tensor) -> list[int]:
    """How many connected bright regions each image of ``(N, 1, H, W)`` has."""
    bright = (images[:, 0] > 0).numpy()
    return [int(label(image, connectivity=2).max()) for image in bright]  # type: ignore[no-untyped-call]


def networks(seed: int, latent: int, width: int = 32) -> tuple[nn.Module, nn.Module]:
    """Small networks whose first and last convolutions see one cell of the image each."""
    cells = (SIZE // _CELL) ** 2
    with randomness.seeded(seed, "weights"):
        generator = nn.Sequential(
            nn.Linear(latent, 4 * width),
            nn.BatchNorm1d(4 * width),
            nn.ReLU(),
            nn.Linear(4 * width, width * cells),
            nn.BatchNorm1d(width * cells),
            nn.ReLU(),
            nn.Unflatten(1, (width, SIZE // _CELL, SIZE // _CELL)),
            nn.ConvTranspose2d(width, 1, _CELL, stride=_CELL),
            nn.Tanh(),
        )
        discriminator = nn.Sequential(
            nn.Conv2d(1, width, _CELL, stride=_CELL),
            nn.LeakyReLU(0.2),
            nn.Flatten(),
            nn.Linear(width * cells, 4 * width),
            nn.LeakyReLU(0.2),
            nn.Linear(4 * width, 2 * width),
            nn.LeakyReLU(0.2),
            nn.Linear(2 * width, 1),
            nn.Flatten(0),
        )
        return generator, discriminator


def run(settings: Settings) -> Result:
    """Train one generator: how many of its images show how many dots, and the first 36 of them."""
    generator, discriminator = networks(settings.seed, settings.latent)
    for _ in train(generator, discriminator, draw_data, draw_negatives, settings):
        pass
    latents = torch.randn(SAMPLES, settings.latent, generator=source(settings.seed, "samples"))
    with torch.no_grad():
        images = generator.eval()(latents)
    counts = Counter(count_dots(images))
    pixels = (images[:36, 0] * 100).round().int().tolist()
    return {"counts": {str(number): counts[number] for number in sorted(counts)}, "pixels": pixels}


def share(counts: dict[str, int], numbers: Sequence[int]) -> float:
    """Which share of the images show one of these numbers of dots, in percent."""
    return 100 * sum(counts.get(str(number), 0) for number in numbers) / sum(counts.values())


def draw(results: dict[Settings, Result]) -> Figure:
    """Histograms of dots with and without negatives, and samples of the first seed."""
    kinds = list(dict.fromkeys(settings.kind for settings in results))
    figure = Figure(figsize=(9.6, 3.9 * len(kinds)), layout="constrained")
    figure.suptitle("Trained on images of six dots; negatives have four, five or seven")
    rows = figure.subplots(len(kinds), 3, squeeze=False, width_ratios=(1.5, 1, 1))
    numbers = list(range(1, 13))
    for (histogram, *grids), kind in zip(rows, kinds, strict=True):
        arms = ((1.0, report.GREY, "plain", -0.2), (WITH_NEGATIVES, report.BLUE, "with negatives", 0.2))
        for (weight, colour, name, side), grid in zip(arms, grids, strict=True):
            chosen = [result for s, result in results.items() if (s.kind, s.fake_weight) == (kind, weight)]
            heights = [[share(result["counts"], [number]) for result in chosen] for number in numbers]
            means = [sum(each) / len(each) for each in heights]
            histogram.bar([number + side for number in numbers], means, width=0.4, color=colour, label=name)
            for number, each in zip(numbers, heights, strict=True):
                histogram.plot([number + side] * len(each), each, ".", color="black", ms=3)
            pixels = torch.tensor(chosen[0]["pixels"])[:, None] / 100
            grid.imshow(pictures.grid(pixels, columns=6, scale=3)[0].numpy(), cmap="gray", interpolation="nearest")
            grid.set_title(f"{name}, seed {SEEDS[0]}", fontsize=10)
            grid.set_axis_off()
        histogram.set(title=f"{TITLES[kind]}: % of images with so many dots", xticks=numbers, xlabel="dots")
        histogram.spines[["top", "right"]].set_visible(False)
        histogram.legend(fontsize=9, frameon=False)
    return figure


def settings_of(seeds: Sequence[int], steps: int) -> list[Settings]:
    """All runs."""
    special = {
        "wasserstein": {"gradient_penalty": 10.0, "discriminator_steps": 2},
        "softplus": {"r1": 0.1, "discriminator_steps": 1},
    }
    return [
        Settings(kind, weight, seed=seed, steps=steps, batch_size=64, latent=32, **words)  # type: ignore[arg-type]
        for seed in seeds
        for kind, words in special.items()
        for weight in (1.0, WITH_NEGATIVES)
    ]


@command
def main(
    output: Annotated[Path, typer.Option(help="Folder of the runs and the figure")] = Path("runs/theory/dots"),
    seeds: Annotated[int, typer.Option(help="How many", min=1)] = len(SEEDS),
    steps: Annotated[int, typer.Option(min=1)] = 1000,
) -> None:
    """Train GANs on images of six dots, with images of four, five and seven dots as negatives and without."""
    for number in (*NOT_SO_MANY, DOTS):
        drawn = count_dots(draw_dots(torch.full((100,), number), source(0, "check", number)))
        report.confirm(f"images of {number} dots are counted to have {number}", max(abs(n - number) for n in drawn), 0)
    results = runs.run_all(settings_of(range(SEEDS[0], SEEDS[0] + seeds), steps), run, output)
    arms = dict.fromkeys((settings.kind, settings.fake_weight) for settings in results)
    columns = {"six": [DOTS], "as negatives: 4, 5, 7": NOT_SO_MANY, "other": [0, 1, 2, 3, *range(8, SIZE**2)]}
    report.table(
        f"% of {SAMPLES} images, mean ± standard deviation over {seeds} seeds",
        ["loss", "λ", *columns],
        [
            [
                TITLES[kind],
                f"{weight:g}",
                *(
                    runs.spread(
                        [share(r["counts"], numbers) for s, r in results.items() if (s.kind, s.fake_weight) == arm], 1
                    )
                    for numbers in columns.values()
                ),
            ]
            for arm in arms
            for kind, weight in [arm]
        ],
    )
    report.save(draw(results), output / "dots.png")


if __name__ == "__main__":
    typer.run(main)
