"""Every transform against the limit, one read and one write of the batch, in time, memory, kernels and bytes."""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

import nda_augment as nda
from benchmarks.memory import can_keep, freed_memory_is, peak_bytes
from benchmarks.timing import interleaved, median_ms, ratio
from benchmarks.traffic import on_fake_gpu

SHAPES = ((256, 3, 32, 32), (64, 3, 224, 224))
DTYPES = (torch.float32, torch.uint8)
FRAMES = 8
MIXTURE = "jigsaw,stitch,cutout,mixup"


def rows(device: torch.device, rounds: int) -> Iterator[dict[str, Any]]:
    """Measure, and yield one row per policy, shape and dtype."""
    for shape in SHAPES:
        for dtype in DTYPES:
            images = (torch.rand(shape, device=device) * 255).to(dtype)
            for word in (*nda.list_transforms(), MIXTURE):
                transform = nda.from_policy(word)
                clips = images.view(-1, FRAMES, *images.shape[1:])
                yield _row(word, transform, clips if transform.needs_clips else images, rounds)


def _row(word: str, transform: nda.Mixture, images: Tensor, rounds: int) -> dict[str, Any]:
    target = torch.empty_like(images)
    functions: dict[str, Callable[[], Any]] = {
        "limit": lambda: torch.add(images, 1, out=target),
        "clone": images.clone,
        "ours": lambda: transform(images),
    }
    with freed_memory_is(kept=True):
        warm = interleaved(functions, rounds)
    cold = None
    if images.device.type == "cpu" and can_keep():
        with freed_memory_is(kept=False):
            cold = interleaved({name: functions[name] for name in ("clone", "ours")}, max(rounds // 3, 1))
    traffic = on_fake_gpu(transform, tuple(images.shape), images.dtype, len(transform.members))
    return {
        "transform": word,
        "shape": "x".join(map(str, images.shape)),
        "dtype": str(images.dtype).removeprefix("torch."),
        "ms": median_ms(warm, "ours"),
        "times limit": ratio(warm, "ours", "limit"),
        "times clone": ratio(warm, "ours", "clone"),
        "times clone, cold": None if cold is None else ratio(cold, "ours", "clone"),
        "peak memory / output": peak_bytes(functions["ours"]) / images.nbytes,
        "GPU kernels": traffic.kernels,
        "GPU copies": traffic.bytes / (2 * images.nbytes),
        "host copies": traffic.host_copies,
    }
