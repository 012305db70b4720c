"""The report as one HTML file. Needs matplotlib and pillow: ``pip install "nda-augment[cli]"``."""

import base64
import io
from html import escape
from pathlib import Path

import torch
from matplotlib.figure import Figure
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from nda_augment.auditing.report import Check, Examples, Report, Row, Verdict
from nda_augment.auditing.words import COLUMNS, MARKS, looked_at, with_error

_COLOURS: dict[Verdict, str] = {"pass": "#1b7837", "warn": "#b35806", "fail": "#b2182b"}
_GREY = "#6b7280"
_THUMBNAIL = 64

_STYLE = """
*{box-sizing:border-box} body{font:15px/1.5 system-ui,sans-serif;color:#1f2937;background:#f6f7f9;margin:0}
main{max-width:1100px;margin:auto;padding:20px 16px 60px} h1{font-size:1.5rem;margin:.2em 0}
h2{font-size:1.15rem;margin:1.8em 0 .5em} h3{font-size:1.05rem;margin:0;overflow-wrap:anywhere}
.headline{font-size:1.15rem;font-weight:600;margin:.3em 0} .small{color:#6b7280;font-size:.85rem}
.card{background:#fff;border:1px solid #e5e7eb;border-radius:10px;padding:14px 16px;margin:12px 0}
.scroll{overflow-x:auto} table{border-collapse:collapse;width:100%;font-size:.85rem;font-variant-numeric:tabular-nums}
th,td{padding:4px 7px;text-align:left;border-bottom:1px solid #eceef1;vertical-align:top}
th{vertical-align:bottom;color:#6b7280;font-weight:600}
.number{text-align:right} td.number{white-space:nowrap}
tr.reference td{color:#6b7280} .verdict{font-weight:700;white-space:nowrap}
.pass{color:#1b7837} .warn{color:#b35806} .fail{color:#b2182b}
figure{margin:10px 0;max-width:100%} figcaption{color:#6b7280;font-size:.85rem}
img.strip{width:100%;max-width:540px;image-rendering:pixelated;display:block;border-radius:4px}
img.chart{max-width:100%;height:auto;display:block;margin:auto}
.pictures{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,300px),1fr));gap:4px 24px}
details{margin-top:6px} summary{cursor:pointer;color:#374151}
a{color:inherit}
"""


def write(report: Report, path: Path) -> Path:
    """Write the page; missing folders are made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(page(report), encoding="utf-8")
    return path


def page(report: Report) -> str:
    """Return the page: verdict first, then the plane, the table, and a card per transform."""
    cards = "".join(_card(row, report.examples[row.name]) for row in report.ranking)
    references = "".join(
        f"<figure>{_strip(report.examples[row.name].others)}<figcaption>{escape(row.name)}</figcaption></figure>"
        for row in report.references
    )
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width,initial-scale=1">
<title>Audit of negatives</title><style>{_STYLE}</style></head><body><main>
<h1>How negative are the negatives?</h1>
<p class="headline">{escape(report.headline())}</p>
<p class="small">{escape(looked_at(report))}</p>
<div class="card">{_plane(report)}
<p class="small">A useful negative is in the upper right: structure is broken, and small patches look real. Real images
and harmless augmentations are in the upper left, noise is at the bottom. Numbers are those of the table below, lines
are 95 % intervals.</p></div>
<h2>Ranking</h2>
<div class="card scroll">{_table(report)}</div>
<h2>Can they be told from real images?</h2>
<div class="card">{_two_samples(report)}
<p class="small">By a linear classifier that was trained on other images. What pixels alone tell is a trivial artefact;
what features tell and pixels do not is a good negative.</p></div>
<h2>Each transform</h2>{cards}
<h2>What they are compared with</h2><div class="card pictures">{references}</div>
</main></body></html>
"""


