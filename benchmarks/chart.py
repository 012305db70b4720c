"""The benchmark of the transforms as a picture."""

from pathlib import Path
from typing import Any

from matplotlib.figure import Figure


def save(rows: list[dict[str, Any]], path: Path) -> None:
    """Draw each transform's time as a multiple of a copy of the batch, one panel per shape."""
    shapes = list(dict.fromkeys(row["shape"] for row in rows if "x8x" not in row["shape"]))
    figure = Figure(figsize=(6 * len(shapes), 7), layout="constrained")
    for axes, shape in zip(figure.subplots(1, len(shapes), squeeze=False)[0], shapes, strict=True):
        own = sorted((row for row in rows if row["shape"] == shape), key=lambda row: -row["times clone"])
        axes.barh([row["transform"] for row in own], [row["times clone"] for row in own], color="#4477aa")
        axes.axvline(1.0, color="black", linewidth=1)
        axes.set(title=shape, xlabel="time, in copies of the batch (log)", xscale="log")
        axes.grid(axis="x", alpha=0.3)
    figure.savefig(path, dpi=110)
