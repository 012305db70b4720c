"""What the ``nda-augment`` command does.

Needs typer, rich, matplotlib and pillow: ``pip install "nda-augment[cli]"``.
"""

from pathlib import Path
from typing import Annotated, NoReturn

import torch
import typer
from rich.console import Console
from torch import Tensor

from nda_augment.gallery import save_contact_sheet
from nda_augment.pictures import image_files, read_images
from nda_augment.policy import from_policy
from nda_augment.registry import ENTRIES
from nda_augment.transforms import NegativeTransform

app = typer.Typer(no_args_is_help=True, add_completion=False, help="Negative data augmentation, from the shell.")
_out, _err = Console(highlight=False, soft_wrap=True), Console(stderr=True, highlight=False, soft_wrap=True)


@app.callback()
def _nda_augment() -> None:
    """Negative data augmentation, from the shell."""


@app.command()
def gallery(
    source: Annotated[Path, typer.Argument(metavar="IMAGE_OR_FOLDER", help="An image, or a folder of images.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Where the picture goes.")] = Path("gallery.png"),
    policy: Annotated[
        str | None,
        typer.Option(help='Negatives to draw, such as "jigsaw(grid=3x3),stitch"; all by default.'),
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of the draws.")] = 0,
    size: Annotated[int, typer.Option(min=8, help="Side in pixels that images are cropped and resized to.")] = 224,
    columns: Annotated[int, typer.Option(min=1, help="How many images to draw, the first ones.")] = 6,
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
    try:
        path = save_contact_sheet(output, images, transforms, seed=seed)
    except (ValueError, OSError) as error:
        _fail(str(error))
    _out.print(str(path))


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
    try:
        return {str(member): member for member in from_policy(policy).members}
    except (ValueError, TypeError) as error:
        _fail(str(error))


def _fail(message: str) -> NoReturn:
    _err.print(message, style="red")
    raise typer.Exit(1)