def _table(report: Report) -> str:
    heads = "".join(f'<th class="number" title="{escape(what)}">{heading}</th>' for heading, _, what in COLUMNS)
    lines = [f'<tr><th></th><th></th><th>images</th><th>reads as</th><th class="number">score</th>{heads}</tr>']
    for rank, row in _ranks(report).items():
        link = f'<a href="#{escape(row.name)}">{escape(row.name)}</a>'
        lines.append(
            f'<tr><td class="number">{rank}</td><td>{_badge(row.verdict)}</td><td>{link}</td><td>{row.kind}</td>'
            f'<td class="number">{row.score:.2f}</td>{_numbers(row)}</tr>'
        )
    lines += [
        f'<tr class="reference"><td></td><td></td><td>{row.name}</td><td>{row.kind}</td><td></td>{_numbers(row)}</tr>'
        for row in report.references
    ]
    return f"<table>{''.join(lines)}</table>"


def _numbers(row: Row) -> str:
    return "".join(f'<td class="number">{with_error(getattr(row.measures, name))}</td>' for _, name, _ in COLUMNS)


def _card(row: Row, examples: Examples) -> str:
    checks = "".join(map(_check, row.checks))
    numbers = ", ".join(str(number) for number in row.worst)
    change = row.measures.change
    return f"""<section class="card" id="{escape(row.name)}"><h3>{_badge(row.verdict)} {escape(row.name)}
<span class="small">reads as {row.kind}, score {row.score:.2f}</span></h3>
<p>{escape(row.reason).capitalize()}. Of the pixels' statistics it keeps {" and ".join(row.preserved) or "none"}.</p>
<div class="pictures"><figure>{_strip(examples.sources)}<figcaption>real</figcaption>
{_strip(examples.others)}<figcaption>{escape(row.name)}</figcaption></figure>
<figure>{_strip(examples.worst_sources)}<figcaption>the images that changed least (numbers {numbers})</figcaption>
{_strip(examples.worst_others)}<figcaption>what became of them</figcaption></figure></div>
<details><summary>Checks</summary><div class="scroll"><table>
<tr><th></th><th>it …</th><th class="number">observed</th><th class="number">wanted</th><th>why it matters</th></tr>
{checks}</table></div>
<p class="small">Change {change} of what two images differ by; unchanged {row.measures.unchanged}. Fréchet distance
{row.measures.frechet}, KID {row.measures.kernel}, density {row.measures.density}, coverage {row.measures.coverage}.
Means shift by {row.measures.mean_shift} standard deviations, variances by a factor of {row.measures.variance_ratio},
histograms by {row.measures.histogram}, spectra by {row.measures.spectrum} dB. n = {change.n}.</p></details>
</section>"""


def _check(check: Check) -> str:
    sign = "≥" if check.at_least else "<"
    return (
        f'<tr><td>{_badge(check.verdict)}</td><td>{escape(check.name)}</td><td class="number">{check.observed}</td>'
        f'<td class="number">{sign} {check.threshold}</td><td>{escape(check.why)}</td></tr>'
    )


def _badge(verdict: Verdict) -> str:
    return f'<span class="verdict {verdict}">{MARKS[verdict]} {verdict}</span>'


def _plane(report: Report) -> str:
    figure = Figure(figsize=(7, 4.8), layout="constrained")
    axes = figure.subplots()
    # The best last, so that nothing covers it.
    for name, row in [*((row.name, row) for row in report.references), *reversed(_ranks(report).items())]:
        x, y = row.measures.broken, row.measures.realism
        colour = _GREY if row.reference else _COLOURS[row.verdict]
        axes.plot([x.low, x.high], [y.value, y.value], color=colour, alpha=0.4, linewidth=1)
        axes.plot([x.value, x.value], [y.low, y.high], color=colour, alpha=0.4, linewidth=1)
        box = {"boxstyle": "square" if row.reference else "circle", "pad": 0.2, "color": colour, "alpha": 0.85}
        axes.text(x.value, y.value, name, color="white", fontsize=8, ha="center", va="center", bbox=box)
    axes.set(xlabel="structure broken →", ylabel="local realism →")
    return _chart(figure, "structure broken against local realism")


def _two_samples(report: Report) -> str:
    rows = [*report.references, *report.ranking]
    figure = Figure(figsize=(7, 0.9 + 0.22 * len(rows)), layout="constrained")
    axes = figure.subplots()
    for measure, colour, shift in (("told_by_features", "#2166ac", -0.15), ("told_by_pixels", "#e08214", 0.15)):
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
