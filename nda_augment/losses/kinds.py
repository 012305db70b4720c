"""Several kinds of negatives in one discriminator loss, with a weight for each.

The weights are a mapping with the share of generated images under ``"fake"`` and that of each kind under its name, such
as ``{"fake": 0.7, "jigsaw": 0.1, "history": 0.2}``. They sum to 1. A kind that is absent (``None`` in the place of its
logits, or a history without a snapshot) leaves its share to generated images.
"""

import math
from collections.abc import Collection, Mapping
from typing import NamedTuple

from torch import Tensor

from nda_augment._checks import as_share, hint_at

FAKE = "fake"

Weights = Mapping[str, float]


class TermsOfKinds(NamedTuple):
    """The parts of a discriminator's loss with several kinds of negatives, each a scalar, before they are weighted.

    Attributes:
        real: Mean penalty on real images.
        fake: Mean penalty on generated images.
        negative: Mean penalty on each kind of negatives; ``None`` for one that is absent.
        logit_gap: Mean real logit minus mean logit of each kind, detached; without absent kinds.
        hardness: Logit of each negative of each kind minus the mean real logit, detached; without absent kinds.
    """

    real: Tensor
    fake: Tensor
    negative: Mapping[str, Tensor | None]
    logit_gap: Mapping[str, Tensor]
    hardness: Mapping[str, Tensor]

    def total(self, weights: Weights) -> Tensor:
        """Weigh the terms: ``real + weights["fake"] · fake + Σ weights[kind] · negative[kind]``.

        Args:
            weights: Share of generated images (``"fake"``) and of each kind of negatives; they sum to 1. Terms of
                weight 0 are left out, so that with ``"fake"`` at 1 this is the plain loss, bit for bit. The share of an
                absent kind goes to generated images.

        Returns:
            The discriminator's loss, a scalar.

        Raises:
            TypeError: If the weights are no mapping.
            ValueError: If they do not sum to 1, are not in [0, 1], leave nothing to generated images, or do not name
                exactly the kinds that there are.
        """
        check_weights(weights, self.negative)
        return self.real + weigh_kinds(self.fake, self.negative, weights)


def check_weights(weights: Weights, kinds: Collection[str], name: str = "weights") -> None:
    """Refuse weights that do not fit the kinds of negatives.

    Args:
        weights: Whatever was given as weights.
        kinds: The kinds that there are.
        name: Name in the error messages.

    Raises:
        TypeError: If they are no mapping.
        ValueError: As in :meth:`TermsOfKinds.total`.
    """
    if not isinstance(weights, Mapping):
        raise TypeError(
            f'{name} must be a mapping such as {{"{FAKE}": 0.75, "jigsaw": 0.25}} where there are several kinds of '
            f"negatives, got {weights!r}"
        )
    if FAKE in kinds:
        raise ValueError(f"no kind of negatives can be called {FAKE!r}: that is the weight of generated images")
    for kind, weight in weights.items():
        if kind != FAKE and kind not in kinds:
            raise ValueError(
                f"{name} name {kind!r}, but the kinds of negatives are {', '.join(map(repr, kinds)) or 'none'}."
                f"{hint_at(kind, kinds)}"
            )
        as_share(weight, f"{name}[{kind!r}]")
    missing = [kind for kind in (FAKE, *kinds) if kind not in weights]
    if missing:
        raise ValueError(f"{name} have no {', '.join(map(repr, missing))}; a weight of 0 leaves a kind out")
    if not weights[FAKE]:
        raise ValueError(f"{name}[{FAKE!r}] must be above 0: without generated images the generator learns nothing")
    total = math.fsum(weights.values())
    if not math.isclose(total, 1.0, abs_tol=1e-6):
        raise ValueError(f"{name} must sum to 1, those of {', '.join(map(repr, weights))} sum to {total:g}")


def weigh_kinds(fake: Tensor, negatives: Mapping[str, Tensor | None], weights: Weights) -> Tensor:
    """Weigh what generated images cost and what each kind costs; shares of absent kinds go to generated images."""
    present = [(weights[kind], cost) for kind, cost in negatives.items() if weights[kind] and cost is not None]
    if not present:
        return fake
    absent = math.fsum(weights[kind] for kind, cost in negatives.items() if cost is None)
    weighed = (weights[FAKE] + absent) * fake
    for weight, cost in present:
        weighed = weighed + weight * cost
    return weighed
