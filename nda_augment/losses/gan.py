"""Adversarial losses with a third kind of sample: negatives the generator must not learn to make.

The discriminator sees real images, generated images and negatives, and minimises

    L = L_real + λ · L_fake + (1 − λ) · L_negative,

each term a mean over its logits. The generator's loss stays what it was. Source: Sinha et al., "Negative Data
Augmentation", ICLR 2021. For a loss of your own there is :func:`~nda_augment.losses.with_negatives`.

Logits are what the discriminator returns before any sigmoid, and high where it takes an image for real. Whether that
fits your code shows at λ = 1: ``discriminator_loss(D(real), D(fake), kind=..., fake_weight=1)`` must equal your own
loss.
"""

import math
from collections.abc import Callable, Mapping
from typing import Literal, NamedTuple, get_args, overload

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nda_augment._checks import check_word
from nda_augment.losses._logits import SigmoidWatch, as_logits
from nda_augment.losses.kinds import TermsOfKinds

GANKind = Literal["softplus", "hinge", "least_squares", "wasserstein"]
_KINDS = get_args(GANKind)
_CALLED_ELSEWHERE = {
    **dict.fromkeys(("bce", "vanilla", "logistic", "ns", "nsgan", "nonsaturating", "non-saturating"), "softplus"),
    **dict.fromkeys(("ls", "lsgan", "mse"), "least_squares"),
    **dict.fromkeys(("w", "wgan", "wgan-gp", "wgan_gp", "wgangp"), "wasserstein"),
}

FAKE_WEIGHT = 0.75
"""The default of λ, everywhere. At 1/4, the setting of the paper's code, our small GANs were worse than plain ones or
level with them; at 3/4 they were level or better (docs/results/gan.md)."""

_SIGMOIDS = SigmoidWatch()


class _Penalties(NamedTuple):
    """What one logit costs the discriminator on real and on fake images, and the generator on fake ones."""

    real: Callable[[Tensor], Tensor]
    fake: Callable[[Tensor], Tensor]
    generator: Callable[[Tensor], Tensor]


_PENALTIES: dict[str, _Penalties] = {
    "softplus": _Penalties(
        real=lambda logits: F.softplus(-logits),
        fake=F.softplus,
        generator=lambda logits: F.softplus(-logits),
    ),
    "hinge": _Penalties(
        real=lambda logits: F.relu(1 - logits),
        fake=lambda logits: F.relu(1 + logits),
        generator=torch.neg,
    ),
    "least_squares": _Penalties(
        real=lambda logits: 0.5 * (logits - 1).square(),
        fake=lambda logits: 0.5 * logits.square(),
        generator=lambda logits: 0.5 * (logits - 1).square(),
    ),
    "wasserstein": _Penalties(real=torch.neg, fake=lambda logits: logits, generator=torch.neg),
}


class DiscriminatorTerms(NamedTuple):
    """The parts of the discriminator's loss, each a scalar, before they are weighted.

    Attributes:
        real: Mean penalty on real images.
        fake: Mean penalty on generated images.
        negative: Mean penalty on negatives; ``None`` without them.
        logit_gap: Mean real logit minus mean negative logit, detached: how far apart the discriminator holds the two.
            Near zero it has not learnt that negatives are not real. ``None`` without negatives.
        hardness: Logit of each negative minus the mean real logit, ``(B'', ...)``, detached: how hard each negative is
            to tell. Far below zero it teaches nothing more, above zero it is taken for more real than real images.
            ``None`` without negatives.
    """

    real: Tensor
    fake: Tensor
    negative: Tensor | None
    logit_gap: Tensor | None = None
    hardness: Tensor | None = None

    def total(self, fake_weight: float = FAKE_WEIGHT) -> Tensor:
        """Weigh the terms: ``real + λ · fake + (1 − λ) · negative`` with λ = ``fake_weight``.

        Args:
            fake_weight: λ, in (0, 1]. At 1 the negative term is left out, not multiplied by zero.

        Returns:
            The discriminator's loss, a scalar.

        Raises:
            ValueError: If ``fake_weight`` is outside (0, 1], or below 1 without a negative term.
        """
        check_fake_weight(fake_weight)
        if fake_weight == 1:
            return self.real + self.fake
        if self.negative is None:
            raise ValueError(
                f"fake_weight={fake_weight} leaves {1 - fake_weight:g} of the weight to negatives, but there are none: "
                "pass the discriminator's logits of negatives, or fake_weight=1 for the plain loss"
            )
        return self.real + weigh(self.fake, self.negative, fake_weight)


