"""What the ``nda-augment`` command does.

Needs typer, rich, matplotlib and pillow: ``pip install "nda-augment[cli]"``.
"""

import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, NoReturn

import torch
import typer
from rich.console import Console
from rich.progress import Progress, TaskID
from rich.table import Table
from torch import Tensor

from nda_augment import __version__, doctor
from nda_augment._policy_syntax import short_value
from nda_augment.auditing import audit as run_audit
from nda_augment.auditing.procedure import FEWEST
from nda_augment.auditing.reading import read as read_set
from nda_augment.gallery import save_contact_sheet
from nda_augment.pictures import image_files, read_images
from nda_augment.policy import from_policy
from nda_augment.registry import ENTRIES
from nda_augment.transforms import Mixture, NegativeTransform
from nda_augment.transforms.base import Common

EXIT_CODES = "Exit codes: 0 done; 1 it could not be done, and standard error says why; 2 wrong usage."

app = typer.Typer(no_args_is_help=True, add_completion=False)


def _console(**options: Any) -> Console:
    # No markup: "nda-augment[cli]" is not a style.
    return Console(highlight=False, markup=False, emoji=False, soft_wrap=True, **options)


_out, _err = _console(), _console(stderr=True)

Json = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]


@app.callback(epilog=EXIT_CODES, invoke_without_command=True)
def _nda_augment(
    version: Annotated[bool, typer.Option("--version", help="Print the version and leave.")] = False,
) -> None:
    """Negative data augmentation, from the shell."""
    if version:
        _out.print(__version__)
        raise typer.Exit


