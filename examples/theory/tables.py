"""A GAN without networks: generator and discriminator are tables, one number for each point.

Its losses are those of the package, its expectations are exact and its discriminator is the best there is, so that what
goes wrong is the loss's own doing.
"""

from typing import NamedTuple

import torch
from torch import Tensor

import nda_augment as nda
from examples.theory.discrete import mix, step_on_simplex
from nda_augment.losses import DiscriminatorTerms, GANKind

_TINY = 1e-30


class Penalties(NamedTuple):
    """What each logit costs the discriminator on real and on fake points, and the generator."""

    real: Tensor
    fake: Tensor
    generator: Tensor


def penalties(logits: Tensor, kind: GANKind) -> Penalties:
    """The package's losses at each logit by itself, ``(..., K)``."""

    def of_one(logit: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        terms = nda.losses.discriminator_terms(logit, logit, kind=kind)
        return terms.real, terms.fake, nda.losses.generator_loss(logit, kind=kind)

    each = torch.vmap(of_one)(logits.flatten())
    return Penalties(*(penalty.view_as(logits) for penalty in each))


def discriminator_loss(
    logits: Tensor, data: Tensor, generator: Tensor, negatives: Tensor, kind: GANKind, fake_weight: float
) -> Tensor:
    """The package's loss in exact expectation, ``(..., K)`` to ``(...)``."""
    cost = penalties(logits, kind)
    real, fake, negative = (data * cost.real).sum(-1), (generator * cost.fake).sum(-1), (negatives * cost.fake).sum(-1)
    return DiscriminatorTerms(real, fake, negative).total(fake_weight)


def best_logits(data: Tensor, other: Tensor, kind: GANKind) -> Tensor:
    """The discriminator that minimises the loss, ``(..., K)``: high where there is more data than anything else."""
    if kind == "softplus":
        return (data.clamp_min(_TINY) / other.clamp_min(_TINY)).log()
    if kind == "least_squares":
        return data / (data + other).clamp_min(_TINY)
    if kind == "hinge":
        return torch.sign(data - other)
    raise ValueError(f"{kind!r} has no best discriminator: only a bound on its slope keeps it finite")


def play(
    data: Tensor,
    negatives: Tensor,
    start: Tensor,
    kind: GANKind,
    fake_weight: float | Tensor,
    *,
    steps: int = 2000,
    rate: float = 1.0,
) -> Tensor:
    """Train generators from ``start``, ``(..., K)``, against the best discriminator of every moment."""
    generator = start
    for step in range(steps):
        logits = best_logits(data, mix(generator, negatives, fake_weight), kind)
        # The cost is linear in the generator's probabilities, so it is its own slope.
        slope = penalties(logits, kind).generator.expand_as(generator)
        generator = step_on_simplex(generator, slope, rate * (1 - step / steps))
    return generator
