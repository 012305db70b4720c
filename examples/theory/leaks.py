"""Do negatives keep augmentations out of what a generator makes? ``python -m examples.theory.leaks``.

A share p of the real images that the discriminator sees is augmented: turned by quarters, or with a hole. Where the
generated images are judged as they are, the generator learns to make augmented images too, p of all. Negatives that are
the same augmentation of real images take their place beside the generator's: with weight 1 − λ of them, the best
generator makes ``max(0, p − (1 − λ)) / λ`` of augmented images, none from 1 − λ = p on. Jigsaws, which break something
else, leave p. Where everything that the discriminator sees is augmented alike, as ADA does, the best generator makes no
augmented images, and what leaks leaks because training is not done. ANDA's case is that: a share 1 − p of generated
images has a fifth of a jigsaw of a real one in it, where p is augmented.

Images are scikit-learn's digits of the classes 2, 3, 4, 5 and 7, which no quarter turn makes into each other.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Annotated

import torch
import typer
from matplotlib.figure import Figure
from sklearn.datasets import load_digits
from torch import Tensor, nn

import nda_augment as nda
from examples.common import pictures, randomness
from examples.common.randomness import generator as source
from examples.theory import report, runs
from examples.theory.adversary import Settings, train
from examples.theory.runs import Result
from nda_augment._seeding import seeded
from nda_augment.metrics import precision_recall_density_coverage
from nda_augment.transforms import NegativeTransform

SIZE = 8
CLASSES = (2, 3, 4, 5, 7)
SAMPLES = 1000
TRANSFORMS: dict[str, Callable[[], NegativeTransform]] = {
    "turn": nda.Rotate90,
    "hole": lambda: nda.Cutout(fill="zero"),
    "jigsaw": nda.Jigsaw,
}


@dataclass(frozen=True)
class Leak(Settings):
    """A run: which augmentation, of which share, on what the discriminator sees, against which negatives."""

    augmentation: str = "turn"
    share: float = 0.4
    everywhere: bool = False  # on generated images and negatives too
    negative: str = "turn"

    @property
    def arm(self) -> str:
        """A name for tables and folders."""
        seen = "all" if self.everywhere else "real"
        against = f"{self.negative} blended" if self.blend else self.negative
        return f"{self.augmentation} on {seen}, {'plain' if self.fake_weight == 1 else against}"

    @property
    def best(self) -> float:
        """The share of augmented images that the best generator makes."""
        if self.everywhere:
            return 0.0
        if self.fake_weight == 1 or self.negative != self.augmentation:
            return self.share
        return max(0.0, self.share - (1 - self.fake_weight)) / self.fake_weight


def images_of(half: int) -> Tensor:
    """Every other digit, ``(N, 1, 8, 8)`` in [-1, 1]: the GANs train on half 0, the judge on half 1."""
    digits = load_digits()
    chosen = torch.isin(torch.from_numpy(digits.target), torch.tensor(CLASSES))
    images = torch.from_numpy(digits.images).float()[chosen, None] / 8 - 1
    return images[half::2]


class Sometimes(nn.Module):
    """Augment each image with a probability, from draws of its own."""

    def __init__(self, augmentation: str, share: float, draws: torch.Generator) -> None:
        super().__init__()
        self.transform = TRANSFORMS[augmentation]()
        self.share, self.draws = share, draws

    def forward(self, images: Tensor) -> Tensor:
        """``(B, 1, 8, 8)`` to the same."""
        chosen = torch.rand(len(images), 1, 1, 1, generator=self.draws) < self.share
        augmented: Tensor = self.transform(images, generator=self.draws)
        return torch.where(chosen, augmented, images)


def networks(settings: Leak, width: int = 128) -> tuple[nn.Module, nn.Module]:
    """A generator, and a discriminator that augments what it sees if the settings say so."""
    with randomness.seeded(settings.seed, "weights"):
        generator = nn.Sequential(
            nn.Linear(settings.latent, width),
            nn.BatchNorm1d(width),
            nn.ReLU(),
            nn.Linear(width, width),
            nn.BatchNorm1d(width),
            nn.ReLU(),
            nn.Linear(width, SIZE**2),
            nn.Tanh(),
            nn.Unflatten(1, (1, SIZE, SIZE)),
        )
        discriminator = nn.Sequential(
            nn.Flatten(),
            nn.Linear(SIZE**2, width),
            nn.LeakyReLU(0.2),
            nn.Linear(width, width),
            nn.LeakyReLU(0.2),
            nn.Linear(width, 1),
            nn.Flatten(0),
        )
    if settings.everywhere:
        draws = source(settings.seed, "augmentation")
        discriminator = nn.Sequential(Sometimes(settings.augmentation, settings.share, draws), discriminator)
    return generator, discriminator


class Judge:
    """Tells augmented images from others: a small classifier, and how often it is right on images it has not seen."""

    def __init__(self, augmentation: str, steps: int = 600) -> None:
        transform, draws = TRANSFORMS[augmentation](), source(0, "judge", len(augmentation))
        with seeded(0):
            self.network = nn.Sequential(nn.Flatten(), nn.Linear(SIZE**2, 128), nn.ReLU(), nn.Linear(128, 1))
        optimizer = torch.optim.AdamW(self.network.parameters(), 3e-3, weight_decay=1e-2)
        images = images_of(1)
        for _ in range(steps):
            batch = images[torch.randint(len(images), (64,), generator=draws)]
            shown = torch.cat([batch, transform(batch, generator=draws)])
            loss = nn.functional.binary_cross_entropy_with_logits(
                self.network(shown).flatten(), torch.arange(2.0).repeat_interleave(64)
            )
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        unseen = images_of(0)
        self.on_real = self._called(unseen)
        self.on_augmented = self._called(transform(unseen, generator=draws))

    def share(self, images: Tensor) -> float:
        """Which share is augmented, freed of the judge's own errors: 0 for real images, 1 for augmented ones."""
        return (self._called(images) - self.on_real) / (self.on_augmented - self.on_real)

    @torch.no_grad()
    def _called(self, images: Tensor) -> float:
        return float((self.network(images) > 0).float().mean())