@overload
def discriminator_terms(
    real: Tensor, fake: Tensor, negative: Tensor | None = None, *, kind: GANKind = "softplus"
) -> DiscriminatorTerms: ...
@overload
def discriminator_terms(
    real: Tensor, fake: Tensor, negative: Mapping[str, Tensor | None], *, kind: GANKind = "softplus"
) -> TermsOfKinds: ...
def discriminator_terms(
    real: Tensor,
    fake: Tensor,
    negative: Tensor | Mapping[str, Tensor | None] | None = None,
    *,
    kind: GANKind = "softplus",
) -> DiscriminatorTerms | TermsOfKinds:
    """The discriminator's loss in parts, for logging or for weights of one's own.

    Args:
        real: Logits of real images, ``(B, ...)``.
        fake: Logits of generated images, ``(B', ...)``. Every term is a mean, so batch sizes may differ; the trailing
            shapes may not.
        negative: Logits of negatives, ``(B'', ...)``; or of several kinds of negatives, by name, with ``None`` for a
            kind that is absent.
        kind: Kind of loss, see :func:`discriminator_loss`.

    Returns:
        The terms; ``terms.total(fake_weight)`` is the loss, with several kinds ``terms.total(weights)``.

    Raises:
        TypeError: If logits are not floating point.
        ValueError: If logits are empty or their trailing shapes differ, or ``kind`` is unknown.

    Example:
        >>> import torch
        >>> real, fake, negative = torch.tensor([2.0, 4.0]), torch.tensor([-1.0]), torch.tensor([-3.0])
        >>> terms = discriminator_terms(real, fake, negative, kind="hinge")
        >>> terms.real.item(), terms.fake.item(), terms.negative.item(), terms.logit_gap.item()
        (0.0, 0.0, 0.0, 6.0)
        >>> loss = terms.total(fake_weight=0.25)
        >>> kinds = {"jigsaw": negative, "history": torch.tensor([1.0, 3.0])}
        >>> discriminator_terms(real, fake, kinds, kind="hinge").total({"fake": 0.5, "jigsaw": 0.25, "history": 0.25})
        tensor(0.7500)
    """
    return _of_kinds(real, fake, negative, kind) if isinstance(negative, Mapping) else _of(real, fake, negative, kind)


def discriminator_loss(
    real: Tensor,
    fake: Tensor,
    negative: Tensor | None = None,
    *,
    kind: GANKind = "softplus",
    fake_weight: float = FAKE_WEIGHT,
) -> Tensor:
    """The discriminator's loss ``L_real + λ · L_fake + (1 − λ) · L_negative``, each a mean over its logits.

    To the discriminator, generated images and negatives together are one distribution ``Q = λG + (1 − λ)P̄``. Where the
    negatives' distribution ``P̄`` has no support in common with the data, and the divergence behind the loss is
    *strictly* convex, ``D(data ‖ Q)`` is smallest exactly at ``G = data``, for every λ in (0, 1] (Sinha et al. 2021,
    Theorem 1): negatives do not move the optimum. What that means for each kind:

    - ``"softplus"`` (the non-saturating logistic loss, ``softplus(−real)`` and ``softplus(fake)``): strictly convex
      (Jensen-Shannon), the theorem holds. The default.
    - ``"least_squares"`` (``½(real − 1)²`` and ``½ fake²``): strictly convex, the theorem holds.
    - ``"hinge"`` (``relu(1 − real)`` and ``relu(1 + fake)``), which the authors' code uses: its divergence is the total
      variation, which is not strictly convex. For λ < 1 *every* generator that stays on the data's support with
      ``λ · G(x) ≤ data(x)`` is optimal: at λ = 0.25 it may show an image four times too often, or drop modes, for free.
      Report coverage or recall with FID.
    - ``"wasserstein"`` (``−real`` and ``fake``; the Lipschitz constraint is the trainer's): no f-divergence, so the
      theorem says nothing, and for λ < 1 the optimum does move: transport is shorter when the generator leaves the data
      near the negatives to them and fills the data far from them.

    Half-precision logits are averaged in float32.

    Args:
        real: Logits of real images, ``(B, ...)``, before any sigmoid and high for real; a 0-d tensor is one logit.
        fake: Logits of generated images, ``(B', ...)``. Every term is a mean, so batch sizes may differ; the trailing
            shapes may not, since ``(B,)`` with ``(B, 1)`` is a mistake somewhere in the discriminator.
        negative: Logits of negatives, ``(B'', ...)``. Not needed at ``fake_weight=1``, and without effect there.
        kind: ``"softplus"``, ``"hinge"``, ``"least_squares"`` or ``"wasserstein"``.
        fake_weight: λ, in (0, 1]. 1 is the plain loss bit for bit; the authors' code has 0.25.

    Returns:
        A scalar, in float32 or the logits' wider type.

    Raises:
        TypeError: If logits are not floating point.
        ValueError: If ``fake_weight`` is outside (0, 1], or below 1 with no ``negative``; if logits are empty or their
            trailing shapes differ; if ``kind`` is unknown.

    Warns:
        UserWarning: If, with softplus or hinge, all logits of fifty calls in a row lie in [0, 1] as those of a sigmoid
            do; on a CPU, where it costs nothing to look.

    Example:
        >>> import torch
        >>> real, fake, negative = torch.tensor([3.0, 1.0]), torch.tensor([0.0, -2.0]), torch.tensor([1.0, -3.0])
        >>> discriminator_loss(real, fake, negative, kind="hinge")
        tensor(0.6250)
        >>> discriminator_loss(real, fake, kind="hinge", fake_weight=1)
        tensor(0.5000)
    """
    check_fake_weight(fake_weight)
    return _of(real, fake, negative, kind).total(fake_weight)


