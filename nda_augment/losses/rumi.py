"""Rumi-GAN: adversarial losses that pull towards wanted data and push away from unwanted data.

The unwanted images are negatives from a transform, or a data set of undesired images. Source: Asokan and Seelamantula,
"Teaching a GAN What Not to Learn", NeurIPS 2020, whose settings are the defaults here. In the notation below ``p⁺`` is
the distribution of real images, ``p⁻`` that of negatives, ``g`` the generator's; ``a⁺`` is ``positive_weight`` and
``a⁻`` is ``negative_weight``.
"""

import math
from typing import Literal, NamedTuple, get_args

from torch import Tensor, nn
from torch.nn import functional as F

from nda_augment._checks import as_positive, check_same_trailing, check_word
from nda_augment.losses._logits import as_logits

RumiKind = Literal["least_squares", "wasserstein", "softplus"]
_KINDS = get_args(RumiKind)


class RumiLabels(NamedTuple):
    """What the least-squares discriminator is to say of each kind of image, and what the generator wants it to say.

    Attributes:
        positive: Label of real images, b⁺.
        negative: Label of negatives, b⁻; at most ``fake``.
        fake: Label of generated images, a; below ``positive`` and ``target``.
        target: Value that the generator drives the logits of its images to, c.
    """

    positive: float = 2.0
    negative: float = -2.0
    fake: float = -0.5
    target: float = 2.0


def rumi_discriminator_loss(
    real: Tensor,
    fake: Tensor,
    negative: Tensor,
    *,
    kind: RumiKind = "least_squares",
    positive_weight: float = 2.5,
    negative_weight: float = 0.5,
    labels: RumiLabels | None = None,
) -> Tensor:
    """The discriminator's loss, with weights of their own for real images and for negatives.

    - ``"least_squares"``: ``a⁺(D(real) − b⁺)² + a⁻(D(negative) − b⁻)² + (D(fake) − a)²``. The best discriminator is the
      weighted mean of the labels, ``(a⁺b⁺p⁺ + a⁻b⁻p⁻ + a·g) / (a⁺p⁺ + a⁻p⁻ + g)``. Against it the generator rests where
      the logits are level on all that it makes: at ``g = η⁺p⁺ − η⁻p⁻``, cut off at 0, with ``η⁺ = a⁺(b⁺ − k)/(k − a)``,
      ``η⁻ = a⁻(k − b⁻)/(k − a)`` and the level ``k`` < c that makes it a distribution. The default labels and weights
      give ``2.05 p⁺ − 1.05 p⁻``.
    - ``"wasserstein"``: ``−a⁺(D(real) − D(fake)) + a⁻(D(negative) − D(fake))``. It rests at
      ``g = (a⁺p⁺ − a⁻p⁻) / (a⁺ − a⁻)`` where that is nowhere negative. The Lipschitz constraint is the trainer's; the
      authors penalise gradients between real and fake and between negative and fake images.
    - ``"softplus"``: ``a⁺ softplus(−D(real)) + a⁻ softplus(D(negative)) + softplus(D(fake))``. The best discriminator
      is ``log(a⁺p⁺ / (a⁻p⁻ + g))``, and the generator rests at ``g = (1 + a⁻)p⁺ − a⁻p⁻``, cut off at 0: ``a⁺`` only
      shifts the logits. At ``a⁺ = 1/λ``, ``a⁻ = (1 − λ)/λ`` it is :func:`~nda_augment.losses.discriminator_loss`
      divided by λ. This form is *corrected*: the authors' code has ``a⁻ softplus(−D(negative))``, which calls negatives
      real and so rests at ``a⁺p⁺ + a⁻p⁻`` (normalised), a generator that makes them.

    Where negatives and data have no support in common, the generator of every kind but ``"wasserstein"`` rests at the
    data itself. Where they have, data that look like negatives are shown less often than they occur, or not at all:
    that is the purpose with undesired images, and a price to know with negatives from a transform.

    Args:
        real: Logits of real images, ``(B, ...)``.
        fake: Logits of generated images, ``(B', ...)``. Every term is a mean, so batch sizes may differ; the trailing
            shapes may not.
        negative: Logits of negatives, ``(B'', ...)``.
        kind: ``"least_squares"``, ``"wasserstein"`` or ``"softplus"``.
        positive_weight: a⁺ > 0.
        negative_weight: a⁻ > 0; with ``"wasserstein"`` below a⁺, or the generator would be driven away from its goal.
        labels: Labels of ``"least_squares"`` alone; ``None`` stands for the defaults of :class:`RumiLabels`.

    Returns:
        A scalar, in float32 or the logits' wider type.

    Raises:
        TypeError: If logits are not floating point.
        ValueError: If logits are empty or their trailing shapes differ; if ``kind`` is unknown; if a weight is not
            positive and finite, or a⁻ ≥ a⁺ with ``"wasserstein"``; if the labels are out of order, or given to another
            kind than ``"least_squares"``.

    Example:
        >>> import torch
        >>> real, fake, negative = torch.tensor([2.0, 1.0]), torch.tensor([0.5]), torch.tensor([-1.0])
        >>> rumi_discriminator_loss(real, fake, negative)  # 2.5 · ½ + 0.5 · 1 + 1
        tensor(2.7500)
        >>> rumi_discriminator_loss(real, fake, negative, kind="wasserstein")  # −2.5 · 1 + 0.5 · (−1.5)
        tensor(-3.2500)
    """
    labels = _check(kind, positive_weight, negative_weight, labels)
    real, fake, negative = (
        as_logits(logits, name) for name, logits in (("real", real), ("fake", fake), ("negative", negative))
    )
    check_same_trailing(fake, "fake", like=real)
    check_same_trailing(negative, "negative", like=real)
    if kind == "wasserstein":
        fake_weight = positive_weight - negative_weight
        return fake_weight * fake.mean() - positive_weight * real.mean() + negative_weight * negative.mean()
    if kind == "least_squares":
        positive = (real - labels.positive).square().mean()
        avoided = (negative - labels.negative).square().mean()
        generated = (fake - labels.fake).square().mean()
    else:
        positive, avoided, generated = F.softplus(-real).mean(), F.softplus(negative).mean(), F.softplus(fake).mean()
    return positive_weight * positive + negative_weight * avoided + generated


