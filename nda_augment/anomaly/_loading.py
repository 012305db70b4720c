"""What detectors are fed: images out of batches, a share of them held out, and what tells one set from another."""

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from typing import Any, cast

import torch
from torch import Tensor
from torch.utils.data import BatchSampler, DataLoader, RandomSampler, SequentialSampler, Subset

from nda_augment import _seeding

LEAST_HELD_OUT = 8
"""Held-out images below which nothing is said about how well a detector has learned."""

AT_ONCE = 32
"""Images that are looked at together where there is no loader that says how many."""

_BATCHES_OF_A_FINGERPRINT = 4
_LARGEST_VALUE = 16.0


@dataclass(frozen=True)
class Split:
    """What to learn from, and what not to.

    Attributes:
        training: The loader without the images that are held out.
        held_out: Images ``(N, C, H, W)`` that are kept apart; ``None`` where too few can be, or where a loader does not
            say what it holds.
    """

    training: Iterable[Any]
    held_out: Tensor | None


def images_of(batch: Any) -> Tensor:
    """Return the images of a batch: the tensor itself, the first entry of a tuple or list, or what is named "image".

    Raises:
        TypeError: If no tensor of floating point is there.
        ValueError: If it is not ``(B, C, H, W)``, or empty, or its values are not of a usual scale.
    """
    if isinstance(batch, Mapping):
        images = batch.get("image")
    elif isinstance(batch, tuple | list) and batch:
        images = batch[0]
    else:
        images = getattr(batch, "image", batch)  # anomalib's batches are neither
    if not isinstance(images, Tensor):
        raise TypeError(
            f"a batch must be a tensor of images, start with one, or have one as 'image', got {type(batch).__name__}"
        )
    return check_images(images)


def check_images(images: Any) -> Tensor:
    """Return images that are floating point ``(B, C, H, W)`` of a usual scale and not empty; others are errors."""
    if not isinstance(images, Tensor):
        raise TypeError(
            f"images must be a torch.Tensor (B, C, H, W), got {type(images).__name__}; "
            "of an array (B, H, W, C): torch.from_numpy(array).movedim(-1, 1).float() / 255"
        )
    if not images.is_floating_point():
        raise TypeError(f"images must be floating point, got {images.dtype}; scale them first: images.float() / 255")
    if images.ndim != 4 or not images.numel():
        raise ValueError(f"images must be a batch (B, C, H, W) that is not empty, got shape {tuple(images.shape)}")
    low, high = torch.stack(torch.aminmax(images.detach())).tolist()  # one look at a device, not two
    if not -_LARGEST_VALUE <= low <= high <= _LARGEST_VALUE:  # NaN fails as well
        raise ValueError(
            f"images must be finite and scaled, to [0, 1] or to zero mean and unit deviation, got values from "
            f"{low:.4g} to {high:.4g}; scale them first: images / 255"
        )
    return images


def check_loader(loader: Any) -> None:
    """Refuse what can be read only once, or what yields images one by one."""
    if isinstance(loader, Tensor):
        raise TypeError("a loader yields batches, got one tensor; split it: images.split(32)")
    if isinstance(loader, Iterator):
        raise TypeError(
            f"a loader is read many times, and a {type(loader).__name__} only once; pass a DataLoader or a list"
        )


def read(loader: Iterable[Any]) -> Iterator[Tensor]:
    """Yield the images of all batches.

    Raises:
        ValueError: If the loader yields no batch, or images of several sizes.
    """
    size = None
    for images in map(images_of, loader):
        size = size or images.shape[1:]
        if images.shape[1:] != size:
            raise ValueError(
                f"images must have one size and as many channels, got {tuple(size)} and {tuple(images.shape[1:])}; "
                "resize or crop them in the loader"
            )
        yield images
    if size is None:
        raise ValueError("the loader yields no batch; with drop_last=True it needs as many images as a batch has")


def hold_out(loader: Iterable[Any], share: float, seed: int) -> Split:
    """Keep a share of the images from being learned from.

    Known are the images of a ``DataLoader`` of a dataset that is indexed, read in order or shuffled, and of a list of
    five batches or more, of which whole ones are held out. Other loaders are used in full.

    Args:
        loader: Loader that a detector was given.
        share: Share of the images, in [0, 1).
        seed: Seed of the choice.
    """
    if isinstance(loader, DataLoader) and _is_plain(loader):
        total = len(cast(Any, loader.dataset))
        count = round(share * total)
        left = total - count
        if count < LEAST_HELD_OUT or (loader.drop_last and left < cast(int, loader.batch_size)):
            return Split(loader, None)
        order = torch.randperm(total, generator=torch.Generator().manual_seed(seed)).tolist()
        apart = _reloaded(loader, sorted(order[:count]), shuffle=False, drop_last=False)
        kept = _reloaded(loader, sorted(order[count:]), isinstance(loader.sampler, RandomSampler), loader.drop_last)
        return Split(kept, torch.cat(list(read(apart))))
    if isinstance(loader, Sequence) and len(loader) >= 5 and round(share * len(loader)) >= 1:
        count = round(share * len(loader))
        held_out = torch.cat(list(read(loader[-count:])))
        if len(held_out) >= LEAST_HELD_OUT:
            return Split(loader[:-count], held_out)
    return Split(loader, None)


def fingerprint(loader: Iterable[Any]) -> str | None:
    """Return what tells a loader's images from other images; ``None`` if they change from one reading to the next."""
    readings = {_digest(loader) for _ in range(2)}
    return readings.pop() if len(readings) == 1 else None


def digest(tensor: Tensor | None) -> str | None:
    """Return what tells a tensor from others; ``None`` if there is none."""
    if tensor is None:
        return None
    found = hashlib.sha256()
    _take_in(found, tensor)
    return found.hexdigest()


@contextmanager
def seeded(seed: int, counter: int, device: torch.device) -> Iterator[None]:
    """Let torch's global generators start from a seed of ``seed`` and ``counter``, and restore them afterwards."""
    hashed = hashlib.sha256(f"{seed}:{counter}".encode()).digest()
    with _seeding.seeded(int.from_bytes(hashed[:8]) >> 1, device):
        yield


def _digest(loader: Iterable[Any]) -> str:
    found = hashlib.sha256()
    with seeded(0, -1, torch.device("cpu")):
        for images in islice(read(loader), _BATCHES_OF_A_FINGERPRINT):
            _take_in(found, images)
    return found.hexdigest()


def _take_in(found: "hashlib._Hash", tensor: Tensor) -> None:
    found.update(f"{tuple(tensor.shape)}{tensor.dtype}".encode())
    found.update(tensor.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes())


def _is_plain(loader: DataLoader[Any]) -> bool:
    sampler = loader.sampler
    in_order = type(sampler) is SequentialSampler
    shuffled = type(sampler) is RandomSampler and not sampler.replacement and sampler.num_samples == len(sampler)
    return loader.batch_size is not None and type(loader.batch_sampler) is BatchSampler and (in_order or shuffled)


def _reloaded(loader: DataLoader[Any], index: list[int], shuffle: bool, drop_last: bool) -> DataLoader[Any]:
    """The same loader of a part of its dataset."""
    return DataLoader(
        Subset(loader.dataset, index),
        loader.batch_size,
        shuffle,
        num_workers=loader.num_workers,
        collate_fn=loader.collate_fn,
        pin_memory=loader.pin_memory,
        drop_last=drop_last,
        timeout=loader.timeout,
        worker_init_fn=loader.worker_init_fn,
        multiprocessing_context=loader.multiprocessing_context,
        generator=loader.generator,
        persistent_workers=loader.persistent_workers,
    )
