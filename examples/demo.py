"""The guided tour, ``make demo``: negatives of photographs, and what they do in three uses, beside training without.

All data are embedded, and every number is a mean over three seeds that both arms share. Three short seeds show what a
use looks like and how much luck there is in it; what was measured with more is in docs/results.
"""

import json
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, NamedTuple

import torch
import typer
from matplotlib.figure import Figure
from rich.console import Console
from rich.rule import Rule
from rich.table import Table
from torch import Tensor
from torchvision.utils import make_grid

import nda_augment as nda
from examples.anomaly import defects
from examples.anomaly.metrics import detection
from examples.common.photographs import load_photographs
from examples.common.randomness import generator, seeded
from examples.gan.study import data, measures, train
from examples.gan.study.settings import Arm, Setting
from examples.theory import shortcut
from nda_augment.anomaly import DensityDetector, Encoder
from nda_augment.gallery import save_contact_sheet

SEEDS = (1, 2, 3)
GALLERY = {
    "jigsaw": nda.Jigsaw(),
    "jigsaw, soft": nda.Jigsaw(offset="random", feather=0.5),
    "stitch": nda.Stitch(),
    "cutmix": nda.CutMix(),
    "mixup": nda.Mixup(),
    "cutpaste": nda.CutPaste(),
}
_T = 4.303  # two-sided 95 % quantile of Student's t with two degrees of freedom
console = Console()


class Budget(NamedTuple):
    """How long each part trains: steps of the GANs, the encoders and the detectors."""

    gan: int = 1000
    contrastive: int = 300
    anomaly: int = 300


class Comparison(NamedTuple):
    """A measure of both arms, a number per seed.

    Attributes:
        use: What was trained.
        measure: What was measured, and which way is better.
        plain: Without negatives.
        negatives: With negatives.
    """

    use: str
    measure: str
    plain: Sequence[float]
    negatives: Sequence[float]

    def difference(self) -> tuple[float, float]:
        """Mean difference, seed by seed, and half the width of its 95 % interval."""
        values = [ours - theirs for ours, theirs in zip(self.negatives, self.plain, strict=True)]
        return statistics.mean(values), _T * statistics.stdev(values) / len(values) ** 0.5


def demo(output: Path, budget: Budget) -> list[Comparison]:
    """Run the tour, write its pictures and numbers into a folder, and return what was compared."""
    output.mkdir(parents=True, exist_ok=True)
    console.print(Rule("1  Negatives of photographs"))
    photographs, _ = load_photographs(size=192)
    save_contact_sheet(output / "gallery.png", photographs, GALLERY)
    rows: list[Comparison] = []
    for number, (title, part) in enumerate(PARTS.items(), start=2):
        console.print(Rule(f"{number}  {title}"))
        rows += part(output, budget)
    console.print(Rule("What came out"))
    console.print(table(rows))
    (output / "metrics.json").write_text(json.dumps([row._asdict() for row in rows], indent=2) + "\n")
    for name in ("gallery.png", "gan.png", "anomaly.png", "metrics.json"):
        console.print(f"[bold]{output / name}", soft_wrap=True)
    return rows


def gans(output: Path, budget: Budget) -> list[Comparison]:
    """Small GANs on scikit-learn's digits, plain and with jigsaws."""
    setting = Setting("digits", images=1000, steps=budget.gan, every=max(1, budget.gan // 4))
    split = data.load("digits")
    judge = measures.Judge(split)
    last: dict[str, list[train.Row]] = {}
    pictures: dict[str, Tensor] = {"digits": split.held_out}
    for name, arm in {"plain": Arm(), "jigsaws": Arm("jigsaw")}.items():
        console.print(f"three GANs, {name}")
        rows, samples = train.run(setting, arm, SEEDS, split, judge)
        last[name] = [rows[seed][-1] for seed in SEEDS]
        pictures[name] = samples[0]
    _draw(output / "gan.png", pictures)
    return [
        Comparison("GAN", measure, *([row[key] for row in last[name]] for name in ("plain", "jigsaws")))
        for key, measure in (("frechet", "Fréchet distance ↓"), ("coverage", "coverage ↑"))
    ]


def encoders(_: Path, budget: Budget) -> list[Comparison]:
    """Contrastive encoders of digits on textures, plain and with negatives that keep the texture."""
    read: dict[str, list[float]] = {}
    for arm in ("plain", "soft jigsaw, scale 2"):
        console.print(f"three encoders, {arm}")
        runs = [shortcut.run(shortcut.ARMS[arm], seed, budget.contrastive) for seed in SEEDS]
        read[arm] = [100 * one["digit"] for one in runs]
    return [Comparison("contrastive", "digits read off, % ↑", *read.values())]


def detectors(output: Path, budget: Budget) -> list[Comparison]:
    """Detectors of damage on a wall: a density on random features, and one that learned from negatives."""
    found: dict[str, list[float]] = {"plain": [], "negatives": []}
    for seed in SEEDS:
        console.print(f"seed {seed}: a density on random features, and a detector that learns from negatives")
        found["plain"].append(_untrained(seed))
        found["negatives"].append(defects.run(budget.anomaly, seed, output / "anomaly.png")["images"]["AUROC"])
    return [Comparison("anomaly detection", "AUROC, % ↑", *found.values())]


PARTS = {
    "Two GANs on digits": gans,
    "Contrastive learning of digits on textures": encoders,
    "Damage on a wall": detectors,
}


def _untrained(seed: int) -> float:
    """AUROC of the wall's damage, by a Gaussian density on the features of a network with random weights."""
    picture = defects.wall()
    normal = defects.patches(picture[:, :, 160:], 100, generator(0, "normal"))
    damaged, _ = defects.damage(
        defects.patches(picture[:, :, 160:], 100, generator(0, "damaged")), generator(0, "damage")
    )
    with seeded(seed, "weights"):
        encoder = Encoder(channels=1, width=16)
    detector = DensityDetector(encoder, encoder.features)
    training = defects.patches(picture[:, :, :160], 512, generator(seed, "patches"))
    detector.fit(torch.split(training, 64))
    return float(detection(detector.score(normal), detector.score(damaged))["AUROC"])


def table(rows: Sequence[Comparison]) -> Table:
    """Means of both arms, and the difference with its 95 % interval."""
    shown = Table("use", "measure", "plain", "with negatives", "difference, 95 %", title="Three seeds each")
    for row in rows:
        mean, half = row.difference()
        digits = 1 if max(map(abs, [*row.plain, *row.negatives])) > 10 else 3
        cells = (f"{statistics.mean(values):.{digits}f}" for values in (row.plain, row.negatives))
        shown.add_row(row.use, row.measure, *cells, f"{mean:+.{digits}f} ± {half:.{digits}f}")
    return shown


def _draw(path: Path, pictures: dict[str, Tensor]) -> None:
    figure = Figure(figsize=(4 * len(pictures), 4.2), layout="constrained")
    for axes, (name, images) in zip(figure.subplots(1, len(pictures)), pictures.items(), strict=True):
        grid = make_grid(images[:64], nrow=8, normalize=True, value_range=(-1, 1), pad_value=1.0)
        axes.imshow(grid.permute(1, 2, 0).numpy())
        axes.set_title(name)
        axes.set_axis_off()
    figure.savefig(path, dpi=80, facecolor="white")


def main(output: Annotated[Path, typer.Option(help="Folder to write to")] = Path("runs/demo")) -> None:
    """Negatives of photographs, and what they do in three uses."""
    torch.set_num_threads(1)  # networks this small lose time with more
    demo(output, Budget())


if __name__ == "__main__":
    typer.run(main)
