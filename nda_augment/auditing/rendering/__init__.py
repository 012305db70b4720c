"""Shows a report: a table on a terminal, and a page. Needs ``pip install "nda-augment[cli]"``."""

from pathlib import Path
from typing import TYPE_CHECKING

from nda_augment.auditing.report import Report

if TYPE_CHECKING:
    from rich.console import RenderableType


def table(report: Report) -> "RenderableType":
    """Return a report for a rich console: ``Console().print(table(report))``; 80 columns are enough.

    Args:
        report: Result of :func:`nda_augment.audit`.

    Raises:
        ImportError: If rich is missing.
    """
    try:
        from nda_augment.auditing.rendering.terminal import draw
    except (ImportError, RuntimeError, OSError) as error:
        raise ImportError('tables need rich: pip install "nda-augment[cli]"') from error
    return draw(report)


def save_html(report: Report, path: str | Path) -> Path:
    """Write a report as one HTML file with its pictures inside.

    Args:
        report: Result of :func:`nda_augment.audit`.
        path: File to write; missing folders are made.

    Returns:
        The path.

    Raises:
        ImportError: If matplotlib or pillow is missing.
    """
    try:
        from nda_augment.auditing.rendering.page import page
    except (ImportError, RuntimeError, OSError) as error:
        raise ImportError('pages need matplotlib and pillow: pip install "nda-augment[cli]"') from error
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(page(report), encoding="utf-8")
    return path
