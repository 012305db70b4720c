"""The picture that puts runs side by side."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from examples.common.pictures import grid

Row = dict[str, float]
_COLOURS = {"real": "#1b7837", "fake": "#d6604d", "negative": "#762a83", "generator": "#888888"}


def save_comparison(
    path: Path, real: Tensor, samples: Mapping[str, Tensor], histories: Mapping[str, Sequence[Row]], title: str
) -> None:
    """Draw runs side by side: a grid of each beside the real images, under it its losses, and all logit gaps.

    Args:
        path: Where to write the PNG.
        real: Real images, ``(N, C, H, W)`` in [-1, 1].
        samples: Name of a run to its samples, same shape.
        histories: Name of a run to its logged rows.
        title: Line above the picture.
    """
    figure = Figure(figsize=(4.2 * (len(samples) + 1), 7.6), layout="constrained")
    figure.suptitle(title)
    tops, bottoms = figure.subplots(2, len(samples) + 1, height_ratios=(1.35, 1))
    _draw_grid(tops[0], real, "real, held out")
    _draw_gaps(bottoms[0], histories)
    highest = max(row[term] for rows in histories.values() for row in rows for term in _COLOURS if term in row)
    for top, bottom, name in zip(tops[1:], bottoms[1:], samples, strict=True):
        _draw_grid(top, samples[name], name)
        _draw_losses(bottom, histories[name], highest)
        bottom.set_title(f"losses, {name}", fontsize=10)
    figure.savefig(path, dpi=110, facecolor="white")


def _draw_grid(axes: Axes, images: Tensor, title: str) -> None:
    axes.imshow(grid(images).expand(3, -1, -1).permute(1, 2, 0).numpy(), interpolation="nearest")
    axes.set_title(title, fontweight="bold")
    axes.set_axis_off()


def _draw_losses(axes: Axes, rows: Sequence[Row], highest: float) -> None:
    for term, colour in _COLOURS.items():
        if term in rows[0]:
            _draw_curve(axes, rows, term, term, colour)
    axes.set(xlabel="step", ylim=(0, highest * 1.05))
    axes.legend(fontsize=8, ncols=2)


def _draw_gaps(axes: Axes, histories: Mapping[str, Sequence[Row]]) -> None:
    for (name, rows), colour in zip(histories.items(), ("#4393c3", "#e08214", "#1b7837"), strict=False):
        _draw_curve(axes, rows, "gap", name, colour)
    axes.axhline(0, color="black", linewidth=0.6)
    axes.set_title("logit gap, real minus negative", fontsize=10)
    axes.set_xlabel("step")
    axes.legend(fontsize=8)


def _draw_curve(axes: Axes, rows: Sequence[Row], term: str, label: str, colour: str) -> None:
    """The logged values, faint, and over them their mean over a twentieth of the run."""
    steps = [row["step"] for row in rows]
    values = torch.tensor([row[term] for row in rows])
    axes.plot(steps, values.numpy(), color=colour, alpha=0.25, linewidth=0.8)
    window = max(1, len(rows) // 20)
    smooth = values.unfold(0, window, 1).mean(dim=1)
    style: dict[str, Any] = {"color": colour, "linewidth": 1.6, "label": label}
    axes.plot(steps[window - 1 :], smooth.numpy(), **style)
