"""Every transform against a copy of the batch, and against its twins in kornia and torchvision where there are any."""

from collections.abc import Callable, Iterator
from typing import Any

import kornia.augmentation as K
import torch
from torch import Tensor
from torchvision.transforms import v2

import nda_augment as nda
from benchmarks.memory import peak_bytes
from benchmarks.timing import interleaved, median_ms, ratio

SHAPES = ((256, 3, 32, 32), (64, 3, 224, 224))
FRAMES = 8
MIXTURE = "jigsaw,stitch,cutout,mixup"

Twin = Callable[[Tensor], Any]
# torchvision draws once per batch, kornia once per image.
TWINS: dict[str, tuple[str, Callable[[], Twin]]] = {
    "jigsaw": ("kornia RandomJigsaw", lambda: K.RandomJigsaw(grid=(2, 2), p=1.0)),
    "patchshuffle": ("kornia RandomJigsaw", lambda: K.RandomJigsaw(grid=(8, 8), p=1.0)),
    "cutmix": ("kornia RandomCutMixV2", lambda: K.RandomCutMixV2(p=1.0, use_correct_lambda=True)),
    "mixup": ("kornia RandomMixUpV2", lambda: K.RandomMixUpV2(p=1.0)),
    "cutout": ("kornia RandomErasing", lambda: K.RandomErasing(scale=(1 / 9, 1 / 4), p=1.0)),
    "flip": ("kornia RandomVerticalFlip", lambda: K.RandomVerticalFlip(p=1.0)),
    "rotate90": ("kornia RandomRotation90", lambda: K.RandomRotation90(times=(1, 3), p=1.0)),
    "randomfieldwarp": ("torchvision v2 ElasticTransform", v2.ElasticTransform),
}


def rows(device: torch.device, rounds: int) -> Iterator[dict[str, Any]]:
    """Measure, and yield one row per transform and shape."""
    for shape in SHAPES:
        images = torch.rand(shape, device=device)
        for word in (*nda.list_transforms(), MIXTURE):
            policy = nda.from_policy(word)
            transform = policy if word == MIXTURE else policy.members[0]
            yield _row(word, transform, _as_clips(images) if transform.needs_clips else images, rounds)


def _as_clips(images: Tensor) -> Tensor:
    return images.view(-1, FRAMES, *images.shape[1:])


def _row(word: str, transform: nda.NegativeTransform, images: Tensor, rounds: int) -> dict[str, Any]:
    functions: dict[str, Callable[[], Any]] = {"clone": images.clone, "ours": lambda: transform(images)}
    name, make = TWINS.get(word, (None, None))
    if make is not None:
        twin = make()
        functions["twin"] = lambda: twin(images)
    seconds = interleaved(functions, rounds)
    return {
        "transform": word,
        "shape": "x".join(map(str, images.shape)),
        "device": images.device.type,
        "ms": median_ms(seconds, "ours"),
        "times clone": ratio(seconds, "ours", "clone"),
        "peak memory / output": peak_bytes(lambda: transform(images)) / images.nbytes,
        "times faster than twin": ratio(seconds, "twin", "ours") if name else None,
        "twin": name,
    }
