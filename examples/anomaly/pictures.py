"""What a detector saw: how its scores lie, and which test images it finds most and least anomalous."""

from collections.abc import Sequence
from pathlib import Path

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from examples.anomaly.protocols import OneClass
from examples.common.pictures import grid

_NORMAL, _ANOMALOUS = "#1b7837", "#762a83"


def save_one_class(path: Path, results: Sequence[OneClass], images: Tensor, title: str, shown: int = 12) -> None:
    """Draw a row for each normal class: histograms of scores, the least and the most anomalous test images.

    Args:
        path: Where to write the picture.
        results: Of the classes.
        images: The test images that the results are about, uint8 ``(N, C, H, W)``.
        title: Line above the picture.
        shown: How many images of each kind.
    """
    figure = Figure(figsize=(11, 1 + 1.15 * len(results)), layout="constrained")
    figure.suptitle(title)
    rows = figure.subplots(len(results), 3, width_ratios=(1.3, 1, 1), squeeze=False)
    for row, result in zip(rows, results, strict=True):
        _draw_histogram(row[0], result)
        order = result.scores.argsort()
        _draw_images(row[1], images[order[:shown]])
        _draw_images(row[2], images[order.flip(0)[:shown]])
    for axes, heading in zip(rows[0], ("scores of test images", "least anomalous", "most anomalous"), strict=True):
        axes.set_title(heading, fontsize=10, fontweight="bold")
    rows[0][0].legend(fontsize=7, loc="upper right")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=90, facecolor="white")


def _draw_histogram(axes: Axes, result: OneClass) -> None:
    low, high = torch.quantile(result.scores.double(), torch.tensor([0.0, 0.99], dtype=torch.float64)).tolist()
    groups = (("normal", _NORMAL, ~result.is_anomaly), ("anomalous", _ANOMALOUS, result.is_anomaly))
    for name, colour, group in groups:
        values = result.scores[group].clamp(max=high).numpy()
        axes.hist(values, bins=40, range=(low, high), density=True, alpha=0.6, color=colour, label=name)
    axes.set_yticks([])
    axes.tick_params(labelsize=7)
    axes.set_ylabel(f"{result.normal}\n{result.measures['AUROC']:.1f}", rotation=0, labelpad=14, va="center")


def _draw_images(axes: Axes, images: Tensor) -> None:
    pixels = grid(images.float() / 127.5 - 1, columns=6, scale=3)
    axes.imshow(pixels.expand(3, -1, -1).permute(1, 2, 0).numpy(), interpolation="nearest")
    axes.set_axis_off()
