"""Negatives with any discriminator loss, whatever its form."""

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor

from nda_augment.losses.gan import FAKE_WEIGHT, check_fake_weight, weigh
from nda_augment.losses.kinds import FAKE, Weights, check_weights, weigh_kinds


def with_negatives(
    loss: Callable[[Any, Any], Tensor],
    real: Any,
    fake: Any,
    negative: Any | Callable[[], Any],
    fake_weight: float | None = None,
    *,
    weights: Weights | None = None,
) -> Tensor:
    """Give a discriminator loss of your own a third kind of sample: ``λ·L(real, fake) + (1 − λ)·L(real, negative)``.

    The loss is called as it is, with negatives in the place of generated images. So it may be anything that compares
    real and generated images: binary cross-entropy after a sigmoid, with or without label smoothing, a mean of two
    terms, a relativistic or dual-contrastive loss, one over several outputs, one in which real means low. A loss that
    is a sum of a term for real and a term for generated images keeps the first as it is, since the weights sum to 1:
    with our own kinds this is :func:`discriminator_loss`. Terms that have nothing to do with generated images, such as
    gradient penalties or the classification of real images, are better added outside.

    Args:
        loss: The discriminator's loss, ``loss(real, fake)`` to a scalar.
        real: Output of the discriminator for real images, in whatever structure the loss takes.
        fake: Its output for generated images.
        negative: Its output for negatives; or a function without arguments that returns it, which is called
            if λ is below 1 only. Relativistic losses need as many negatives as real images. With ``weights`` a
            mapping from kinds of negatives to such outputs or functions; ``None`` is a kind that is absent.
        fake_weight: λ, in (0, 1]; 3/4 unless given. At 1 the result is ``loss(real, fake)``, bit for bit and with no
            other call.
        weights: Share of generated images (``"fake"``) and of each kind of negatives, in the place of λ; they sum
            to 1, and the share of an absent kind goes to generated images.

    Returns:
        The weighted loss, a scalar.

    Raises:
        TypeError: If the loss returns anything but a tensor, or ``weights`` or their negatives are no mapping.
        ValueError: If ``fake_weight`` is outside (0, 1], or below 1 while ``negative`` is ``None``; if weights do not
            sum to 1 or do not name exactly the kinds that there are, or come with ``fake_weight``.

    Example:
        >>> import torch
        >>> from torch.nn import functional as F
        >>> def relativistic(real, fake):
        ...     return F.softplus(fake - real).mean()
        >>> real, fake, negative = torch.tensor([2.0, 4.0]), torch.tensor([1.0, 0.0]), torch.tensor([-3.0, 1.0])
        >>> with_negatives(relativistic, real, fake, negative, fake_weight=0.75)
        tensor(0.1312)

    Source: Sinha et al., "Negative Data Augmentation", ICLR 2021, for the objective.
    """
    if weights is not None:
        return _with_kinds(loss, real, fake, negative, fake_weight, weights)
    fake_weight = FAKE_WEIGHT if fake_weight is None else fake_weight
    check_fake_weight(fake_weight)
    plain = _cost(loss, real, fake)
    if fake_weight == 1:
        return plain
    if negative is None:
        raise ValueError(
            f"fake_weight={fake_weight} leaves {1 - fake_weight:g} of the weight to negatives, but there are none: "
            "pass what the discriminator returned for them, or fake_weight=1 for the plain loss"
        )
    return weigh(plain, loss(real, negative() if callable(negative) else negative), fake_weight)


def _with_kinds(
    loss: Callable[[Any, Any], Tensor], real: Any, fake: Any, negative: Any, fake_weight: float | None, weights: Weights
) -> Tensor:
    if fake_weight is not None:
        raise ValueError(
            f'weights say what generated images weigh, under "{FAKE}"; leave fake_weight={fake_weight} out'
        )
    if not isinstance(negative, Mapping):
        raise TypeError(
            f"with weights, negative must be a mapping from kinds to the discriminator's output, got "
            f"{type(negative).__name__}"
        )
    check_weights(weights, negative)
    plain = _cost(loss, real, fake)
    costs: dict[str, Tensor | None] = {}
    for kind, output in negative.items():
        if weights[kind]:
            output = output() if callable(output) else output
            costs[kind] = None if output is None else loss(real, output)
    return weigh_kinds(plain, costs, weights)


def _cost(loss: Callable[[Any, Any], Tensor], real: Any, fake: Any) -> Tensor:
    cost = loss(real, fake)
    if not isinstance(cost, Tensor):
        raise TypeError(
            f"loss must return one tensor, got {type(cost).__name__}; of several terms return their sum, "
            "such as lambda real, fake: sum(loss(real, fake))"
        )
    return cost