@cache
def judge(augmentation: str) -> Judge:
    """The judge of an augmentation, the same in all runs."""
    return Judge(augmentation)


def run(settings: Leak) -> Result:
    """Train one generator: the share of its images that are augmented, how it covers the data, and a few of them."""
    images, negative = images_of(0), TRANSFORMS[settings.negative]()
    augment = TRANSFORMS[settings.augmentation]()
    generator, discriminator = networks(settings)

    def draw_data(count: int, draws: torch.Generator) -> Tensor:
        batch = images[torch.randint(len(images), (count,), generator=draws)]
        chosen = torch.rand(count, 1, 1, 1, generator=draws) < (0 if settings.everywhere else settings.share)
        return torch.where(chosen, augment(batch, generator=draws), batch)

    def draw_negatives(count: int, draws: torch.Generator) -> Tensor:
        batch = images[torch.randint(len(images), (count,), generator=draws)]
        negatives: Tensor = negative(batch, generator=draws)
        return negatives

    for _ in train(generator, discriminator, draw_data, draw_negatives, settings):
        pass
    with torch.no_grad():
        made = generator.eval()(torch.randn(SAMPLES, settings.latent, generator=source(settings.seed, "samples")))
    held_out = images_of(1)
    measured = precision_recall_density_coverage(held_out.flatten(1), made[: len(held_out)].flatten(1))
    return {
        "leak": judge(settings.augmentation).share(made),
        "coverage": measured.coverage.item(),
        "precision": measured.precision.item(),
        "pixels": (made[:24, 0] * 100).round().int().tolist(),
    }


def arms(steps: int) -> list[Leak]:
    """All arms, with seed 0."""
    common = {"kind": "softplus", "steps": steps, "batch_size": 64, "latent": 32, "r1": 0.1}
    on_real = [(1.0, "{}", 0.0), (0.75, "{}", 0.0), (0.6, "{}", 0.0), (0.6, "jigsaw", 0.0)]
    on_all = [(1.0, "{}", 0.0), (0.75, "{}", 0.0), (0.7, "jigsaw", 0.2)]
    return [
        Leak(
            fake_weight=weight,
            augmentation=augmentation,
            share=0.7 if everywhere else 0.4,
            everywhere=everywhere,
            negative=negative.format(augmentation),
            blend=blend,
            **common,  # type: ignore[arg-type]
        )
        for everywhere, tried in ((False, on_real), (True, on_all))
        for augmentation in ("turn", "hole")
        for weight, negative, blend in tried
    ]


