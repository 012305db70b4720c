"""Seeds for what draws from torch's global generators."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def seeded(seed: int, device: torch.device | None = None) -> Iterator[None]:
    """Let the global generators of the CPU and of one device start from a seed, and restore them afterwards.

    Others are left alone: ``torch.manual_seed`` would seed those of every device, and nothing would restore them.

    Args:
        seed: Seed of them all.
        device: Device that draws are made on, if it is not the CPU.
    """
    generators = [torch.default_generator, *_of(device)]
    states = [generator.get_state() for generator in generators]
    try:
        for generator in generators:
            generator.manual_seed(seed)
        yield
    finally:
        for generator, state in zip(generators, states, strict=True):
            generator.set_state(state)


def _of(device: torch.device | None) -> list[torch.Generator]:
    """Return the global generator of a device that has one and is not the CPU."""
    if device is not None and device.type == "mps":
        return [torch.mps._get_default_mps_generator()]
    if device is None or device.type not in ("cuda", "xpu"):
        return []
    module = torch.get_device_module(device)
    module.init()  # before that there are none
    return [module.default_generators[module.current_device() if device.index is None else device.index]]