def rumi_generator_loss(fake: Tensor, *, kind: RumiKind = "least_squares", labels: RumiLabels | None = None) -> Tensor:
    """The generator's loss: ``(D(fake) − c)²``, ``−D(fake)`` (wasserstein) or ``softplus(−D(fake))``, a mean.

    Terms on which the generator has no influence are left out, and so is the factor ``a⁺ − a⁻`` with which the authors
    scale the wasserstein form: Adam divides it out again.

    Args:
        fake: Logits of generated images, ``(B, ...)``.
        kind: Kind of loss, the same as for :func:`rumi_discriminator_loss`.
        labels: Likewise.

    Returns:
        A scalar, in float32 or the logits' wider type.

    Raises:
        TypeError: If logits are not floating point.
        ValueError: If logits are empty, ``kind`` is unknown, or the labels are out of order or given to another kind
            than ``"least_squares"``.

    Example:
        >>> import torch
        >>> rumi_generator_loss(torch.tensor([1.0, 3.0]))
        tensor(1.)
    """
    labels = _check_labels(kind, labels)
    fake = as_logits(fake, "fake")
    if kind == "least_squares":
        return (fake - labels.target).square().mean()
    return F.softplus(-fake).mean() if kind == "softplus" else -fake.mean()


class RumiDiscriminatorLoss(nn.Module):
    """Module twin of :func:`rumi_discriminator_loss`.

    Args:
        kind: ``"least_squares"``, ``"wasserstein"`` or ``"softplus"``.
        positive_weight: a⁺ > 0. A plain attribute, as the next one.
        negative_weight: a⁻ > 0; with ``"wasserstein"`` below a⁺.
        labels: Labels of ``"least_squares"`` alone.

    Raises:
        ValueError: As :func:`rumi_discriminator_loss`.

    Example:
        >>> import torch
        >>> criterion = RumiDiscriminatorLoss("softplus", positive_weight=1.0, negative_weight=1.0)
        >>> criterion(torch.zeros(4), torch.zeros(4), torch.zeros(4))  # 3 log 2
        tensor(2.0794)
    """

    def __init__(
        self,
        kind: RumiKind = "least_squares",
        positive_weight: float = 2.5,
        negative_weight: float = 0.5,
        labels: RumiLabels | None = None,
    ) -> None:
        super().__init__()
        _check(kind, positive_weight, negative_weight, labels)
        self.kind: RumiKind = kind
        self.positive_weight = positive_weight
        self.negative_weight = negative_weight
        self.labels = labels

    def forward(self, real: Tensor, fake: Tensor, negative: Tensor) -> Tensor:
        """The loss of logits ``(B, ...)``; see :func:`rumi_discriminator_loss`."""
        return rumi_discriminator_loss(
            real,
            fake,
            negative,
            kind=self.kind,
            positive_weight=self.positive_weight,
            negative_weight=self.negative_weight,
            labels=self.labels,
        )

    def extra_repr(self) -> str:
        """The settings, as in the constructor."""
        weights = f"positive_weight={self.positive_weight}, negative_weight={self.negative_weight}"
        return f"kind={self.kind!r}, {weights}, labels={self.labels}"


