"""The report as one HTML file. Needs matplotlib and pillow: ``pip install "nda-augment[cli]"``."""

import base64
import io
from collections.abc import Sequence
from html import escape
from importlib.resources import files
from string import Template
from typing import get_args

import torch
from matplotlib.figure import Figure
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from nda_augment.auditing.rendering.wording import COLUMNS, MARKS, Column, looked_at, with_error
from nda_augment.auditing.report import Check, Examples, Purpose, Report, Row, Verdict

_COLOURS: dict[Verdict, str] = {"pass": "#1b7837", "warn": "#b35806", "fail": "#b2182b"}
_GREY = "#6b7280"
_THUMBNAIL = 64

_TEMPLATES = files(__package__)
_PLANES: dict[Purpose, tuple[str, str, str]] = dict.fromkeys(
    get_args(Purpose),
    (
        "broken",
        "structure broken →",
        "A useful negative is in the upper right: structure is broken, and small patches look real. Real images and "
        "harmless augmentations are in the upper left, noise is at the bottom.",
    ),
) | {
    "defect": (
        "told_by_patches",
        "told by patches →",
        "A useful defect is at the top, between the ends: small patches look real, and the most unusual one is more "
        "unusual than those of real images, but not every time.",
    )
}


def page(report: Report) -> str:
    """Return the page: verdict first, then the plane, the table, and a card per transform."""
    references = "".join(
        f"<figure>{_strip(report.examples[row.name].others)}<figcaption>{escape(row.name)}</figcaption></figure>"
        for row in report.references
    )
    return _fill(
        "page.html",
        headline=escape(report.headline()),
        looked_at=escape(looked_at(report)),
        plane=_plane(report),
        plane_caption=_PLANES[report.settings.purpose][2],
        table=_table(report),
        two_samples=_two_samples(report),
        cards="".join(_card(row, report.examples[row.name]) for row in report.ranking),
        references=references,
        unread=_unread(report),
    )


def _fill(template: str, **parts: str) -> str:
    return Template(_TEMPLATES.joinpath(template).read_text(encoding="utf-8")).substitute(parts)


def _unread(report: Report) -> str:
    """List the files that could not be read, if there are any."""
    lines = "".join(f"<li>{escape(file)}</li>" for file in report.unread)
    return f'<h2>Files that were skipped</h2><div class="card"><ul class="small">{lines}</ul></div>' if lines else ""


def _table(report: Report) -> str:
    columns = COLUMNS[report.settings.purpose]
    heads = "".join(f'<th class="number" title="{escape(what)}">{heading}</th>' for heading, _, what in columns)
    lines = [f'<tr><th></th><th></th><th>images</th><th>reads as</th><th class="number">score</th>{heads}</tr>']
    for rank, row in _ranks(report).items():
        link = f'<a href="#{escape(row.name)}">{escape(row.name)}</a>'
        lines.append(
            f'<tr><td class="number">{rank}</td><td>{_badge(row.verdict)}</td><td>{link}</td><td>{row.kind}</td>'
            f'<td class="number">{row.score:.2f}</td>{_numbers(row, columns)}</tr>'
        )
    lines += [
        f'<tr class="reference"><td></td><td></td><td>{row.name}</td><td>{row.kind}</td><td></td>'
        f"{_numbers(row, columns)}</tr>"
        for row in report.references
    ]
    return f"<table>{''.join(lines)}</table>"


def _numbers(row: Row, columns: Sequence[Column]) -> str:
    return "".join(f'<td class="number">{with_error(getattr(row.measures, name))}</td>' for _, name, _ in columns)


def _card(row: Row, examples: Examples) -> str:
    pictures = {name: _strip(images) for name, images in vars(examples).items()}
    return _fill(
        "card.html",
        **{name: str(estimate) for name, estimate in vars(row.measures).items()},
        **pictures,
        name=escape(row.name),
        badge=_badge(row.verdict),
        kind=row.kind,
        score=f"{row.score:.2f}",
        reason=escape(row.reason[:1].upper() + row.reason[1:]),
        preserved=" and ".join(row.preserved) or "none",
        worst=", ".join(str(number) for number in row.worst),
        checks="".join(map(_check, row.checks)),
        n=str(row.measures.change.n),
    )


