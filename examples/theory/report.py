"""What the programs have in common: they check their claims, print tables and draw figures."""

from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image
from rich.console import Console
from rich.table import Table

console = Console()

# Okabe and Ito's palette: distinguishable for the colour-blind.
BLUE, ORANGE, GREEN, PURPLE = "#0072b2", "#e69f00", "#009e73", "#cc79a7"
SKY, RED, GREY = "#56b4e9", "#d55e00", "#777777"
OF_WEIGHT = {1.0: GREY, 0.75: SKY, 0.5: BLUE, 0.25: RED}


class ClaimError(Exception):
    """A closed form and what was measured disagree."""


def confirm(claim: str, apart: float, tolerance: float) -> None:
    """Print a claim and how far the measurement is from it.

    Raises:
        ClaimError: If that is more than ``tolerance``, or not a number.
    """
    if not apart <= tolerance:
        raise ClaimError(f"{claim}: off by {apart:.3g}, more than {tolerance:g}")
    console.print(f"[green]✓[/green] {claim} [dim](off by {apart:.1e}, allowed {tolerance:.0e})[/dim]", highlight=False)


def table(title: str, columns: list[str], rows: list[list[str]]) -> None:
    """Print rows; the first column names them."""
    drawn = Table(title=title, title_justify="left")
    for place, column in enumerate(columns):
        drawn.add_column(column, justify="right" if place else "left")
    for row in rows:
        drawn.add_row(*row)
    console.print(drawn)


def panels(count: int, title: str, width: float = 4.0, height: float = 3.6) -> tuple[Figure, list[Axes]]:
    """A figure of panels in a row."""
    figure = Figure(figsize=(width * count, height), layout="constrained")
    figure.suptitle(title)
    axes = [figure.add_subplot(1, count, place + 1) for place in range(count)]
    for panel in axes:
        panel.spines[["top", "right"]].set_visible(False)
    return figure, axes


def save(figure: Figure, path: Path) -> None:
    """Write a figure as PNG, on white, so that it can be read on a dark page too."""
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=100, facecolor="white")
    # A palette is enough for these and takes a third of the space.
    with Image.open(path) as picture:
        small = picture.convert("RGB").quantize(128, dither=Image.Dither.NONE)
    small.save(path, optimize=True)
    console.print(f"[bold]{path}", soft_wrap=True)
