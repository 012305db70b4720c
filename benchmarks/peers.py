"""The nearest transforms of other libraries, and how their work differs from ours."""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import kornia.augmentation as K
import numpy as np
import torch
from timm.data.mixup import Mixup
from timm.data.random_erasing import RandomErasing
from torch import Tensor
from torchvision.transforms import v2

import nda_augment as nda
from benchmarks.timing import interleaved, median_ms, ratio
from nda_augment.adapters import albumentations as _  # noqa: F401  # keeps albumentations from looking for updates

import albumentations as A  # isort: skip

SHAPES = ((256, 3, 32, 32), (64, 3, 224, 224))

# The paper's box: height and width of 1/3 to 1/2 of the image's; as areas and aspects nearly this.
_BOX = (1 / 3, 1 / 2)
_ERASING = {"scale": (1 / 9, 1 / 4), "ratio": (2 / 3, 3 / 2)}

# What a peer does otherwise, where it does less.
_PER_BATCH = "one draw for the whole batch"
_IN_PLACE = "in place: no new batch"
_BOTH = f"{_PER_BATCH}; {_IN_PLACE}"
_LOOP = "image by image, one draw each"


class Peer(NamedTuple):
    """A transform of another library: what it is called, how its work differs, and how to make it for a batch."""

    name: str
    difference: str
    make: Callable[[Tensor], Callable[[], Any]]
    dtypes: tuple[torch.dtype, ...] = (torch.float32, torch.uint8)


def _kornia(name: str, **arguments: Any) -> Peer:
    def make(images: Tensor) -> Callable[[], Any]:
        transform = getattr(K, name)(p=1.0, **arguments)
        return lambda: transform(images)

    return Peer(f"kornia {name}", "", make, (torch.float32,))


def _torchvision(transform: Any, difference: str) -> Peer:
    def make(images: Tensor) -> Callable[[], Any]:
        return lambda: transform(images)

    return Peer(f"torchvision {type(transform).__name__}", difference, make)


def _torchvision_pair(transform: Any, *dtypes: torch.dtype) -> Peer:
    def make(images: Tensor) -> Callable[[], Any]:
        labels = torch.zeros(len(images), dtype=torch.long, device=images.device)
        return lambda: transform(images, labels)

    return Peer(f"torchvision {type(transform).__name__}", _PER_BATCH, make, dtypes)


def _timm_mixup(mode: str, difference: str, **arguments: Any) -> Peer:
    def make(images: Tensor) -> Callable[[], Any]:
        mixup, own = Mixup(mode=mode, **arguments), images.clone()
        labels = torch.zeros(len(images), dtype=torch.long, device=images.device)
        return lambda: mixup(own, labels)

    return Peer(f"timm Mixup, {mode}", difference, make, (torch.float32,))


def _timm_erasing(images: Tensor) -> Callable[[], Any]:
    erasing = RandomErasing(
        1.0, min_area=1 / 9, max_area=1 / 4, min_aspect=2 / 3, mode="const", device=str(images.device)
    )
    own = images.clone()
    return lambda: erasing(own)


def _albumentations(transform: Any) -> Peer:
    def make(images: Tensor) -> Callable[[], Any]:
        pipeline = A.Compose([transform], seed=0)
        arrays = list(np.ascontiguousarray(images.permute(0, 2, 3, 1).cpu().numpy()))
        return lambda: [pipeline(image=image)["image"] for image in arrays]

    return Peer(f"albumentations {type(transform).__name__}", _LOOP, make, (torch.uint8,))


PEERS: dict[str, tuple[Peer, ...]] = {
    "jigsaw": (
        _kornia("RandomJigsaw", grid=(2, 2)),
        _albumentations(A.RandomGridShuffle(grid=(2, 2), p=1.0)),
    ),
    "patchshuffle": (_kornia("RandomJigsaw", grid=(8, 8)),),
    "cutmix": (
        _kornia("RandomCutMixV2", use_correct_lambda=True),
        _torchvision_pair(v2.CutMix(num_classes=10), torch.float32, torch.uint8),
        _timm_mixup("batch", _BOTH, mixup_alpha=0.0, cutmix_alpha=1.0),
        _timm_mixup("elem", "one draw per image; no new batch", mixup_alpha=0.0, cutmix_alpha=1.0),
    ),
    "mixup": (
        _kornia("RandomMixUpV2"),
        _torchvision_pair(v2.MixUp(num_classes=10), torch.float32),
        _timm_mixup("batch", _BOTH, mixup_alpha=1.0),
    ),
    "cutout(fill=zero)": (
        _kornia("RandomErasing", scale=_ERASING["scale"]),
        _torchvision(v2.RandomErasing(p=1.0, **_ERASING), _PER_BATCH),
        Peer("timm RandomErasing", _IN_PLACE, _timm_erasing, (torch.float32,)),
        _albumentations(A.CoarseDropout(num_holes_range=(1, 1), hole_height_range=_BOX, hole_width_range=_BOX, p=1.0)),
    ),
    "flip": (
        _kornia("RandomVerticalFlip"),
        _torchvision(v2.RandomVerticalFlip(p=1.0), ""),
    ),
    "rotate90": (_kornia("RandomRotation90", times=(1, 3)),),
    "randomfieldwarp": (_torchvision(v2.ElasticTransform(), _PER_BATCH),),
}


def rows(device: torch.device, rounds: int) -> Iterator[dict[str, Any]]:
    """Measure, and yield one row per transform, shape, dtype and peer."""
    for word, peers in PEERS.items():
        for shape in SHAPES:
            for dtype in (torch.float32, torch.uint8):
                able = [peer for peer in peers if dtype in peer.dtypes]
                images = (torch.rand(shape, device=device) * 255).to(dtype)
                transform = nda.from_policy(word)
                functions = {peer.name: peer.make(images) for peer in able}
                seconds = interleaved({"ours": lambda: transform(images), **functions}, rounds)  # noqa: B023
                for peer in able:
                    yield {
                        "transform": word,
                        "shape": "x".join(map(str, shape)),
                        "dtype": str(dtype).removeprefix("torch."),
                        "ms": median_ms(seconds, "ours"),
                        "peer": peer.name,
                        "peer ms": median_ms(seconds, peer.name),
                        "times faster than peer": ratio(seconds, peer.name, "ours"),
                        "what it does otherwise": peer.difference,
                    }
