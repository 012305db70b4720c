"""One-class detection: ``python -m examples.anomaly [--config FILE] [SECTION.key=value ...]``.

Each class in turn is the normal one: the detector learns its training images, and test images of all other classes are
anomalies. Writes ``scores.png`` and ``results.json`` into ``RUN.save_dir``.
"""

import json
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import torch
import typer
from rich.console import Console
from rich.progress import track
from rich.table import Table

from examples.anomaly import config, pictures
from examples.anomaly.config import DIGITS, Config
from examples.anomaly.metrics import MEASURES, Measures
from examples.anomaly.protocols import one_class
from examples.common import data
from examples.common.data import labels_of
from examples.common.runs import command
from examples.common.settings import ConfigError

console = Console()


def run(settings: Config, classes: Sequence[int] = ()) -> dict[int, Measures]:
    """Ask about each class; all of them if none is named.

    Raises:
        ConfigError: If a class is not in the data.
    """
    if settings.RUN.threads:
        torch.set_num_threads(settings.RUN.threads)
    training, test = data.load_rgb(settings.DATA)
    known = sorted(set(labels_of(training).tolist()))
    for normal in classes:
        if normal not in known:
            raise ConfigError(f"there is no class {normal}; there are {', '.join(map(str, known))}")
    asked = track(classes or known, description=settings.MODEL.detector, console=console)
    results = [one_class(settings, training, test, normal) for normal in asked]

    folder = Path(settings.RUN.save_dir)
    title = f"{settings.MODEL.detector} with {settings.AUG.negatives} negatives; each class in turn is normal (AUROC %)"
    pictures.save_one_class(folder / "scores.png", results, test.images, title)
    measures = {result.normal: result.measures for result in results}
    report = {"config": settings.to_dict(), "classes": measures}
    (folder / "results.json").write_text(json.dumps(report, indent=1) + "\n")
    return measures


def table(measures: dict[int, Measures], title: str) -> Table:
    """A row per class, and their mean."""
    grid = Table(
        "normal class", *(f"{name} %" for name in MEASURES), title=title, caption="anomalies are the positives"
    )
    for normal, row in measures.items():
        grid.add_row(str(normal), *(f"{row[name]:.1f}" for name in MEASURES))
    means = (statistics.mean(row[name] for row in measures.values()) for name in MEASURES)
    grid.add_section()
    grid.add_row("mean", *(f"{mean:.1f}" for mean in means))
    return grid


@command
def main(
    overrides: Annotated[list[str] | None, typer.Argument(help="SECTION.key=value, such as RUN.seed=1")] = None,
    path: Annotated[Path, typer.Option("--config", help="A YAML file")] = DIGITS,
    normal: Annotated[list[int] | None, typer.Option(help="Normal classes, one run each; all without")] = None,
) -> None:
    """Learn one class, tell the others from it."""
    settings = config.load(path, overrides or ())
    measures = run(settings, normal or ())
    console.print(table(measures, f"{settings.MODEL.detector}, negatives: {settings.AUG.negatives}"))
    console.print(f"Scores and pictures are in {settings.RUN.save_dir}", soft_wrap=True)


if __name__ == "__main__":
    typer.run(main)
