"""Tables and curves of a study's runs: ``python -m examples.gan.study.report FOLDER``."""

import json
import random
import statistics
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from matplotlib import colormaps
from matplotlib.figure import Figure

from examples.gan.study.settings import ARMS, Arm

Row = Mapping[str, float]
Runs = Mapping[str, Sequence[Row]]  # from seed to its measurements
Value = Callable[[Sequence[Row]], float]
_DRAWS = 10_000


def last(name: str) -> Value:
    """What a measure is at the last step."""
    return lambda rows: rows[-1][name]


def lowest(name: str) -> Value:
    """The lowest of a run's measurements."""
    return lambda rows: min(row[name] for row in rows)


def load(folder: Path, setting: str) -> dict[str, Runs]:
    """Results by arm, in the order of their names, of the file with most seeds."""
    found: dict[str, Runs] = {}
    for path in sorted(folder.glob(f"{setting}.*.json")):
        result: dict[str, Any] = json.loads(path.read_text())
        if len(result["rows"]) > len(found.get(result["which"], ())):
            found[result["which"]] = result["rows"]
    return found


def differences(runs: Runs, plain: Runs, value: Value) -> list[float]:
    """An arm minus the plain one, seed by seed."""
    return [value(rows) - value(plain[seed]) for seed, rows in runs.items()]


def interval(values: Sequence[float]) -> tuple[float, float]:
    """95 % interval of a mean, by the bootstrap over seeds."""
    draws = random.Random(0)
    means = sorted(statistics.mean(draws.choices(values, k=len(values))) for _ in range(_DRAWS))
    return means[int(0.025 * _DRAWS)], means[int(0.975 * _DRAWS)]


def spearman(first: Sequence[float], second: Sequence[float]) -> float:
    """Correlation of two sequences' ranks, without ties."""
    ranks = [[sorted(values).index(value) for value in values] for values in (first, second)]
    return statistics.correlation(*ranks)


def table(results: Mapping[str, Runs]) -> str:
    """Markdown: what each arm came to, and its differences from the plain one."""
    plain = results["plain"]
    header = ("arm", "seeds", "Fréchet", "− plain", "lowest", "− plain", "coverage", "− plain", "copies", "memorised")
    lines = [f"| {' | '.join(header)} |", "|" + " --- |" * len(header)]
    for arm, runs in sorted(results.items(), key=lambda item: item[0] != "plain"):
        cells = [arm, str(len(runs))]
        for value, digits in ((last("frechet"), 2), (lowest("frechet"), 2), (last("coverage"), 3)):
            cells.append(spread([value(rows) for rows in runs.values()], digits))
            cells.append("" if arm == "plain" else estimate(differences(runs, plain, value), digits))
        cells += [spread([last(name)(rows) for rows in runs.values()], 2) for name in ("copies", "memorised")]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def spread(values: Sequence[float], digits: int = 2) -> str:
    """Mean ± standard deviation."""
    deviation = f" ± {statistics.stdev(values):.{digits}f}" if len(values) > 1 else ""
    return f"{statistics.mean(values):.{digits}f}{deviation}"


def estimate(values: Sequence[float], digits: int = 2) -> str:
    """Mean difference and its interval, with how many seeds were below zero."""
    low, high = interval(values)
    below = sum(value < 0 for value in values)
    mean = statistics.mean(values)
    return f"{mean:+.{digits}f} [{low:+.{digits}f}, {high:+.{digits}f}], {below} of {len(values)} lower"


def hardness(results: Mapping[str, Runs], arms: Sequence[str]) -> str:
    """Markdown: how hard negatives are at the first and at the last measurement, and what they do.

    Hardness is that of :class:`nda_augment.losses.DiscriminatorTerms`
    (logit of negatives minus that of real images).
    """
    plain = results["plain"]
    names, rows = [], []
    for arm in arms:
        runs = results[arm]
        early, late = (
            statistics.mean(rows[place]["d_negative"] - rows[place]["d_train"] for rows in runs.values())
            for place in (0, -1)
        )
        pull = statistics.mean(seed[-1]["negative_pull"] for seed in runs.values())
        names.append(arm)
        rows.append((early, late, pull, statistics.mean(differences(runs, plain, last("frechet")))))
    lines = ["| negative | hardness, early | at the end | slope, at the end | Fréchet − plain |", "|" + " --- |" * 5]
    for arm, (early, late, pull, effect) in sorted(zip(names, rows, strict=True), key=lambda item: item[1][-1]):
        lines.append(f"| {arm} | {early:.2f} | {late:.2f} | {pull:.3f} | {effect:+.2f} |")
    *predictors, effects = zip(*rows, strict=True)
    for name, values in zip(("hardness early", "hardness at the end", "slope at the end"), predictors, strict=True):
        lines.append(f"\nSpearman's ρ of {name} and the difference: {spearman(values, effects):+.2f}")
    return "\n".join(lines)


def draw(path: Path, results: Mapping[str, Runs], arms: Sequence[str], title: str) -> None:
    """Fréchet distance and what the discriminator knows by heart, against steps: means over seeds."""
    figure = Figure(figsize=(10, 3.6), layout="constrained")
    figure.suptitle(title)
    panels = figure.subplots(1, 3)
    for number, arm in enumerate(arms):
        for axes, name in zip(panels, ("frechet", "coverage", "memorised"), strict=True):
            runs = list(results[arm].values())
            means = [statistics.mean(row[name] for row in rows) for rows in zip(*runs, strict=True)]
            colour = "black" if arm == "plain" else colormaps["tab10"](number % 10)
            axes.plot([row["step"] for row in runs[0]], means, label=arm, color=colour, marker="o", markersize=3)
    for axes, name in zip(panels, ("Fréchet distance", "coverage", "memorised"), strict=True):
        axes.set_title(name, fontsize=10)
        axes.set_xlabel("step")
    panels[0].set_yscale("log")
    panels[0].legend(fontsize=7)
    figure.savefig(path, dpi=90, facecolor="white")


def main(
    folder: Annotated[Path, typer.Argument(help="Where the runs are")],
    setting: Annotated[str, typer.Option(help="Which of them")] = "few",
) -> None:
    """Write a setting's tables and curves beside its runs."""
    results = load(folder, setting)
    alike = [arm for arm in results if ARMS[arm].policy and ARMS[arm] == Arm(ARMS[arm].policy)]
    text = "\n\n".join([table(results), *([hardness(results, alike)] if len(alike) > 1 else [])]) + "\n"
    (folder / f"{setting}.md").write_text(text)
    draw(folder / f"{setting}.png", results, list(results), setting)
    print(text)


if __name__ == "__main__":
    typer.run(main)
