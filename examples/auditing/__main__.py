"""Audit labelled images, several times if asked: ``python -m examples.auditing [SOURCE] [--arm NAME=POLICY ...]``.

``SOURCE`` is ``textures``, patches of the brick, the grass and the gravel that ship with scikit-image, or a word of
``DATA.name`` in examples/common/data.py. Beside the negatives there are augmentations that are positives where the
data have no fixed frame: two crops and a shift. For every seed there is a JSON file and a page in ``--output``.
"""

from importlib.resources import files
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from kornia.augmentation import RandomCrop, RandomResizedCrop
from PIL import Image
from rich.console import Console
from rich.progress import track
from torch import Tensor
from torch.nn import functional as F

import nda_augment as nda
from examples.common import data
from examples.common.data import Data, Images
from examples.common.runs import command
from nda_augment.auditing import Report, save_html, table
from nda_augment.auditing.measuring.comparison import Transform
from nda_augment.auditing.run import choose

console = Console()


def textures(side: int = 32, stride: int = 16) -> Images:
    """Patches of brick, grass and gravel at half resolution, uint8 ``(N, 1, side, side)``, and which it is."""
    patches = []
    for name in ("brick", "grass", "gravel"):
        with (files("skimage.data") / f"{name}.png").open("rb") as file, Image.open(file) as image:
            pixels = torch.from_numpy(np.array(image.convert("L"))).float()
        windows = F.avg_pool2d(pixels[None], 2).unfold(1, side, stride).unfold(2, side, stride)
        patches.append(windows.reshape(-1, 1, side, side).round().to(torch.uint8))
    return Images(torch.cat(patches), torch.arange(len(patches)).repeat_interleave(len(patches[0])))


def load(source: str, path: str, size: int, skip_unreadable: bool = False) -> Images:
    """Images of one source, square, ``size`` pixels a side."""
    if source == "textures":
        return textures(size, size // 2)
    asked = Data(name=source, path=path, img_size=size, holdout=0.0, skip_unreadable=skip_unreadable)
    everything, _ = data.load(asked)
    return everything


def positives(size: int) -> dict[str, Transform]:
    """Augmentations that leave images what they are, unless the data have a fixed frame."""
    shift = max(1, size // 16)
    return {
        "crop from 0.8": RandomResizedCrop((size, size), scale=(0.8, 1.0)),
        "crop from 0.9": RandomResizedCrop((size, size), scale=(0.9, 1.0)),
        "shift by 1/16": RandomCrop((size, size), padding=shift, padding_mode="replicate"),
    }


def arms(words: list[str], images: Tensor) -> dict[str, Transform]:
    """What ``--arm`` names; without any, the registry and jigsaws with pieces of an eighth and of two pixels."""
    if words:
        pairs = [word.partition("=") for word in words]
        return {name: nda.from_policy(policy or name) for name, _, policy in pairs}
    size = images.shape[-1]
    finer = {f"jigsaw {pieces}x{pieces}": nda.Jigsaw((pieces, pieces)) for pieces in (4, size // 2)}
    return {**choose(None, images)[0], **finer}


def run(data: Images, chosen: dict[str, Transform], limit: int, *, labels: bool, seed: int) -> Report:
    """Audit ``limit`` images, or all if there are fewer."""
    return nda.audit(data.images, chosen, labels=data.labels if labels else None, max_images=limit, seed=seed)


@command
def main(
    source: Annotated[str, typer.Argument(help="textures, digits, folder, npz, sheets or cifar10")] = "digits",
    path: Annotated[str, typer.Option(help="Of the folder, the .npz, the sheets")] = "",
    size: Annotated[int, typer.Option(help="Pixels a side")] = 16,
    skip_unreadable: Annotated[bool, typer.Option(help="Leave files of a folder out that cannot be read")] = False,
    limit: Annotated[int, typer.Option(help="Look at so many images at most")] = 2000,
    labels: Annotated[bool, typer.Option(help="Let a classifier of the labels judge structure")] = False,
    seeds: Annotated[int, typer.Option(help="How many audits, from seed 0 on")] = 1,
    arm: Annotated[list[str] | None, typer.Option(help="NAME=POLICY, or a policy; all negatives without")] = None,
    output: Annotated[Path, typer.Option(help="Folder for what came out")] = Path("runs/auditing"),
) -> None:
    """Audit images, and print the report of the first seed."""
    data = load(source, path, size, skip_unreadable)
    chosen = {**arms(arm or [], data.images), **positives(size)}
    output.mkdir(parents=True, exist_ok=True)
    reports = []
    for seed in track(range(seeds), description=source, console=console):
        reports.append(run(data, chosen, limit, labels=labels, seed=seed))
        save_html(reports[-1], output / f"audit-{seed}.html")
        (output / f"audit-{seed}.json").write_text(reports[-1].to_json() + "\n")
    console.print(table(reports[0]))
    console.print(f"Reports are in {output}", soft_wrap=True)


if __name__ == "__main__":
    typer.run(main)
