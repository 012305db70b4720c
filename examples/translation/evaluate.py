"""Measure trained translators on held-out pairs: ``python -m examples.translation.evaluate RUN_FOLDER [...]``.

``l1`` is the mean distance per channel, in [0, 1], to the true photograph; ``ssim`` the structural similarity to it;
``edges`` the agreement of the edges found in the translation with those found in the photograph, an F1 score that
forgives one pixel. The first two reward a blurred average where edges say little of colour; the third asks whether the
translation is drawn where the edges are. The row ``mean colour`` is the photographs' overall mean in place of each.
"""

import json
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import torch
import typer
from rich.console import Console
from rich.table import Table
from torch import Tensor
from torch.nn import functional as F
from torchmetrics.functional.image import structural_similarity_index_measure

from examples.common import pictures
from examples.common.runs import command
from examples.common.settings import ConfigError
from examples.translation import config, data
from examples.translation.config import Data as Source
from examples.translation.train import load_translator, translate

REFERENCE = "mean colour"
console = Console()


@dataclass
class Scores:
    """One line of a report."""

    l1: float
    ssim: float
    edges: float


@dataclass
class Report:
    """Scores of runs on the same ``n`` held-out pairs.

    Attributes:
        n: Number of pairs.
        rows: Name to scores; the first is the reference.
    """

    n: int
    rows: dict[str, Scores]


def evaluate(folders: Sequence[Path]) -> Report:
    """Score the translators of runs on the same data.

    Raises:
        ValueError: If the runs are on different data, or no pairs are held out.
    """
    source = _common_source(folders)
    training, held_out = data.load(source)
    if not len(held_out):
        raise ConfigError(f"no pairs are held out; raise DATA.holdout (it is {source.holdout})")
    colour = training.photographs.mean(dim=(0, 2, 3), keepdim=True).expand_as(held_out.photographs)
    rows = {REFERENCE: score(colour, held_out.photographs, source)}
    for folder in folders:
        translated = translate(load_translator(folder), held_out.edges)
        rows[folder.name] = score(translated, held_out.photographs, source)
    return Report(len(held_out), rows)


def score(translated: Tensor, photographs: Tensor, source: Source) -> Scores:
    """Score translations ``(N, 3, H, W)`` in [-1, 1] against the true photographs."""
    similarity = structural_similarity_index_measure(translated, photographs, data_range=(-1.0, 1.0))
    assert isinstance(similarity, Tensor)  # the other return type is for return_full_image
    return Scores(
        l1=F.l1_loss(translated, photographs).item() / 2,
        ssim=similarity.item(),
        edges=edge_agreement(data.find_edges(translated, source), data.find_edges(photographs, source)),
    )


def edge_agreement(found: Tensor, true: Tensor) -> float:
    """F1 of edges ``(N, 1, H, W)``, 1 on an edge and -1 elsewhere; a neighbour's edge counts as one's own.

    Example:
        >>> line = torch.full((1, 1, 5, 5), -1.0)
        >>> line[..., 2] = 1
        >>> edge_agreement(line.roll(1, dims=3), line), edge_agreement(line.roll(2, dims=3), line)
        (1.0, 0.0)
    """
    found, true = found > 0, true > 0
    near_found, near_true = (F.max_pool2d(edges.float(), 3, stride=1, padding=1) > 0 for edges in (found, true))
    hits, recalled = (found & near_true).sum().item(), (true & near_found).sum().item()
    if not hits or not recalled:
        return float(not found.any() and not true.any())
    precision, recall = hits / found.sum().item(), recalled / true.sum().item()
    return 2 * precision * recall / (precision + recall)


def spread(report: Report) -> dict[str, dict[str, tuple[float, float]]]:
    """Mean and standard deviation of each score over runs whose folders differ in what follows the last hyphen."""
    groups: dict[str, list[Scores]] = {}
    for name, scores in report.rows.items():
        groups.setdefault(name.rpartition("-")[0] or name, []).append(scores)
    return {
        name: {
            key: (statistics.mean(values), statistics.stdev(values) if len(values) > 1 else 0.0)
            for key in ("l1", "ssim", "edges")
            for values in [[getattr(scores, key) for scores in rows]]
        }
        for name, rows in groups.items()
    }


def table(report: Report) -> Table:
    """A report for the terminal."""
    drawn = Table("run", title=f"Translations of {report.n} held-out images of edges")
    for name in ("L1 ↓", "SSIM ↑", "edges F1 ↑"):
        drawn.add_column(name, justify="right")
    for name, scores in report.rows.items():
        drawn.add_row(name, *(f"{value:.4f}" for value in asdict(scores).values()))
    for name, values in spread(report).items():
        if name not in report.rows:
            drawn.add_row(f"[bold]{name}", *(f"{mean:.4f} ± {deviation:.4f}" for mean, deviation in values.values()))
    return drawn


def draw(folders: Sequence[Path], path: Path, count: int = 8) -> None:
    """Write a picture: a row of edges, one of each run's translations, one of the photographs."""
    _, held_out = data.load(_common_source(folders))
    chosen = held_out[torch.linspace(0, len(held_out) - 1, min(count, len(held_out))).round().long()]
    rows = [chosen.edges.expand(-1, 3, -1, -1)]
    rows += [translate(load_translator(folder), chosen.edges) for folder in folders]
    pictures.save_png(pictures.grid(torch.cat([*rows, chosen.photographs]), columns=len(chosen), scale=1), path)


def _common_source(folders: Sequence[Path]) -> Source:
    sources = [config.load(folder / "config.yaml").DATA for folder in folders]
    if any(source != sources[0] for source in sources):
        raise ConfigError(f"runs on different data cannot be compared: {sources}")
    return sources[0]


@command
def main(
    folders: Annotated[list[Path], typer.Argument(help="Folders of runs on the same data")],
    output: Annotated[Path | None, typer.Option(help="Write the numbers there, as JSON")] = None,
    picture: Annotated[Path | None, typer.Option(help="Draw translations of each run there, as PNG")] = None,
) -> None:
    """Score trained translators on held-out pairs."""
    report = evaluate(folders)
    console.print(table(report))
    if output:
        output.write_text(json.dumps(asdict(report), indent=2) + "\n")
    if picture:
        draw(folders, picture)


if __name__ == "__main__":
    typer.run(main)
