"""What the players want of each other: the adversarial loss of ``LOSS.adv_loss``, with negatives in it."""

from collections.abc import Mapping
from typing import NamedTuple, Protocol, cast

import torch
from torch import Tensor

import nda_augment as nda
from examples.gan.conditioning import Judgement, multi_hinge
from examples.gan.config import Config
from nda_augment.losses.kinds import Weights

SINGLE = "negative"  # the only kind, where LOSS.nda_weights names none
Negatives = Mapping[str, Judgement | None]


class Verdict(NamedTuple):
    """The discriminator's adversarial loss.

    Attributes:
        total: The loss, a scalar.
        terms: Its parts by name, unweighted, for the log.
        gaps: Mean real logit minus mean logit of each kind of negatives.
        fake_weight: λ.
    """

    total: Tensor
    terms: dict[str, Tensor]
    gaps: dict[str, Tensor]
    fake_weight: float = 1.0


class Objective(Protocol):
    """The two losses. Negatives come by kind; ``None`` is one that is absent, whose weight goes to generated images."""

    def discriminator(
        self, real: Judgement, fake: Judgement, negatives: Negatives, labels: Tensor | None, weights: Weights
    ) -> Verdict:
        """The discriminator's loss, ``labels`` being those of the real images."""

    def generator(self, fake: Judgement, labels: Tensor | None) -> Tensor:
        """The generator's loss; negatives play no part in it."""


def objective_of(settings: Config) -> Objective:
    """Return the objective that ``LOSS.adv_loss`` names."""
    loss = settings.LOSS
    if loss.adv_loss == "MH":
        return MultiHinge(loss.mh_lambda)
    if settings.rumi:
        kind = cast(nda.losses.RumiKind, loss.adv_loss.removeprefix("rumi_"))
        return Rumi(kind, loss.rumi_positive_weight, loss.rumi_negative_weight)
    return Adversarial(cast(nda.losses.GANKind, loss.adv_loss))


class Adversarial:
    """``L_real + λ · L_fake + (1 − λ) · L_negative`` of a kind."""

    def __init__(self, kind: nda.losses.GANKind) -> None:
        self.kind = kind

    def discriminator(
        self, real: Judgement, fake: Judgement, negatives: Negatives, labels: Tensor | None, weights: Weights
    ) -> Verdict:
        """The discriminator's loss; labels do not enter it beyond the logits."""
        logits = {kind: None if negative is None else negative.logits for kind, negative in negatives.items()}
        return _weighed(nda.losses.discriminator_terms(real.logits, fake.logits, logits, kind=self.kind), weights)

    def generator(self, fake: Judgement, labels: Tensor | None) -> Tensor:
        """The generator's loss."""
        return nda.losses.generator_loss(fake.logits, kind=self.kind)


class MultiHinge:
    """The multi-hinge loss: real images belong to their class, all others to the one beyond the last."""

    def __init__(self, weight: float) -> None:
        self.weight = weight

    def discriminator(
        self, real: Judgement, fake: Judgement, negatives: Negatives, labels: Tensor | None, weights: Weights
    ) -> Verdict:
        """``L_real + λ · L_fake + (1 − λ) · L_negative``, each a multi-hinge."""
        assert labels is not None  # the config sees to it
        present = {kind: negative for kind, negative in negatives.items() if negative is not None}
        costs = {kind: _not_real(present[kind].logits) if kind in present else None for kind in negatives}
        gaps = {kind: _gap(real, negative) for kind, negative in present.items()}
        terms = nda.losses.TermsOfKinds(multi_hinge(real.logits, labels), _not_real(fake.logits), costs, gaps, {})
        return _weighed(terms, weights)

    def generator(self, fake: Judgement, labels: Tensor | None) -> Tensor:
        """Belong to the class that was asked for."""
        assert labels is not None
        return self.weight * multi_hinge(fake.logits, labels)


class Rumi:
    """Rumi-GAN's losses, which weigh real images and negatives in their own way and know no λ."""

    def __init__(self, kind: nda.losses.RumiKind, positive_weight: float, negative_weight: float) -> None:
        self.kind, self.positive_weight, self.negative_weight = kind, positive_weight, negative_weight

    def discriminator(
        self, real: Judgement, fake: Judgement, negatives: Negatives, labels: Tensor | None, weights: Weights
    ) -> Verdict:
        """The discriminator's loss; it cannot do without negatives."""
        negative = negatives[SINGLE]
        assert negative is not None  # the config sees to it
        total = nda.losses.rumi_discriminator_loss(
            real.logits,
            fake.logits,
            negative.logits,
            kind=self.kind,
            positive_weight=self.positive_weight,
            negative_weight=self.negative_weight,
        )
        return Verdict(total, {"discriminator": total.detach()}, {SINGLE: _gap(real, negative)})

    def generator(self, fake: Judgement, labels: Tensor | None) -> Tensor:
        """The generator's loss."""
        return nda.losses.rumi_generator_loss(fake.logits, kind=self.kind)


def _weighed(terms: nda.losses.TermsOfKinds, weights: Weights) -> Verdict:
    costs = {"real": terms.real, "fake": terms.fake, **terms.negative}
    kept = {name: cost.detach() for name, cost in costs.items() if cost is not None}
    return Verdict(terms.total(weights), kept, dict(terms.logit_gap))


def _gap(real: Judgement, negative: Judgement) -> Tensor:
    return (real.realness.mean() - negative.realness.mean()).detach()


def _not_real(logits: Tensor) -> Tensor:
    beyond = torch.full((len(logits),), logits.shape[1] - 1, device=logits.device)
    return multi_hinge(logits, beyond)
