"""The benchmark of the transforms as a picture."""

import io
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from PIL import Image


def save(rows: list[dict[str, Any]], path: Path) -> None:
    """Draw each transform's time as a multiple of the limit, one panel per shape and dtype."""
    panels = list(dict.fromkeys(_panel(row) for row in rows if row["shape"].count("x") == 3))
    figure = Figure(figsize=(5 * len(panels), 7), layout="constrained")
    for axes, panel in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
        own = sorted((row for row in rows if _panel(row) == panel), key=lambda row: -row["times limit"])
        axes.barh([row["transform"] for row in own], [row["times limit"] for row in own], color="#4477aa")
        axes.axvline(1.0, color="black", linewidth=1)
        axes.set(title=panel, xlabel="time, in reads and writes of the batch (log)", xscale="log")
        axes.grid(axis="x", alpha=0.3)
    drawn = io.BytesIO()
    figure.savefig(drawn, dpi=110)
    # A few greys and one blue: with a palette it takes a third of the bytes.
    Image.open(drawn).convert("RGB").quantize(32).save(path, optimize=True)


def _panel(row: dict[str, Any]) -> str:
    return f"{row['shape']} {row['dtype']}"
