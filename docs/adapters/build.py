"""Draws the pictures of these pages: `python -m docs.adapters.build`, after an adapter was changed."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure

import nda_augment as nda
from examples.common.photographs import load_photographs
from nda_augment.adapters import albumentations as adapted
from nda_augment.adapters.torchvision import NegativeCollate

import albumentations as A  # isort: skip  # after the adapter, which keeps it from looking for updates

HERE = Path(__file__).parent


def main() -> None:
    """Write both pictures."""
    photographs, _ = load_photographs(160)
    torch.manual_seed(0)
    torchvision_picture(photographs).savefig(HERE / "torchvision.jpg", dpi=90)
    albumentations_picture(photographs.permute(0, 2, 3, 1).numpy()).savefig(HERE / "albumentations.jpg", dpi=90)


def torchvision_picture(photographs: torch.Tensor) -> Figure:
    """Draw what two collate functions add to a batch."""
    stitched = NegativeCollate(nda.Stitch())(list(photographs))
    _, mixed = NegativeCollate(nda.from_policy("jigsaw,cutmix,mixup,cutout"))(list(photographs))
    rows = {"images": stitched[0], "Stitch": stitched[1], "a mixture": mixed}
    return _grid({name: [np.asarray(image.permute(1, 2, 0)) for image in row] for name, row in rows.items()})


def albumentations_picture(photographs: Any) -> Figure:
    """Draw one draw on several targets, and its replay on another picture."""
    image, other = photographs[:2]
    luminance = image @ np.array([0.299, 0.587, 0.114], dtype=np.float32)
    mask = np.repeat((luminance > luminance.mean())[..., None], 3, axis=2).astype(np.float32)
    pipeline = A.ReplayCompose([adapted.Jigsaw(grid=4)], additional_targets={"mask": "image"})
    result = pipeline(image=image, mask=mask)
    replayed = A.ReplayCompose.replay(result["replay"], image=other)["image"]
    return _grid({"before": [image, mask, other], "Jigsaw": [result["image"], result["mask"], replayed]},
                 ["image", "its mask, as an image", "another image, replayed"])  # fmt: skip


def _grid(rows: dict[str, list[Any]], titles: Sequence[str] = ()) -> Figure:
    columns = len(next(iter(rows.values())))
    figure = Figure(figsize=(1.5 * columns, 1.6 * len(rows)), layout="constrained")
    axes = figure.subplots(len(rows), columns, squeeze=False)
    for line, (label, images) in zip(axes, rows.items(), strict=True):
        line[0].set_ylabel(label)
        for cell, image in zip(line, images, strict=True):
            cell.imshow(image.clip(0, 1))
            cell.set(xticks=[], yticks=[])
    for cell, title in zip(axes[0], titles, strict=False):
        cell.set_title(title, fontsize=8)
    return figure


if __name__ == "__main__":
    main()
