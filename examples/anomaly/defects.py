"""Damage on a wall, and where it is: ``python -m examples.anomaly.defects``.

Normal images are patches of the brick wall that ships with scikit-image. The detector learns to outline pasted damage;
what it is asked about, scratches and stains, is made in another way.
"""

from dataclasses import replace
from importlib.resources import files
from pathlib import Path
from typing import Annotated

import torch
import typer
from kornia.filters import gaussian_blur2d
from matplotlib.figure import Figure
from PIL import Image
from rich.console import Console
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from examples.anomaly.metrics import MEASURES, Measures, detection
from examples.common.randomness import generator, seeded
from examples.common.runs import command
from nda_augment.anomaly import defect

SIDE = 64
console = Console()


def wall() -> Tensor:
    """The photograph, ``(1, 256, 256)`` in [0, 1]."""
    with (files("skimage.data") / "brick.png").open("rb") as file, Image.open(file) as image:
        small = image.convert("L").resize((256, 256), Image.Resampling.LANCZOS)
    return torch.frombuffer(bytearray(small.tobytes()), dtype=torch.uint8).view(1, 256, 256) / 255


def patches(picture: Tensor, count: int, source: torch.Generator) -> Tensor:
    """Patches at random places of a picture ``(C, H, W)``: ``(count, C, SIDE, SIDE)``."""
    height, width = picture.shape[-2:]
    top = torch.randint(height - SIDE + 1, (count,), generator=source)
    left = torch.randint(width - SIDE + 1, (count,), generator=source)
    places = zip(top.tolist(), left.tolist(), strict=True)
    return torch.stack([picture[:, y : y + SIDE, x : x + SIDE] for y, x in places])


def damage(images: Tensor, source: torch.Generator) -> tuple[Tensor, Tensor]:
    """Scratch every other image and stain the rest; returns them and masks ``(N, 1, SIDE, SIDE)`` of zeros and ones."""
    count = len(images)
    centre = SIDE * (0.25 + 0.5 * torch.rand(count, 2, 1, 1, generator=source))
    angle = torch.pi * torch.rand(count, 1, 1, generator=source)
    place = torch.arange(SIDE) + 0.5
    y, x = place[:, None] - centre[:, 0], place - centre[:, 1]
    along, across = x * angle.cos() + y * angle.sin(), y * angle.cos() - x * angle.sin()
    scratch = (across.abs() < 1) & (along.abs() < SIDE / 5)
    stain = (along / 1.5).square() + across.square() < (SIDE / 10) ** 2
    is_scratch = (torch.arange(count) % 2 == 0)[:, None, None]
    mask = torch.where(is_scratch, scratch, stain)[:, None].to(images.dtype)
    strength = gaussian_blur2d(mask, (3, 3), (0.7, 0.7))
    colour = torch.where(is_scratch[:, None], 0.85, 0.6 * images)
    return images + strength * (colour - images), mask


def run(steps: int, seed: int, output: Path) -> dict[str, Measures]:
    """Train, measure on images and on pixels, and draw a few heat maps into a picture.

    Args:
        steps: How long the detector learns.
        seed: Of weights, patches and draws; the damage is always the same.
        output: Where to write the picture.
    """
    picture = wall()
    training = patches(picture[:, :, :160], 512, generator(seed, "patches"))
    normal = patches(picture[:, :, 160:], 100, generator(0, "normal"))
    damaged, masks = damage(patches(picture[:, :, 160:], 100, generator(0, "damaged")), generator(0, "damage"))

    with seeded(seed, "weights"):
        detector = defect(channels=1)
    detector.training_settings = replace(detector.training_settings, steps=steps, seed=seed, accelerator="cpu")
    detector.fit(DataLoader(TensorDataset(training), 8, shuffle=True, drop_last=True))

    heat_normal, heat = detector.heatmap(normal), detector.heatmap(damaged)
    pixels = torch.cat([heat_normal.flatten(), heat[masks == 0]]), heat[masks == 1]
    _draw(output, damaged[:6], masks[:6], heat[:6])
    return {
        "images": detection(detector.score(normal), detector.score(damaged)),
        "pixels": detection(*pixels),
    }


def _draw(path: Path, images: Tensor, masks: Tensor, heat: Tensor) -> None:
    figure = Figure(figsize=(1.5 * len(images), 4.4), layout="constrained")
    rows = figure.subplots(3, len(images), squeeze=False)
    shown = {"damaged": (images, "gray"), "damage": (masks, "gray"), "heat map": (heat.sigmoid(), "inferno")}
    for row, (name, (values, colours)) in zip(rows, shown.items(), strict=True):
        for axes, value in zip(row, values, strict=True):
            enlarged = F.interpolate(value[None].float(), scale_factor=2)[0, 0]
            axes.imshow(enlarged.numpy(), cmap=colours)
            axes.set_xticks([])
            axes.set_yticks([])
        row[0].set_ylabel(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=80, facecolor="white")


@command
def main(
    steps: Annotated[int, typer.Option()] = 1000,
    seed: Annotated[int, typer.Option()] = 0,
    output: Annotated[Path, typer.Option(help="Picture to write")] = Path("runs/anomaly/defects.png"),
) -> None:
    """Learn a wall, find its damage."""
    for name, row in run(steps, seed, output).items():
        console.print(f"{name}: " + ", ".join(f"{measure} {row[measure]:.1f} %" for measure in MEASURES))
    console.print(f"Heat maps are in {output}; damage is positive in all measures", soft_wrap=True)


if __name__ == "__main__":
    typer.run(main)
