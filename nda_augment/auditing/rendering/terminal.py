"""The report on a terminal. Needs rich: ``pip install "nda-augment[cli]"``."""

from collections.abc import Sequence

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from nda_augment.auditing.rendering.wording import COLUMNS, MARKS, Column, looked_at, with_error
from nda_augment.auditing.report import Report, Row, Verdict

_COLOURS: dict[Verdict, str] = {"pass": "green", "warn": "yellow", "fail": "red"}


def draw(report: Report) -> RenderableType:
    """Return the headline, the ranking below the references, and the reason for each verdict; 80 columns are enough."""
    table = Table(caption=looked_at(report), caption_justify="left", box=box.SIMPLE, padding=0, pad_edge=False)
    table.add_column("", no_wrap=True)
    table.add_column("images", no_wrap=True)
    table.add_column("score", justify="right", no_wrap=True)
    columns = COLUMNS[report.settings.purpose]
    for heading, _, _ in columns:
        table.add_column(heading.split()[-1], justify="right")
    for row in report.references:
        table.add_row("", Text(row.name), "", *_numbers(row, columns), style="dim")
    table.add_section()
    for row in report.ranking:
        table.add_row(_mark(row, MARKS[row.verdict]), Text(row.name), f"{row.score:.2f}", *_numbers(row, columns))
    reasons = Table.grid(padding=(0, 1))
    for row in report.ranking:
        mark = _mark(row, f"{MARKS[row.verdict]} {row.verdict}")
        reasons.add_row(mark, Text(row.name, style="bold"), row.kind, row.reason)
    return Group(Text(report.headline(), style="bold"), table, Text(), reasons)


def _numbers(row: Row, columns: Sequence[Column]) -> list[str]:
    return [with_error(getattr(row.measures, measure)) for _, measure, _ in columns]


def _mark(row: Row, mark: str) -> Text:
    return Text(mark, style=_COLOURS[row.verdict])
