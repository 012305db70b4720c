"""How strong negatives are, and how much they count, over the steps of a training."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, get_args

from nda_augment.transforms import Mixture, NegativeTransform
from nda_augment.transforms._arguments import one_of

Kind = Literal["constant", "linear", "cosine"]


@dataclass(frozen=True)
class StrengthSchedule:
    """A number that changes over training: the ``strength`` of a transform, or λ = ``fake_weight``.

    For ``delay`` steps it is ``start``. Then it goes to ``end``, in ``steps`` steps along a line or half a cosine, or
    at once (``"constant"``); a function of the step can take the place of the word.

    The undocumented curriculum of the paper's code, a plain GAN first and negatives from some step on, is
    ``StrengthSchedule("constant", start=1.0, end=0.25, delay=step)`` for λ.

    Args:
        kind: ``"constant"``, ``"linear"``, ``"cosine"``, or a function from the step (int) to the value.
        start: Value up to ``delay``.
        end: Value at ``delay + steps`` and after.
        steps: Length of the passage, at least 1 for ``"linear"`` and ``"cosine"``.
        delay: Step at which the passage begins.

    Raises:
        ValueError: If the word is unknown or a number of steps is out of bounds.

    Example:
        >>> schedule = StrengthSchedule("linear", start=0.0, end=1.0, steps=100)
        >>> schedule(0), schedule(50), schedule(1000)
        (0.0, 0.5, 1.0)
        >>> StrengthSchedule("constant", start=1.0, end=0.25, delay=30)(29)
        1.0
    """

    kind: Kind | Callable[[int], float] = "constant"
    start: float = 1.0
    end: float = 1.0
    steps: int = 0
    delay: int = 0

    def __post_init__(self) -> None:
        if callable(self.kind):
            return
        one_of(self.kind, get_args(Kind), "kind")
        if self.delay < 0 or self.steps < (self.kind != "constant"):
            raise ValueError(
                f"a {self.kind} schedule needs steps >= {int(self.kind != 'constant')} and delay >= 0, "
                f"got steps={self.steps}, delay={self.delay}"
            )

    def __call__(self, step: int) -> float:
        """Return the value at a step, counted from 0."""
        if callable(self.kind):
            return self.kind(step)
        if self.kind == "constant":
            return self.start if step < self.delay else self.end
        progress = min(max((step - self.delay) / self.steps, 0.0), 1.0)
        if self.kind == "cosine":
            progress = (1 - math.cos(math.pi * progress)) / 2
        return self.start + (self.end - self.start) * progress

    def apply(self, transform: NegativeTransform, step: int) -> float:
        """Set the strength of a transform, or of all members of a mixture that have one, to the value at a step.

        Args:
            transform: A transform with a ``strength``, or a mixture with at least one such member.
            step: The step, counted from 0.

        Returns:
            The value.

        Raises:
            ValueError: If there is no strength to set, or the value is not in [0, 1].
        """
        value = self(step)
        if not 0.0 <= value <= 1.0:
            raise ValueError(f"strength must be in [0, 1], the schedule gives {value} at step {step}")
        if not _set_strength(transform, value):
            raise ValueError(f"{transform} has no strength to set")
        return value


def _set_strength(transform: NegativeTransform, value: float) -> bool:
    if isinstance(transform, Mixture):
        reached = [_set_strength(member, value) for member in transform.members]
        return any(reached)
    if "strength" not in transform.defaults():
        return False
    setattr(transform, "strength", value)  # noqa: B010 - which transforms have one is known at run time only
    return True
