"""What detectors learn with, beside the way that comes to mind first: `python -m benchmarks.run detectors`."""

import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from kornia.filters import gaussian_blur2d
from torch import Tensor
from torchvision.transforms.v2.functional import to_pil_image

from benchmarks.timing import interleaved, median_ms, ratio
from nda_augment import _networks
from nda_augment.anomaly import Encoder
from nda_augment.anomaly.folders import ImageFiles
from nda_augment.anomaly.pixels import _smoothed

LEARNED_FROM = ((40, 3, 128, 128), (64, 3, 32, 32), (32, 1, 64, 64))
SMOOTHED, SIGMA = ((96, 1, 128, 128), (3, 1, 1024, 1024)), 2.8
FILES, SIZE = (8, 3, 1024, 1024), (256, 256)


def rows(rounds: int = 15) -> Iterator[dict[str, Any]]:
    """Measure, and yield one row per part of a training and size."""
    for shape in LEARNED_FROM:
        images = torch.rand(shape)
        step = _step(Encoder(shape[1]), images)
        yield _row("a step of Encoder", shape, "channels_last", step, "as images come", partial(_plain, step), rounds)
    for shape in SMOOTHED:
        images, side = torch.rand(shape), 2 * round(3 * SIGMA) + 1
        blur = partial(gaussian_blur2d, images, (side, side), (SIGMA, SIGMA))
        yield _row("smoothing", shape, "matrices", partial(_smoothed, images, SIGMA), "kornia", blur, rounds)
    with tempfile.TemporaryDirectory() as folder:
        files = [Path(folder, f"{number}.png") for number in range(FILES[0])]
        for file in files:
            to_pil_image(_photograph(FILES[1:])).save(file)
        kept, read = (partial(_all, ImageFiles(files, size=SIZE, memory=memory)) for memory in (2**30, 0))
        yield _row("files, again", FILES, "kept", kept, "read", read, rounds)


def _step(encoder: Encoder, images: Tensor) -> Callable[[], None]:
    optimizer = torch.optim.AdamW(encoder.parameters())

    def step() -> None:
        optimizer.zero_grad()
        encoder(images).square().mean().backward()
        optimizer.step()

    return step


def _plain(step: Callable[[], None]) -> None:
    """Make a step with maps as they come."""
    with patch.object(_networks, "is_plain", return_value=False):
        step()


def _photograph(shape: tuple[int, ...]) -> Tensor:
    """Noise on a ramp, which compresses as photographs do."""
    ramp = torch.linspace(40, 200, shape[-1]).expand(shape)
    return (ramp + 4 * torch.randn(shape)).clamp(0, 255).to(torch.uint8)


def _all(files: ImageFiles) -> list[Tensor]:
    return [files[number] for number in range(len(files))]


def _row(
    what: str,
    shape: tuple[int, ...],
    way: str,
    ours: Callable[[], Any],
    other: str,
    theirs: Callable[[], Any],
    rounds: int,
) -> dict[str, Any]:
    seconds = interleaved({"ours": ours, "theirs": theirs}, rounds)
    return {
        "what": what,
        "shape": "x".join(map(str, shape)),
        "way": way,
        "ms": median_ms(seconds, "ours"),
        "other way": other,
        "other's ms": median_ms(seconds, "theirs"),
        "times as fast": ratio(seconds, "theirs", "ours"),
    }