@app.command(epilog=EXIT_CODES)
def gallery(
    source: Annotated[Path, typer.Argument(metavar="IMAGE_OR_FOLDER", help="An image, or a folder of images.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Where the picture goes.")] = Path("gallery.png"),
    policy: Annotated[
        str | None,
        typer.Option(help='Negatives to draw, such as "jigsaw(grid=3x3),stitch"; all that fit by default.'),
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of the draws.")] = 0,
    size: Annotated[int, typer.Option(min=8, help="Side in pixels that images are cropped and resized to.")] = 224,
    columns: Annotated[int, typer.Option(min=1, help="How many images to draw, the first ones.")] = 6,
    as_json: Json = False,
) -> None:
    """Draw a labelled contact sheet: real photographs and, under each, its negatives.

    Example: nda-augment gallery photos/ -o negatives.png --policy "jigsaw,stitch,cutout(side=0.3-0.5)"
    """
    images = _read(source, size, columns)
    transforms = _transforms(policy)
    if len(images) == 1:
        alone = [word for word, transform in transforms.items() if transform.uses_partners]
        if alone:
            _err.print(f"skipped, one image has no partner: {', '.join(alone)}; give a folder of several")
        transforms = {word: transform for word, transform in transforms.items() if word not in alone}
        if not transforms:
            raise typer.Exit(1)
    if policy is None:
        transforms = _that_fit(transforms, images[:2])
    try:
        path = save_contact_sheet(output, images, transforms, seed=seed)
    except (ValueError, OSError) as error:
        _fail(str(error))
    if as_json:
        typer.echo(json.dumps({"picture": str(path), "images": len(images), "negatives": list(transforms)}, indent=2))
    else:
        _out.print(str(path))


@app.command(epilog=EXIT_CODES)
def policies(
    policy: Annotated[
        str | None,
        typer.Argument(help='A policy to read, such as "jigsaw(grid=3x3):2,stitch"; all negatives if left out.'),
    ] = None,
    family: Annotated[str | None, typer.Option(help="List the negatives of one family only.")] = None,
    as_json: Json = False,
) -> None:
    """List the negatives that a policy may name, or read a policy and say what it does.

    Example: nda-augment policies --family patch

    Example: nda-augment policies "jigsaw(grid=3x3):2,stitch" --json
    """
    if policy is None:
        rows = _catalogue(family)
    elif family is None:
        rows = _members(policy)
    else:
        raise typer.BadParameter("a policy names its negatives itself", param_hint="--family")
    if as_json:
        typer.echo(json.dumps(rows, indent=2))
        return
    columns = [column for column in rows[0] if column not in ("guarantee", "source")]
    _print_table(columns, [[_text(row[column]) for column in columns] for row in rows])


@app.command(epilog=EXIT_CODES)
def audit(
    source: Annotated[Path, typer.Argument(metavar="FOLDER|FILE.npz", help="Images, 32 at least, better 500.")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Where the HTML report goes.", show_default="audit.html")
    ] = None,
    policy: Annotated[
        str | None, typer.Option(help='Negatives to audit, such as "jigsaw(grid=4x4),stitch"; all by default.')
    ] = None,
    limit: Annotated[int, typer.Option(min=FEWEST, help="Look at a random sample of so many images at most.")] = 2000,
    size: Annotated[int, typer.Option(min=8, help="Side in pixels that files are cropped and resized to.")] = 64,
    labels: Annotated[bool, typer.Option(help="Use sub-folders, or the labels in an .npz, as classes.")] = True,
    seed: Annotated[int, typer.Option(help="Seed of all draws.")] = 0,
    as_json: Json = False,
) -> None:
    """Measure which negatives suit your images: a table, and a report with pictures in one HTML file.

    An .npz file holds images, uint8 (N, H, W, C) or (N, H, W), and perhaps labels, integers (N,).

    With --json there is no HTML report unless --output asks for one.

    Example: nda-augment audit photos/ -o audit.html

    Example: nda-augment audit train.npz --policy "jigsaw,stitch,cutmix" --json > audit.json
    """
    try:
        found = read_set(source, size)
        for file in found.unreadable:
            _err.print(f"skipped {file}")
        with _progress() as progress:
            report = run_audit(
                found.images,
                policy,
                labels=found.labels if labels else None,
                max_images=limit,
                seed=seed,
                progress=progress,
            )
        path = None if as_json and output is None else report.save_html(output or Path("audit.html"))
    except (ValueError, OSError) as error:
        _fail(str(error))
    if as_json:
        typer.echo(report.to_json())
        return
    _out.print(report.table(), soft_wrap=False)
    _out.print(f"The report is in {path}")


@contextmanager
def _progress() -> Iterator[Callable[[str, int, int], None]]:
    """Show a bar for every stage on standard error."""
    with Progress(console=_err, transient=True) as bars:
        tasks: dict[str, TaskID] = {}

        def tell(stage: str, done: int, total: int) -> None:
            if stage not in tasks:
                tasks[stage] = bars.add_task(stage, total=total)
            bars.update(tasks[stage], completed=done)

        yield tell


@app.command("doctor", epilog=EXIT_CODES)
def _doctor(as_json: Json = False) -> None:
    """Say which versions are installed, which adapters work, and how to mend what does not.

    Only what is broken is a failure; a library that is missing is one you may not need.

    Example: nda-augment doctor

    Example: nda-augment doctor --json > report.json
    """
    findings = list(doctor.examine())
    if as_json:
        typer.echo(json.dumps([asdict(finding) for finding in findings], indent=2))
    else:
        _print_table(["part", "name", "status", "found"], [_row(finding) for finding in findings])
        for finding in findings:
            if finding.fix:
                _out.print(f"{finding.name}: {finding.fix}")
    counts = Counter(finding.status for finding in findings)
    if counts["broken"]:
        _fail(f"broken: {', '.join(finding.name for finding in findings if finding.status == 'broken')}")


def _row(finding: doctor.Finding) -> list[str]:
    versions = ", ".join(f"{name} {version}" for name, version in finding.versions.items())
    found = "; ".join(filter(None, (versions, finding.note)))
    return [finding.part, finding.name, finding.status, found]


def _catalogue(family: str | None) -> list[dict[str, Any]]:
    families = list(dict.fromkeys(entry.family for entry in ENTRIES))
    if family is not None and family not in families:
        _fail(f"unknown family {family!r}; known are {', '.join(families)}")
    return [
        {
            "word": entry.word,
            "family": entry.family,
            "arguments": entry.cls.defaults(),
            "breaks": entry.breaks,
            "keeps": entry.keeps,
            "guarantee": entry.guarantee,
            "source": entry.source,
        }
        for entry in ENTRIES
        if family in (None, entry.family)
    ]


def _members(policy: str) -> list[dict[str, Any]]:
    mixture = _mixture(policy)
    return [
        {
            "member": str(member),
            "share": round(share, 4),
            "needs": ", ".join(_needs(member)),
            "arguments": {} if isinstance(member, Mixture) else member.arguments(),
        }
        for member, share in zip(mixture.members, mixture.probabilities, strict=True)
    ]


def _text(value: Any) -> str:
    """Write a cell; arguments as a policy has them, less those that every negative has."""
    if not isinstance(value, dict):
        return str(value)
    own = {name: argument for name, argument in value.items() if name not in Common.__annotations__}
    return ", ".join(f"{name}={short_value(argument)}" for name, argument in own.items())


def _needs(transform: NegativeTransform) -> list[str]:
    """Return what a transform needs beside an image."""
    needs = {"other images": transform.uses_partners, "labels": transform.needs_labels, "clips": transform.needs_clips}
    return [name for name, needed in needs.items() if needed]


def _print_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table for people, or lines separated by tabs into a pipe."""
    if not _out.is_terminal:
        for line in (columns, *rows):
            typer.echo("\t".join(line))
        return
    table = Table(*columns, box=None, pad_edge=False)
    for row in rows:
        table.add_row(*row)
    _out.print(table, soft_wrap=False)


def _read(source: Path, size: int, count: int) -> Tensor:
    """Read the first readable images, and name those that are not."""
    try:
        files = image_files(source)
    except FileNotFoundError as error:
        _fail(str(error))
    images: list[Tensor] = []
    for image in read_images(files, size):
        if isinstance(image, Tensor):
            images.append(image)
        else:
            _err.print(f"skipped {image}")
        if len(images) == count:
            break
    if not images:
        _fail(f"{source}: no readable image")
    return torch.stack(images)


def _transforms(policy: str | None) -> dict[str, NegativeTransform]:
    if policy is None:
        return {entry.word: entry.cls() for entry in ENTRIES if not entry.cls.needs_clips}
    return {str(member): member for member in _mixture(policy).members}


def _that_fit(transforms: dict[str, NegativeTransform], images: Tensor) -> dict[str, NegativeTransform]:
    """Leave out the negatives that do not take images of this size, and name them."""
    fit = {}
    for word, transform in transforms.items():
        try:
            transform(images, generator=torch.Generator())
        except ValueError as error:
            _err.print(f"skipped {word}: {error}")
        else:
            fit[word] = transform
    return fit


def _mixture(policy: str) -> Mixture:
    try:
        return from_policy(policy)
    except (ValueError, TypeError) as error:
        _fail(str(error))


def _fail(message: str) -> NoReturn:
    _err.print(message, style="red")
    raise typer.Exit(1)
