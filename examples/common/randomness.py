"""Every random draw of a training run, as a function of the seed, what it is for, and where in the run it happens.

Nothing draws from a stream that has to be saved: a run that resumes at step 700 asks for the draws of step 700 and
gets them, whatever was drawn before, and a draw that one arm of a comparison does not need shifts no other.
"""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from nda_augment import _seeding


def generator(seed: int, purpose: str, *counter: int, device: torch.device | str = "cpu") -> torch.Generator:
    """Return a generator of its own for one draw, such as ``generator(seed, "latent", step)``."""
    name = ":".join(str(part) for part in (seed, purpose, *counter))
    digest = hashlib.sha256(name.encode()).digest()
    return torch.Generator(device).manual_seed(int.from_bytes(digest[:8]) >> 1)


def batch_indices(images: int, batch_size: int, seed: int, batch: int) -> Tensor:
    """Return which of ``images`` images make up the ``batch``-th batch of a run.

    Each epoch is a permutation of its own; its last, incomplete batch is left out.
    """
    epoch, place = divmod(batch, images // batch_size)
    return _epoch_order(images, seed, epoch)[place * batch_size : (place + 1) * batch_size]


@lru_cache(maxsize=1)
def _epoch_order(images: int, seed: int, epoch: int) -> Tensor:
    return torch.randperm(images, generator=generator(seed, "order", epoch))


@dataclass(frozen=True)
class Share:
    """The part of every batch that one of several processes has.

    All draws are made for the whole batch, and each process takes its share of them: so the same run on one device or
    on several sees the same images, latents and negatives.

    Attributes:
        process: Its number.
        processes: How many there are.
    """

    process: int = 0
    processes: int = 1

    def of(self, batch: Tensor) -> Tensor:
        """Return the share of a tensor whose first dimension is the batch."""
        return batch if self.processes == 1 else batch.chunk(self.processes)[self.process]


@contextmanager
def seeded(seed: int, purpose: str, *counter: int, device: torch.device | None = None) -> Iterator[None]:
    """Let the global generators of the CPU and of ``device`` start from a seed, and restore them afterwards.

    For libraries that draw from torch's global generators.
    """
    with _seeding.seeded(generator(seed, purpose, *counter).initial_seed(), device):
        yield