def generator_loss(fake: Tensor, *, kind: GANKind = "softplus", prior: float = 1.0) -> Tensor:
    """The generator's loss: negatives do not enter it.

    ``softplus(−fake)``, ``−fake`` (hinge and wasserstein) or ``½(fake − 1)²``, averaged over the logits.

    Where generated images have the weight λ in the discriminator's loss, its best logits on the data are
    ``log(data / G) − log λ``: higher than those of a plain GAN, so that ``softplus(−fake)`` pulls less. ``prior=λ``
    undoes the shift, with ``fake + log λ`` in the place of ``fake``. The authors' code does not.

    Args:
        fake: Logits of generated images, ``(B, ...)``.
        kind: Kind of loss, the same as for :func:`discriminator_loss`.
        prior: λ of the discriminator's loss, to undo its shift of the logits, in (0, 1]; 1 leaves the logits as they
            are, bit for bit. For softplus alone: of the other kinds the logits are no log-odds.

    Returns:
        A scalar, in float32 or the logits' wider type.

    Raises:
        TypeError: If logits are not floating point.
        ValueError: If logits are empty, ``kind`` is unknown, or ``prior`` is outside (0, 1], or below 1 with another
            kind than softplus.

    Example:
        >>> import torch
        >>> generator_loss(torch.tensor([1.0, 3.0]), kind="hinge")
        tensor(-2.)
        >>> generator_loss(torch.tensor([1.0, 3.0]), prior=0.75)
        tensor(0.2317)
    """
    check_kind(kind)
    _check_prior(prior, kind)
    fake = as_logits(fake, "fake")
    return _PENALTIES[kind].generator(fake if prior == 1 else fake + math.log(prior)).mean()


class DiscriminatorLoss(nn.Module):
    """Module twin of :func:`discriminator_loss`.

    Args:
        kind: ``"softplus"``, ``"hinge"``, ``"least_squares"`` or ``"wasserstein"``.
        fake_weight: λ, in (0, 1]. A plain attribute: a schedule may set it during training.

    Raises:
        ValueError: If ``kind`` is unknown or ``fake_weight`` is outside (0, 1].

    Example:
        >>> import torch
        >>> criterion = DiscriminatorLoss(kind="hinge", fake_weight=0.5)
        >>> criterion(torch.tensor([3.0]), torch.tensor([0.0]), torch.tensor([1.0]))
        tensor(1.5000)
        >>> criterion
        DiscriminatorLoss(kind='hinge', fake_weight=0.5)
    """

    def __init__(self, kind: GANKind = "softplus", fake_weight: float = FAKE_WEIGHT) -> None:
        super().__init__()
        check_kind(kind)
        check_fake_weight(fake_weight)
        self.kind: GANKind = kind
        self.fake_weight = fake_weight

    def forward(self, real: Tensor, fake: Tensor, negative: Tensor | None = None) -> Tensor:
        """The loss of logits ``(B, ...)``; see :func:`discriminator_loss`."""
        return discriminator_loss(real, fake, negative, kind=self.kind, fake_weight=self.fake_weight)

    def extra_repr(self) -> str:
        """The settings, as in the constructor."""
        return f"kind={self.kind!r}, fake_weight={self.fake_weight}"


