"""Every transform against a copy of the batch, and against its twin in kornia where there is one."""

from collections.abc import Callable, Iterator
from typing import Any

import kornia.augmentation as K  # noqa: N812 - the field's name for it
import torch
from torch import Tensor

import nda_augment as nda
from benchmarks.memory import peak_bytes
from benchmarks.timing import interleaved, median_ms, ratio

SHAPES = ((256, 3, 32, 32), (64, 3, 224, 224))
MIXTURE = "jigsaw,stitch,cutout,mixup"
TWINS: dict[str, Callable[[], torch.nn.Module]] = {
    "jigsaw": lambda: K.RandomJigsaw(grid=(2, 2), p=1.0),
    "cutmix": lambda: K.RandomCutMixV2(p=1.0, use_correct_lambda=True),
    "mixup": lambda: K.RandomMixUpV2(p=1.0),
    "cutout": lambda: K.RandomErasing(scale=(1 / 9, 1 / 4), p=1.0),
}


def rows(device: torch.device, rounds: int) -> Iterator[dict[str, Any]]:
    """Measure, and yield one row per transform and shape."""
    for shape in SHAPES:
        images = torch.rand(shape, device=device)
        for word in (*nda.list_transforms(), MIXTURE):
            policy = nda.from_policy(word)
            transform = policy if word == MIXTURE else policy.members[0]
            yield _row(word, transform, images, rounds)


def _row(word: str, transform: nda.NegativeTransform, images: Tensor, rounds: int) -> dict[str, Any]:
    functions: dict[str, Callable[[], Any]] = {"clone": images.clone, "ours": lambda: transform(images)}
    if word in TWINS:
        twin = TWINS[word]()
        functions["twin"] = lambda: twin(images)
    seconds = interleaved(functions, rounds)
    return {
        "transform": word,
        "shape": "x".join(map(str, images.shape)),
        "device": images.device.type,
        "ms": median_ms(seconds, "ours"),
        "times clone": ratio(seconds, "ours", "clone"),
        "times faster than kornia": ratio(seconds, "twin", "ours") if "twin" in seconds else None,
        "peak memory / output": peak_bytes(lambda: transform(images)) / images.nbytes,
    }