class RumiGeneratorLoss(nn.Module):
    """Module twin of :func:`rumi_generator_loss`.

    Args:
        kind: ``"least_squares"``, ``"wasserstein"`` or ``"softplus"``.
        labels: Labels of ``"least_squares"`` alone.

    Raises:
        ValueError: As :func:`rumi_generator_loss`.

    Example:
        >>> import torch
        >>> RumiGeneratorLoss("wasserstein")(torch.tensor([0.0, 2.0]))
        tensor(-1.)
    """

    def __init__(self, kind: RumiKind = "least_squares", labels: RumiLabels | None = None) -> None:
        super().__init__()
        _check_labels(kind, labels)
        self.kind: RumiKind = kind
        self.labels = labels

    def forward(self, fake: Tensor) -> Tensor:
        """The loss of logits ``(B, ...)``; see :func:`rumi_generator_loss`."""
        return rumi_generator_loss(fake, kind=self.kind, labels=self.labels)

    def extra_repr(self) -> str:
        """The settings, as in the constructor."""
        return f"kind={self.kind!r}, labels={self.labels}"


def _check(kind: RumiKind, positive_weight: float, negative_weight: float, labels: RumiLabels | None) -> RumiLabels:
    labels = _check_labels(kind, labels)
    as_positive(positive_weight, "positive_weight")
    as_positive(negative_weight, "negative_weight")
    if kind == "wasserstein" and negative_weight >= positive_weight:
        raise ValueError(
            f"with kind='wasserstein' negative_weight must be below positive_weight, got {negative_weight} and "
            f"{positive_weight}: generated images weigh their difference"
        )
    return labels


def _check_labels(kind: RumiKind, labels: RumiLabels | None) -> RumiLabels:
    check_word(kind, "kind", _KINDS)
    if labels is None:
        return RumiLabels()
    if kind != "least_squares":
        raise ValueError(f"labels belong to kind='least_squares', kind={kind!r} has no use for them")
    if not isinstance(labels, RumiLabels):
        raise TypeError(f"labels must be RumiLabels, got {type(labels).__name__}")
    if not all(map(math.isfinite, labels)) or not labels.negative <= labels.fake < min(labels.positive, labels.target):
        raise ValueError(f"labels must be finite, with negative <= fake < positive and fake < target, got {labels}")
    return labels
