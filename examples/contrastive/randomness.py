"""For libraries that draw from torch's global generators: a seed of its own for each purpose and place in the run."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from examples.gan.randomness import generator


@contextmanager
def seeded(seed: int, purpose: str, *counter: int, device: torch.device | None = None) -> Iterator[None]:
    """Let the global generators of the CPU and of ``device`` start from a seed, and restore them afterwards."""
    devices = [] if device is None or device.type == "cpu" else [device]
    with torch.random.fork_rng(devices, device_type="cuda" if not devices else devices[0].type):
        torch.manual_seed(generator(seed, purpose, *counter).initial_seed())
        yield
