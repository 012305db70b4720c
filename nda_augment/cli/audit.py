"""The command ``nda-augment audit``."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.progress import Progress, TaskID

from nda_augment import auditing
from nda_augment.auditing.run import FEWEST
from nda_augment.cli import shell
from nda_augment.image_sets import ImageSet, read_image_set


def audit(
    source: Annotated[Path, typer.Argument(metavar="FOLDER|FILE.npz", help="Images, 148 at least, better 500.")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Where the HTML report goes.", show_default="audit.html")
    ] = None,
    policy: Annotated[
        str | None, typer.Option(help='Negatives to audit, such as "jigsaw(grid=4x4),stitch"; all by default.')
    ] = None,
    purpose: Annotated[
        Literal["gan", "contrastive", "semantic", "defect"], typer.Option(help="What the negatives are for.")
    ] = "gan",
    limit: Annotated[int, typer.Option(min=FEWEST, help="Look at a random sample of so many images at most.")] = 2000,
    size: Annotated[int, typer.Option(min=8, help="Side in pixels that files are cropped and resized to.")] = 64,
    labels: Annotated[bool, typer.Option(help="Use sub-folders, or the labels in an .npz, as classes.")] = True,
    seed: Annotated[int, typer.Option(help="Seed of all draws.")] = 0,
    as_json: shell.Json = False,
) -> None:
    """Measure which negatives suit your images: a table, and a report with pictures in one HTML file.

    An .npz file holds images, uint8 (N, H, W, C) or (N, H, W), and perhaps labels, integers (N,).

    With --json an HTML report is written only if --output asks for one.

    Example: nda-augment audit photos/ -o audit.html

    Example: nda-augment audit train.npz --policy "jigsaw,stitch,cutmix" --json > audit.json
    """
    try:
        found = read_image_set(source, size, limit=limit, seed=seed)
        for file in found.unreadable:
            shell.err.print(f"skipped {file}")
        with _progress() as progress:
            report = auditing.audit(
                found.images,
                policy,
                labels=found.labels if labels else None,
                max_images=limit,
                purpose=purpose,
                seed=seed,
                progress=progress,
            )
        report = _of_the_source(report, found)
        path = None if as_json and output is None else auditing.save_html(report, output or Path("audit.html"))
    except (ValueError, OSError) as error:
        shell.fail(str(error))
    if as_json:
        typer.echo(report.to_json())
        return
    shell.out.print(auditing.table(report), soft_wrap=False)
    shell.out.print(f"The report is in {path}")


def _of_the_source(report: auditing.Report, found: ImageSet) -> auditing.Report:
    """Count and number images as the source does, of which only a sample was read."""
    rows = tuple(replace(row, worst=tuple(found.numbers[number] for number in row.worst)) for row in report.rows)
    unread = tuple(map(str, found.unreadable))
    return replace(report, settings=replace(report.settings, given=found.given), rows=rows, unread=unread)


@contextmanager
def _progress() -> Iterator[Callable[[str, int, int], None]]:
    """Show a bar for every stage on standard error."""
    with Progress(console=shell.err, transient=True) as bars:
        tasks: dict[str, TaskID] = {}

        def tell(stage: str, done: int, total: int) -> None:
            if stage not in tasks:
                tasks[stage] = bars.add_task(stage, total=total)
            bars.update(tasks[stage], completed=done)

        yield tell
