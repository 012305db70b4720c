"""The command ``nda-augment gallery``."""

import json
from pathlib import Path
from typing import Annotated

import torch
import typer
from torch import Tensor

from nda_augment.cli import shell
from nda_augment.gallery import save_contact_sheet
from nda_augment.pictures import image_files, read_images
from nda_augment.registry import NEGATIVES
from nda_augment.transforms import NegativeTransform


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
    as_json: shell.Json = False,
) -> None:
    """Draw a labelled contact sheet: real photographs and, under each, its negatives.

    Example: nda-augment gallery photos/ -o negatives.png --policy "jigsaw,stitch,cutout(side=0.3-0.5)"
    """
    images = _read(source, size, columns)
    transforms = _transforms(policy)
    if len(images) == 1:
        alone = [word for word, transform in transforms.items() if transform.uses_partners]
        if alone:
            shell.err.print(f"skipped, one image has no partner: {', '.join(alone)}; give a folder of several")
        transforms = {word: transform for word, transform in transforms.items() if word not in alone}
        if not transforms:
            raise typer.Exit(1)
    if policy is None:
        transforms = _that_fit(transforms, images[:2])
    try:
        path = save_contact_sheet(output, images, transforms, seed=seed)
    except (ValueError, OSError) as error:
        shell.fail(str(error))
    if as_json:
        typer.echo(json.dumps({"picture": str(path), "images": len(images), "negatives": list(transforms)}, indent=2))
    else:
        shell.out.print(str(path))


def _read(source: Path, size: int, count: int) -> Tensor:
    """Read the first readable images, and name those that are not."""
    try:
        files = image_files(source)
    except FileNotFoundError as error:
        shell.fail(str(error))
    images: list[Tensor] = []
    for image in read_images(files, size):
        if isinstance(image, Tensor):
            images.append(image)
        else:
            shell.err.print(f"skipped {image}")
        if len(images) == count:
            break
    if not images:
        shell.fail(f"{source}: no readable image")
    return torch.stack(images)


def _transforms(policy: str | None) -> dict[str, NegativeTransform]:
    if policy is None:
        return {negative.word: negative() for negative in NEGATIVES if not negative.needs_clips}
    return {str(member): member for member in shell.mixture(policy).members}


def _that_fit(transforms: dict[str, NegativeTransform], images: Tensor) -> dict[str, NegativeTransform]:
    """Leave out the negatives that do not take images of this size, and name them."""
    fit = {}
    for word, transform in transforms.items():
        try:
            transform(images, generator=torch.Generator())
        except ValueError as error:
            shell.err.print(f"skipped {word}: {error}")
        else:
            fit[word] = transform
    return fit
