"""Images from a trained generator, out of the folder of its run."""

from operator import itemgetter
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn

import nda_augment as nda
from examples.common.networks.generator import Generator
from examples.common.randomness import generator
from examples.common.runs import file_of
from examples.common.settings import ConfigError
from examples.common.training import CHECKPOINT, STATE
from examples.gan import config
from examples.gan.conditioning import Told
from examples.gan.instances import Instances, in_channels, read_instances
from examples.gan.models import build_generator
from nda_augment._files import load_checkpoint, restoring

# What of a checkpoint makes a generator.
NETWORK = {"channels": int, "classes": int, "average": dict}


def load_generator(folder: Path, device: torch.device | str = "cpu") -> tuple[Generator, Instances | None]:
    """Return the averaged generator of a run, in eval mode, and its instances, if it has some."""
    saved = file_of(folder, CHECKPOINT)
    settings = config.load(folder / "config.yaml")
    state = load_checkpoint(saved, STATE | NETWORK)
    instances = read_instances(folder, settings) if settings.MODEL.instance_cond else None
    network = build_generator(
        settings.MODEL,
        settings.DATA.img_size,
        state["channels"],
        state["classes"],
        instances.features.shape[1] if instances else 0,
    )
    with restoring(saved):
        network.load_state_dict(state["average"])
    return network.to(device).eval().requires_grad_(False), instances


@torch.no_grad()
def sample(network: Generator, count: int, seed: int, purpose: str, instances: Instances | None = None) -> Tensor:
    """Images of a generator in eval mode, a function of seed and purpose: ``(count, C, H, W)`` in [-1, 1].

    What they are of is what :func:`told_of` says.
    """
    device = next(network.parameters()).device
    latents = torch.randn(count, network.z_dim, generator=generator(seed, purpose, device=device), device=device)
    told = told_of(network, count, seed, purpose, instances).map(lambda each: each.to(device))
    parts = torch.split(torch.arange(count, device=device), 256)
    return torch.cat([network(latents[part], *told.map(itemgetter(part))) for part in parts])


def told_of(network: Generator, count: int, seed: int, purpose: str, instances: Instances | None = None) -> Told:
    """What a generator is told for ``count`` samples: classes in turn, or neighbours of :func:`instances_of`."""
    if instances:
        return instances.told(instances_of(instances, count, seed, purpose), seed, f"{purpose}, labels")
    return Told(torch.arange(count) % network.classes if network.classes else None)


def instances_of(instances: Instances, count: int, seed: int, purpose: str) -> Tensor:
    """The instances of ``count`` samples, ``(count,)``: training images in an order of their own."""
    return instances.spread(count, seed, f"{purpose}, instances")


def load_augmentation(folder: Path, p: float, channels: int) -> nda.Generated:
    """Return DA_IC-GAN: with probability ``p`` an image gives way to a neighbour of it that an IC-GAN makes.

    Source: Astolfi et al., "Instance-Conditioned GAN Data Augmentation for Representation Learning", 2023.

    Args:
        folder: Of the run of an IC-GAN. If it is told classes, the label of the image is what it is told.
        p: The probability.
        channels: Of the images, which lie in [-1, 1] or are uint8.

    Raises:
        ConfigError: If the run is none, or its generator knows no instances.
    """
    network, instances = load_generator(folder)
    if instances is None:
        raise ConfigError(f"{folder} has a generator that knows no instances; train one with MODEL.instance_cond=true")
    told: Literal["own"] | None = "own" if network.classes else None
    return nda.Generated(
        _InOrder(network, channels), network.z_dim, told, encoder=instances.encoder, p=p
    ).requires_grad_(False)


class _InOrder(nn.Module):
    """A generator with instances that takes what it is told as :class:`nda.Generated` passes it."""

    def __init__(self, network: Generator, channels: int) -> None:
        super().__init__()
        self.network, self.channels = network, channels

    def forward(self, latents: Tensor, *conditions: Tensor) -> Tensor:
        """Images of a batch."""
        *labels, features = conditions
        return in_channels(self.network(latents, labels[0] if labels else None, features), self.channels)