def _check(check: Check) -> str:
    sign = "≥" if check.at_least else "<"
    return (
        f'<tr><td>{_badge(check.verdict)}</td><td>{escape(check.name)}</td><td class="number">{check.observed}</td>'
        f'<td class="number">{sign} {check.threshold}</td><td>{escape(check.why)}</td></tr>'
    )


def _badge(verdict: Verdict) -> str:
    return f'<span class="verdict {verdict}">{MARKS[verdict]} {verdict}</span>'


def _plane(report: Report) -> str:
    measure, label, _ = _PLANES[report.settings.purpose]
    figure = Figure(figsize=(7, 4.8), layout="constrained")
    axes = figure.subplots()
    # The best last, so that nothing covers it.
    for name, row in [*((row.name, row) for row in report.references), *reversed(_ranks(report).items())]:
        x, y = getattr(row.measures, measure), row.measures.realism
        colour = _GREY if row.reference else _COLOURS[row.verdict]
        axes.plot([x.low, x.high], [y.value, y.value], color=colour, alpha=0.4, linewidth=1)
        axes.plot([x.value, x.value], [y.low, y.high], color=colour, alpha=0.4, linewidth=1)
        box = {"boxstyle": "square" if row.reference else "circle", "pad": 0.2, "color": colour, "alpha": 0.85}
        axes.text(x.value, y.value, name, color="white", fontsize=8, ha="center", va="center", bbox=box)
    axes.set(xlabel=label, ylabel="local realism →")
    return _chart(figure, f"{label.removesuffix(' →')} against local realism")


_PROBES = (
    ("told_by_features", "#2166ac", -0.22),
    ("told_by_pixels", "#e08214", 0.0),
    ("told_by_edges", "#7f3b8c", 0.22),
)


def _two_samples(report: Report) -> str:
    rows = [*report.references, *report.ranking]
    figure = Figure(figsize=(7, 0.9 + 0.22 * len(rows)), layout="constrained")
    axes = figure.subplots()
    for measure, colour, shift in _PROBES:
        for number, row in enumerate(rows):
            told = getattr(row.measures, measure)
            axes.plot([told.low, told.high], [number + shift] * 2, color=colour, linewidth=1.5)
            axes.plot(told.value, number + shift, "o", color=colour, markersize=4)
        axes.plot([], [], "o", color=colour, label=measure.replace("told_by_", ""))
    axes.axvline(0.5, color=_GREY, linewidth=0.8)
    axes.set(yticks=range(len(rows)), ylim=(len(rows) - 0.4, -0.6), xlabel="share told from the source; 0.5 is none")
    axes.set_yticklabels([row.name for row in rows], fontsize=8)
    axes.legend(loc="upper right", fontsize=8)
    return _chart(figure, "how many are told from their sources")


def _chart(figure: Figure, what: str) -> str:
    for axes in figure.axes:
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(alpha=0.25)
    buffer = io.BytesIO()
    figure.savefig(buffer, dpi=150, facecolor="white")
    return f'<img class="chart" alt="{what}" src="{_data_url(buffer)}">'


def _ranks(report: Report) -> dict[str, Row]:
    return {str(number): row for number, row in enumerate(report.ranking, start=1)}


def _strip(images: Tensor) -> str:
    """A row of thumbnails as an image element."""
    pixels = (images.clamp(0, 1) * 255).round().to(torch.uint8)[:, :3]
    if pixels.shape[1] == 2:
        pixels = pixels[:, :1]
    if max(pixels.shape[-2:]) > _THUMBNAIL:
        size = [max(1, length * _THUMBNAIL // max(pixels.shape[-2:])) for length in pixels.shape[-2:]]
        pixels = F.interpolate(pixels.float(), size=size, mode="bilinear", antialias=True).round().to(torch.uint8)
    row = torch.cat(list(F.pad(pixels, (0, 1), value=255)), dim=2)[..., :-1].expand(3, -1, -1)
    buffer = io.BytesIO()
    Image.fromarray(row.permute(1, 2, 0).contiguous().numpy()).save(buffer, "PNG")
    return f'<img class="strip" alt="" src="{_data_url(buffer)}">'


def _data_url(buffer: io.BytesIO) -> str:
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"