def draw(results: dict[Leak, Result]) -> Figure:
    """Measured against predicted leaks, and samples of each arm with augmented real images."""
    figure = Figure(figsize=(9.6, 4.2), layout="constrained")
    leaks, *grids = figure.subplots(1, 4, width_ratios=(2, 1, 1, 1))
    places = {"turn": report.BLUE, "hole": report.ORANGE}
    for augmentation, colour in places.items():
        chosen = [(s, r) for s, r in results.items() if s.augmentation == augmentation and not s.everywhere]
        for mark, matching in (("o", True), ("x", False)):
            shown = [(s, r) for s, r in chosen if (s.negative == augmentation) == matching]
            label = f"{augmentation}, {'none or matching negatives' if matching else 'jigsaws'}"
            leaks.plot([s.best for s, _ in shown], [r["leak"] for _, r in shown], mark, color=colour, label=label)
    leaks.plot([0, 0.4], [0, 0.4], color=report.GREY, lw=0.8)
    leaks.set(title="augmented images of the generator", xlabel="share at the best generator", ylabel="share measured")
    leaks.spines[["top", "right"]].set_visible(False)
    leaks.legend(fontsize=8, frameon=False)
    samples = [(s, r) for s, r in results.items() if s.augmentation == "hole" and not s.everywhere and s.seed == 0]
    for grid, (settings, result) in zip(grids, [samples[0], samples[2], samples[3]], strict=True):
        pixels = torch.tensor(result["pixels"])[:, None] / 100
        grid.imshow(pictures.grid(pixels, columns=4, scale=4)[0].numpy(), cmap="gray", interpolation="nearest")
        grid.set_title(f"{settings.negative if settings.fake_weight < 1 else 'plain'}", fontsize=10)
        grid.set_axis_off()
    return figure


def table(results: dict[Leak, Result], seeds: Sequence[int]) -> None:
    """Print all arms, with the difference to the plain one of the same augmentation, seed by seed."""
    rows = []
    for first in [settings for settings in results if settings.seed == seeds[0]]:
        runs_of = [results[replace(first, seed=seed)] for seed in seeds]
        plain = replace(first, fake_weight=1.0, negative=first.augmentation, blend=0.0)
        plain_leaks = [results[replace(plain, seed=seed)]["leak"] for seed in seeds]
        less = [100 * (own["leak"] - other) for own, other in zip(runs_of, plain_leaks, strict=True)]
        rows.append(
            [
                first.arm,
                f"{first.fake_weight:g}",
                f"{100 * first.best:.0f}",
                runs.spread([100 * result["leak"] for result in runs_of], 1),
                runs.spread(less, 1) if first != plain else "",
                runs.spread([result["coverage"] for result in runs_of]),
                runs.spread([result["precision"] for result in runs_of]),
            ]
        )
    columns = ["augmentation, negatives", "λ", "best, %", "augmented, %", "less plain", "coverage", "precision"]
    report.table(
        f"{SAMPLES} images of each generator, mean ± standard deviation over {len(seeds)} seeds", columns, rows
    )


def main(
    output: Annotated[Path, typer.Option(help="Folder of the runs and the figure")] = Path("runs/theory/leaks"),
    seeds: Annotated[int, typer.Option(help="How many", min=1)] = 3,
    steps: Annotated[int, typer.Option(min=1)] = 400,
) -> None:
    """Train GANs whose discriminators see augmented images, with negatives that forbid the augmentation and without."""
    for augmentation in ("turn", "hole"):
        wrong = max(judge(augmentation).on_real, 1 - judge(augmentation).on_augmented)
        report.confirm(f"a judge tells images with a {augmentation} from others", wrong, 0.1)
    results: dict[Leak, Result] = {}
    for arm in arms(steps):
        chosen = [replace(arm, seed=seed) for seed in range(seeds)]
        results |= runs.run_all(chosen, run, output / arm.arm.replace(", ", "-").replace(" ", "_"))
    table(results, range(seeds))
    report.save(draw(results), output / "leaks.png")


if __name__ == "__main__":
    typer.run(main)
