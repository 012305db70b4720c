"""Images from a trained generator, out of the folder of its run."""

from pathlib import Path

import torch
from torch import Tensor

from examples.common.networks.generator import Generator
from examples.common.randomness import generator
from examples.common.training import CHECKPOINT, STATE
from examples.gan import config
from examples.gan.models import build_generator
from nda_augment._files import load_checkpoint, restoring

# What of a checkpoint makes a generator.
NETWORK = {"channels": int, "classes": int, "average": dict}


def load_generator(folder: Path, device: torch.device | str = "cpu") -> Generator:
    """Return the averaged generator of a run, in eval mode."""
    settings = config.load(folder / "config.yaml")
    state = load_checkpoint(folder / CHECKPOINT, STATE | NETWORK)
    network = build_generator(settings.MODEL, settings.DATA.img_size, state["channels"], state["classes"])
    with restoring(folder / CHECKPOINT):
        network.load_state_dict(state["average"])
    return network.to(device).eval().requires_grad_(False)


@torch.no_grad()
def sample(network: Generator, count: int, seed: int, purpose: str) -> Tensor:
    """Images of a generator in eval mode, a function of seed and purpose: ``(count, C, H, W)`` in [-1, 1].

    With classes the images go through them in turn, see :func:`labels_of`.
    """
    device = next(network.parameters()).device
    latents = torch.randn(count, network.z_dim, generator=generator(seed, purpose, device=device), device=device)
    labels = labels_of(count, network.classes, device)
    parts = torch.split(torch.arange(count, device=device), 256)
    return torch.cat([network(latents[part], None if labels is None else labels[part]) for part in parts])


def labels_of(count: int, classes: int, device: torch.device | str = "cpu") -> Tensor | None:
    """The labels of ``count`` samples, ``(count,)``, or ``None`` without classes."""
    return torch.arange(count, device=device) % classes if classes else None
