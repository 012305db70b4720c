"""A GAN on data and negatives that are drawn anew at every step: the loop of the two programs with networks."""

from collections.abc import Callable, Iterator
from dataclasses import KW_ONLY, dataclass

import torch
from torch import Tensor, nn

import nda_augment as nda
from examples.common.randomness import generator as source
from examples.common.regularizers import gradient_penalty, r1_penalty
from nda_augment.losses import GANKind

Sampler = Callable[[int, torch.Generator], Tensor]


@dataclass(frozen=True)
class Settings:
    """Of a run."""

    kind: GANKind
    fake_weight: float  # λ; at 1 there are no negatives
    _: KW_ONLY
    blend: float = 0.0  # how much of a negative there is in a share 1 - λ of generated images (ANDA); 0: they are apart
    seed: int = 0
    steps: int = 2000
    batch_size: int = 128
    latent: int = 16
    rate: float = 1e-3
    discriminator_steps: int = 1
    gradient_penalty: float = 0.0  # weight; for wasserstein, which needs bounded slopes
    r1: float = 0.0  # weight; for the other losses


def train(
    generator: nn.Module, discriminator: nn.Module, real: Sampler, negative: Sampler, settings: Settings
) -> Iterator[int]:
    """Train both networks in place; yields the number of steps done, so that the caller may look.

    Args:
        generator: Latents ``(B, latent)`` to samples.
        discriminator: Samples to logits ``(B,)``.
        real: Draws so many samples of the data.
        negative: Draws so many negatives.
        settings: Of the run.
    """
    players = [
        torch.optim.Adam(network.parameters(), settings.rate, betas=(0.5, 0.9))
        for network in (generator, discriminator)
    ]
    for step in range(settings.steps):
        for turn in range(settings.discriminator_steps):
            draws = source(settings.seed, "discriminator", step, turn)
            loss = _discriminator_loss(generator, discriminator, real, negative, settings, draws)
            _descend(players[1], loss)
        draws = source(settings.seed, "generator", step)
        discriminator.requires_grad_(False)
        fake = generator(torch.randn(settings.batch_size, settings.latent, generator=draws))
        _descend(players[0], nda.losses.generator_loss(discriminator(fake), kind=settings.kind))
        discriminator.requires_grad_(True)
        yield step + 1


def _discriminator_loss(
    generator: nn.Module,
    discriminator: nn.Module,
    real: Sampler,
    negative: Sampler,
    settings: Settings,
    draws: torch.Generator,
) -> Tensor:
    count, weight = settings.batch_size, settings.fake_weight
    images = real(count, draws).requires_grad_(settings.r1 > 0)
    with torch.no_grad():
        fake = generator(torch.randn(count, settings.latent, generator=draws))
        if weight < 1 and settings.blend:
            stays = torch.rand(count, generator=draws).view(-1, *[1] * (fake.ndim - 1)) < weight
            fake, weight = torch.where(stays, fake, fake.lerp(negative(count, draws), settings.blend)), 1.0
    logits, fake_logits, negative_logits = discriminator(images), discriminator(fake), None
    if weight < 1:
        negatives = negative(count, draws)
        negative_logits = discriminator(negatives)
    loss = nda.losses.discriminator_loss(logits, fake_logits, negative_logits, kind=settings.kind, fake_weight=weight)
    if settings.r1:
        loss = loss + settings.r1 * r1_penalty(logits, images)
    if settings.gradient_penalty:
        if weight < 1:
            # Slopes must be bounded on the way to negatives too: nothing else keeps their logits from falling for ever.
            chosen = torch.rand(count, generator=draws) < weight
            fake = torch.where(chosen.view(-1, *[1] * (fake.ndim - 1)), fake, negatives)
        loss = loss + settings.gradient_penalty * gradient_penalty(discriminator, images, fake, generator=draws)
    return loss


def _descend(optimizer: torch.optim.Optimizer, loss: Tensor) -> None:
    optimizer.zero_grad()
    torch.autograd.backward(loss)
    optimizer.step()
