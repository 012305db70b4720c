"""A picture of clips and of what negatives make of them: ``python -m examples.video.pictures clips.png``."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated

import torch
import typer
from matplotlib.figure import Figure
from torch import Tensor

import nda_augment as nda
from examples.common.data import labels_of
from examples.common.pictures import grid
from examples.common.randomness import generator
from examples.common.runs import command
from examples.video import digits

POLICIES = ("jigsaw", "stitch", "frameshuffle", "framereverse", "clipstitch")


def negatives_of(clips: Tensor, policies: Sequence[str] = POLICIES, seed: int = 0) -> dict[str, Tensor]:
    """Negatives by policy, of ``(B, T, C, H, W)`` clips; one draw for each clip."""
    return {policy: nda.from_policy(policy)(clips, generator=generator(seed, policy)) for policy in policies}


def save_strips(path: Path, titles: Sequence[str], clips: Tensor, negatives: Mapping[str, Tensor]) -> None:
    """Draw each clip as a strip of its frames from left to right, and under it the strips of its negatives.

    Args:
        path: Where to write the PNG.
        titles: One for each clip.
        clips: ``(B, T, C, H, W)`` uint8.
        negatives: The same by name.
    """
    rows = {"clip": clips, **negatives}
    count, frames = clips.shape[:2]
    figure = Figure(figsize=(0.44 * frames * count + 1.1, 0.5 * len(rows) + 0.4), layout="constrained")
    for row, (axes, (name, strips)) in enumerate(zip(figure.subplots(len(rows), count), rows.items(), strict=True)):
        for place, (axis, strip) in enumerate(zip(axes, strips, strict=True)):
            pixels = grid(strip.float() / 127.5 - 1, columns=frames, scale=1)
            axis.imshow(pixels.permute(1, 2, 0).numpy(), interpolation="nearest")
            axis.set(xticks=[], yticks=[], title="" if row else titles[place])
            if not place:
                axis.set_ylabel(name, rotation=0, ha="right", va="center")
    figure.savefig(path, dpi=100, facecolor="white")


@command
def main(
    path: Annotated[Path, typer.Argument(help="Where to write the PNG")] = Path("clips.png"),
    count: Annotated[int, typer.Option(help="How many clips")] = 3,
) -> None:
    """Draw the first moving digits of the test set and their negatives."""
    _, test = digits.load(training=32, test=32, frames=8, size=20)
    # Every third one, to show motions of several pairs.
    chosen = test[torch.arange(count) * 3 % len(test)]
    titles = [digits.MOTIONS[int(label)] for label in labels_of(chosen)]
    save_strips(path, titles, chosen.images, negatives_of(chosen.images))


if __name__ == "__main__":
    typer.run(main)
