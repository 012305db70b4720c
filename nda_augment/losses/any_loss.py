"""Negatives with any discriminator loss, whatever its form."""

from collections.abc import Callable
from typing import Any

from torch import Tensor

from nda_augment.losses.gan import FAKE_WEIGHT, check_fake_weight, weigh


def with_negatives(
    loss: Callable[[Any, Any], Tensor],
    real: Any,
    fake: Any,
    negative: Any | Callable[[], Any],
    fake_weight: float = FAKE_WEIGHT,
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
            if λ is below 1 only. Relativistic losses need as many negatives as real images.
        fake_weight: λ, in (0, 1]. At 1 the result is ``loss(real, fake)``, bit for bit and with no other call.

    Returns:
        The weighted loss, a scalar.

    Raises:
        TypeError: If the loss returns anything but a tensor.
        ValueError: If ``fake_weight`` is outside (0, 1], or below 1 while ``negative`` is ``None``.

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
    check_fake_weight(fake_weight)
    plain = loss(real, fake)
    if not isinstance(plain, Tensor):
        raise TypeError(
            f"loss must return one tensor, got {type(plain).__name__}; of several terms return their sum, "
            "such as lambda real, fake: sum(loss(real, fake))"
        )
    if fake_weight == 1:
        return plain
    if negative is None:
        raise ValueError(
            f"fake_weight={fake_weight} leaves {1 - fake_weight:g} of the weight to negatives, but there are none: "
            "pass what the discriminator returned for them, or fake_weight=1 for the plain loss"
        )
    return weigh(plain, loss(real, negative() if callable(negative) else negative), fake_weight)
