"""A page about what a detector said: where its scores lie, and what it got most wrong."""

import base64
import html
import io
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from nda_augment._files import write_text
from nda_augment.anomaly.detector import Detector
from nda_augment.anomaly.folders import Prediction, as_picture, overlay, read_image

_BINS, _SHOWN = 40, 8
_STYLE = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}"
    "figure{display:inline-block;margin:.4rem;text-align:center;font-size:.8rem}figure img{display:block;width:13rem}"
    "svg{width:100%;height:12rem}td,th{padding:.2rem .8rem;text-align:left}"
)


def write_page(
    predictions: Sequence[Prediction],
    path: str | Path,
    detector: Detector,
    *,
    anomalous: Sequence[bool] | None = None,
    measures: dict[str, float] | None = None,
    channels: int = 3,
    size: tuple[int, int] | None = None,
) -> None:
    """Write a page of one file, which loads nothing.

    Args:
        predictions: Result of :func:`predict`.
        path: File to write.
        detector: The detector, whose heat maps are laid over the images.
        anomalous: The truth of each, if it is known: then the page shows misses and false alarms, else the highest
            and the lowest scores.
        measures: Numbers for a table, such as those of :func:`evaluate`.
        channels: Channels of the images.
        size: Height and width that images are scaled to.

    Raises:
        ValueError: If no prediction is given, or the truth is not of as many.
    """
    if not predictions or (anomalous is not None and len(anomalous) != len(predictions)):
        raise ValueError(f"a page needs predictions, and one truth for each, got {len(predictions)}")
    scores = torch.tensor([each.score for each in predictions], dtype=torch.float64)
    order = scores.argsort().tolist()
    if anomalous is None:
        groups = {"Highest scores": order[::-1][:_SHOWN], "Lowest scores": order[:_SHOWN]}
    else:
        groups = {
            "Worst misses: defects with the lowest scores": [n for n in order if anomalous[n]][:_SHOWN],
            "Worst false alarms: good images with the highest scores": [n for n in order[::-1] if not anomalous[n]][
                :_SHOWN
            ],
        }
    truth = None if anomalous is None else torch.tensor(list(anomalous))
    threshold = None if detector.threshold.isinf() else detector.threshold.item()
    parts = [f"<h1>{type(detector).__name__}</h1>", f"<p>{len(predictions)} images.</p>"]
    if measures:
        rows = "".join(f"<tr><td>{html.escape(k)}</td><td>{v:.4f}</td></tr>" for k, v in measures.items())
        parts.append(f"<table>{rows}</table>")
    parts.append(_histogram(scores, truth, threshold))
    for title, places in groups.items():
        figures = "".join(_figure(predictions[place], detector, channels, size) for place in places)
        parts.append(f"<h2>{title}</h2>{figures}")
    head = f'<!doctype html><html lang="en"><meta charset="utf-8"><title>Detector</title><style>{_STYLE}</style>'
    write_text(f"{head}<body>{''.join(parts)}</body></html>\n", Path(path))


def _histogram(scores: Tensor, truth: Tensor | None, threshold: float | None) -> str:
    """Bars of good images in blue and of defects in orange, and the threshold as a line."""
    low, high = scores.min().item(), max(scores.max().item(), scores.min().item() + 1e-9)
    kinds = [(scores, "#356")] if truth is None else [(scores[~truth], "#36c"), (scores[truth], "#e72")]
    counts = [torch.histc(some.float(), _BINS, low, high) if len(some) else torch.zeros(_BINS) for some, _ in kinds]
    tallest = max(float(each.max()) for each in counts) or 1
    bars = "".join(
        f'<rect x="{number * 10}" y="{100 - 95 * float(count) / tallest:.1f}" width="9" '
        f'height="{95 * float(count) / tallest:.1f}" fill="{colour}" fill-opacity=".6"/>'
        for each, (_, colour) in zip(counts, kinds, strict=True)
        for number, count in enumerate(each)
    )
    line = ""
    if threshold is not None:
        place = min(max((threshold - low) / (high - low), 0), 1) * _BINS * 10
        line = f'<path d="M{place:.1f} 0V100" stroke="#c00" stroke-dasharray="4"/>'
    caption = "good blue, defects orange; " if truth is not None else ""
    return (
        f'<h2>Scores</h2><svg viewBox="0 0 {_BINS * 10} 100" preserveAspectRatio="none">{bars}{line}</svg>'
        f"<p>From {low:.4g} to {high:.4g}; {caption}dashed: the threshold.</p>"
    )


def _figure(prediction: Prediction, detector: Detector, channels: int, size: tuple[int, int] | None) -> str:
    image = read_image(Path(prediction.path), channels, size)
    if detector.has_heatmap:
        heat = detector.heatmap(image[None])[0].cpu()
        low, high = heat.quantile(0.5), heat.max()
        shown = overlay(image, ((heat - low) / (high - low).clamp(min=1e-12)).clamp(0, 1).square())
    else:
        shown = image.expand(3, -1, -1)
    buffer = io.BytesIO()
    as_picture(shown).save(buffer, "PNG")
    data = base64.b64encode(buffer.getvalue()).decode()
    name = html.escape("/".join(Path(prediction.path).parts[-2:]))
    return f'<figure><img src="data:image/png;base64,{data}" alt="">{name}<br>{prediction.score:.4g}</figure>'