class GeneratorLoss(nn.Module):
    """Module twin of :func:`generator_loss`.

    Args:
        kind: ``"softplus"``, ``"hinge"``, ``"least_squares"`` or ``"wasserstein"``.
        prior: λ whose shift of the logits is undone, in (0, 1]. A plain attribute, as λ itself.

    Raises:
        ValueError: If ``kind`` is unknown, or ``prior`` is outside (0, 1], or below 1 with another kind than softplus.

    Example:
        >>> import torch
        >>> GeneratorLoss(kind="least_squares")(torch.tensor([0.0, 2.0]))
        tensor(0.5000)
    """

    def __init__(self, kind: GANKind = "softplus", prior: float = 1.0) -> None:
        super().__init__()
        check_kind(kind)
        _check_prior(prior, kind)
        self.kind: GANKind = kind
        self.prior = prior

    def forward(self, fake: Tensor) -> Tensor:
        """The loss of logits ``(B, ...)``; see :func:`generator_loss`."""
        return generator_loss(fake, kind=self.kind, prior=self.prior)

    def extra_repr(self) -> str:
        """The settings, as in the constructor."""
        return f"kind={self.kind!r}, prior={self.prior}"


def weigh(fake: Tensor, negative: Tensor, fake_weight: float) -> Tensor:
    """Weigh what generated images cost and what negatives cost: ``λ · fake + (1 − λ) · negative``."""
    return fake_weight * fake + (1 - fake_weight) * negative


def check_fake_weight(fake_weight: float, name: str = "fake_weight") -> None:
    """Refuse a λ that is none.

    Raises:
        ValueError: If it is outside (0, 1].
    """
    # Written so that NaN, which compares false with everything, is refused too.
    if not 0 < fake_weight <= 1:
        raise ValueError(
            f"{name} (λ) must be in (0, 1], got {fake_weight}: 1 is the plain loss, {FAKE_WEIGHT} is the default"
        )


def check_kind(kind: str) -> None:
    """Refuse a kind of loss that is none, naming ours for what others call it.

    Raises:
        ValueError: If ``kind`` is unknown.
    """
    if ours := _CALLED_ELSEWHERE.get(str(kind).lower()):
        raise ValueError(f"kind must be one of {', '.join(map(repr, _KINDS))}, got {kind!r}, which is {ours!r} here")
    check_word(kind, "kind", _KINDS)


def _check_prior(prior: float, kind: str) -> None:
    check_fake_weight(prior, "prior")
    if prior != 1 and kind != "softplus":
        raise ValueError(f"prior={prior} shifts log-odds, which the logits of kind={kind!r} are not; leave it at 1")


def _of(real: Tensor, fake: Tensor, negative: Tensor | None, kind: GANKind) -> DiscriminatorTerms:
    """Return the terms with negatives of one kind, or none."""
    real, fake, penalties = _read(real, fake, kind)
    on_real, on_fake = penalties.real(real).mean(), penalties.fake(fake).mean()
    if negative is None:
        _watch(kind, real, fake)
        return DiscriminatorTerms(on_real, on_fake, None)
    negative = as_logits(negative, "negative", like=real)
    _watch(kind, real, fake, negative)
    hardness = _hardness(negative, real)
    return DiscriminatorTerms(on_real, on_fake, penalties.fake(negative).mean(), -hardness.mean(), hardness)


def _of_kinds(real: Tensor, fake: Tensor, negatives: Mapping[str, Tensor | None], kind: GANKind) -> TermsOfKinds:
    """Return the terms with several kinds of negatives."""
    real, fake, penalties = _read(real, fake, kind)
    present = {name: as_logits(each, name, like=real) for name, each in negatives.items() if each is not None}
    _watch(kind, real, fake, *present.values())
    costs = {name: penalties.fake(present[name]).mean() if name in present else None for name in negatives}
    hardness = {name: _hardness(each, real) for name, each in present.items()}
    gaps = {name: -each.mean() for name, each in hardness.items()}
    return TermsOfKinds(penalties.real(real).mean(), penalties.fake(fake).mean(), costs, gaps, hardness)


def _read(real: Tensor, fake: Tensor, kind: GANKind) -> tuple[Tensor, Tensor, _Penalties]:
    check_kind(kind)
    real = as_logits(real, "real")
    return real, as_logits(fake, "fake", like=real), _PENALTIES[kind]


def _hardness(negative: Tensor, real: Tensor) -> Tensor:
    return negative.detach() - real.detach().mean()


def _watch(kind: str, *logits: Tensor) -> None:
    # Least squares drives logits to 0 and 1 by itself, and a critic's may lie anywhere.
    if kind in ("softplus", "hinge"):
        _SIGMOIDS.update(*logits)
