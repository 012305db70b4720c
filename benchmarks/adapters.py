"""One image at a time on one core, as the workers of a DataLoader do it: `python -m benchmarks.adapters`.

Each of ours stands beside the transform of the host library that is nearest to it, in the same kind of pipeline and
with boxes of the same size. torchvision has nothing that rearranges; there RandomErasing is the measure for all.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

import cv2
import torch
from rich.console import Console
from rich.table import Table
from torchvision.transforms import v2

import nda_augment as nda
from benchmarks.timing import interleaved, median_ms, ratio
from nda_augment.adapters import albumentations as adapted
from nda_augment.adapters.torchvision import NegativeTransform

import albumentations as A  # isort: skip  # after the adapter, which keeps it from looking for updates

SIDES = (224, 512)
CALLS = 20

# The paper's box: height and width of 1/3 to 1/2 of the image's, which as areas and aspects is nearly this.
BOX = (1 / 3, 1 / 2)
ERASING = {"scale": (1 / 9, 1 / 4), "ratio": (2 / 3, 3 / 2), "p": 1.0}


def rows(rounds: int = 25) -> Iterator[dict[str, Any]]:
    """Measure, and yield one row per pipeline and size."""
    with _one_thread():
        for side in SIDES:
            image = torch.randint(0, 256, (side, side, 3), dtype=torch.uint8)
            yield from _albumentations_rows(image.numpy(), rounds)
            yield from _torchvision_rows(image.permute(2, 0, 1).contiguous(), rounds)


def _albumentations_rows(image: Any, rounds: int) -> Iterator[dict[str, Any]]:
    shuffle = {grid: A.RandomGridShuffle(grid=grid, p=1.0) for grid in ((2, 2), (4, 4))}
    dropout = A.CoarseDropout(num_holes_range=(1, 1), hole_height_range=BOX, hole_width_range=BOX, p=1.0)
    pairs = {
        "Jigsaw 2x2": (adapted.Jigsaw(grid=(2, 2)), shuffle[2, 2]),
        "Jigsaw 4x4": (adapted.Jigsaw(grid=(4, 4)), shuffle[4, 4]),
        "Cutout, zero": (adapted.Cutout(fill="zero"), dropout),
        "Cutout, patch mean": (adapted.Cutout(), dropout),
        "CutMix": (adapted.CutMix(), dropout),
        "Stitch": (adapted.Stitch(), shuffle[2, 2]),
        "Mixup": (adapted.Mixup(), None),
    }
    pool = [image[::-1].copy()]
    for name, (ours, theirs) in pairs.items():
        functions = {"ours": partial(A.Compose([ours], seed=0), image=image, pool=pool)}
        if theirs is not None:
            functions["theirs"] = partial(A.Compose([theirs], seed=0), image=image)
        yield _row("A.Compose", name, len(image), type(theirs).__name__ if theirs else None, functions, rounds)


def _torchvision_rows(image: torch.Tensor, rounds: int) -> Iterator[dict[str, Any]]:
    erasing = v2.Compose([v2.RandomErasing(**ERASING)])
    picture = v2.functional.to_pil_image(image)
    pool = [image.flip(-1)]
    ours = {
        "Jigsaw 2x2": NegativeTransform(nda.Jigsaw(grid=(2, 2))),
        "Jigsaw 4x4": NegativeTransform(nda.Jigsaw(grid=(4, 4))),
        "Cutout, zero": NegativeTransform(nda.Cutout(fill="zero")),
        "Cutout, patch mean": NegativeTransform(nda.Cutout()),
        "CutMix": NegativeTransform(nda.CutMix(), pool),
        "Stitch": NegativeTransform(nda.Stitch(), pool),
        "Mixup": NegativeTransform(nda.Mixup(), pool),
    }
    for name, transform in ours.items():
        functions = {"ours": partial(v2.Compose([transform]), image), "theirs": partial(erasing, image)}
        yield _row("v2.Compose, tensor", name, image.shape[-1], "RandomErasing", functions, rounds)
    for name in ("Jigsaw 2x2", "Cutout, zero"):
        functions = {"ours": partial(v2.Compose([ours[name]]), picture), "theirs": partial(erasing, picture)}
        yield _row("v2.Compose, PIL", name, image.shape[-1], "RandomErasing", functions, rounds)


def _row(
    pipeline: str, name: str, side: int, peer: str | None, functions: Mapping[str, Callable[[], Any]], rounds: int
) -> dict[str, Any]:
    seconds = interleaved(functions, rounds, CALLS)
    return {
        "pipeline": pipeline,
        "transform": name,
        "side": side,
        "images/s": round(1e3 / median_ms(seconds, "ours")),
        "peer": peer,
        "peer images/s": round(1e3 / median_ms(seconds, "theirs")) if peer else None,
        "times faster than peer": ratio(seconds, "theirs", "ours") if peer else None,
    }


@contextmanager
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads(), cv2.getNumThreads()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads[0])
        cv2.setNumThreads(threads[1])


def main() -> None:
    """Print the table."""
    measured = list(rows())
    table = Table(*measured[0], title="One uint8 image at a time, one core")
    for row in measured:
        table.add_row(*map(_text, row.values()))
    Console().print(table)


def _text(value: Any) -> str:
    return "" if value is None else f"{value:.2f}" if isinstance(value, float) else str(value)


if __name__ == "__main__":
    main()
