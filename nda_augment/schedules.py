"""How strong negatives are, and how much they count, over the steps of a training."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from nda_augment._checks import as_finite, as_one_of, as_positive, as_whole
from nda_augment._tracing import is_plain
from nda_augment.losses.gan import FAKE_WEIGHT
from nda_augment.transforms import NegativeTransform
from nda_augment.transforms.mixture import set_strength

Kind = Literal["constant", "linear", "cosine"]


@dataclass(frozen=True)
class Schedule:
    """A number that changes over training: the ``strength`` of a transform, or λ = ``fake_weight``.

    For ``delay`` steps it is ``start``. Then it goes to ``end``, in ``steps`` steps along a line or half a cosine, or
    at once (``"constant"``); a function of the step can take the place of the word.

    The undocumented curriculum of the paper's code, a plain GAN first and negatives from some step on, is
    ``Schedule("constant", start=1.0, end=0.25, delay=step)`` for λ.

    Args:
        kind: ``"constant"``, ``"linear"``, ``"cosine"``, or a function from the step (int) to the value.
        start: Value up to ``delay``.
        end: Value at ``delay + steps`` and after.
        steps: Length of the passage, at least 1 for ``"linear"`` and ``"cosine"``.
        delay: Step at which the passage begins.

    Raises:
        ValueError: If the word is unknown or a number of steps is out of bounds.

    Example:
        >>> schedule = Schedule("linear", start=0.0, end=1.0, steps=100)
        >>> schedule(0), schedule(50), schedule(1000)
        (0.0, 0.5, 1.0)
        >>> Schedule("constant", start=1.0, end=0.25, delay=30)(29)
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
        as_one_of(self.kind, "kind", get_args(Kind))
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
            ValueError: If a transform has no strength to set, or the value is not in [0, 1].
        """
        value = self(step)
        if not 0.0 <= value <= 1.0:
            raise ValueError(f"strength must be in [0, 1], the schedule gives {value} at step {step}")
        if not set_strength(transform, value):
            raise ValueError(f"{transform} has no strength to set")
        return value


class AdaptiveWeight:
    """λ = ``fake_weight`` that follows how easily the discriminator tells negatives from real images.

    A negative that is far below the real images in logits teaches nothing more; weight on it is better spent on
    generated images. So the mean real-negative logit gap (``DiscriminatorTerms.logit_gap``) is held near a target: as
    long as it is above, λ rises and the negatives' share 1 − λ falls; as long as it is below, the other way round.
    Steps are of one size, whatever the distance to the target.

    Gaps are added up on their device. Every ``interval``-th update reads their mean back, which waits for the device
    once; ``state_dict`` does too. With several processes give each the mean over all of them, or their λ drift apart.

    Args:
        fake_weight: λ at the start.
        target: The gap to hold, in logits. At 2 the hinge loss has nothing left to ask of most real images and
            negatives; the other losses never have.
        rate: Distance that λ moves per update.
        interval: Updates between two moves, each of ``rate · interval``.
        lowest: Smallest λ, above 0.
        highest: Largest λ, below 1: at 1 no negative would be looked at any more, and no gap measured.

    Raises:
        ValueError: If a number is out of bounds.

    Example:
        >>> weight = AdaptiveWeight(fake_weight=0.25, target=2.0, rate=0.01, interval=2)
        >>> [round(weight.update(gap), 3) for gap in (5.0, 4.0, 1.0, 1.0)]  # easy, easy, hard, hard
        [0.25, 0.27, 0.27, 0.25]
        >>> weight.negative_weight
        0.75

    Source: after the adaptive augmentation of Karras et al., "Training Generative Adversarial Networks with Limited
    Data", NeurIPS 2020, whose r_t this gap takes the place of.
    """

    def __init__(
        self,
        fake_weight: float = FAKE_WEIGHT,
        target: float = 2.0,
        rate: float = 1e-4,
        interval: int = 4,
        lowest: float = 0.1,
        highest: float = 0.95,
    ) -> None:
        if not 0 < lowest <= fake_weight <= highest < 1:
            raise ValueError(
                "the weights must be in order, 0 < lowest <= fake_weight <= highest < 1, got "
                f"lowest={lowest}, fake_weight={fake_weight}, highest={highest}"
            )
        self.fake_weight = float(fake_weight)
        self.target = as_finite(target, "target")
        self.rate = as_positive(rate, "rate")
        self.interval = as_whole(interval, "interval", 1)
        self.lowest = lowest
        self.highest = highest
        self._total: Tensor | float = 0.0
        self._count = 0

    @property
    def negative_weight(self) -> float:
        """The negatives' share, 1 − λ."""
        return 1 - self.fake_weight

    def update(self, logit_gap: Tensor | float) -> float:
        """Take note of one batch's gap, and move λ if it is time to.

        Args:
            logit_gap: Mean real logit minus mean negative logit, a number or a tensor of one element.

        Returns:
            λ for the next step.

        Raises:
            ValueError: If the gap has several elements or is not finite, of which nothing is noted. A gap on a device
                is not looked at before λ moves; then all since the last move are forgotten.
        """
        if isinstance(logit_gap, Tensor):
            if logit_gap.numel() != 1:
                raise ValueError(f"logit_gap must be a single number, got shape {tuple(logit_gap.shape)}")
            logit_gap = logit_gap.detach().reshape(())
        if _is_known(logit_gap) and not torch.as_tensor(logit_gap).isfinite():
            raise ValueError(f"logit_gap must be finite, got {float(logit_gap)}: training diverged")
        self._total = self._total + logit_gap
        self._count += 1
        if self._count == self.interval:
            mean = float(self._total) / self._count
            self._total, self._count = 0.0, 0
            if not math.isfinite(mean):
                raise ValueError(f"the mean logit gap of the last {self.interval} updates is {mean}: training diverged")
            moved = self.fake_weight + math.copysign(self.rate * self.interval, mean - self.target)
            self.fake_weight = min(max(moved, self.lowest), self.highest)
        return self.fake_weight

    def state_dict(self) -> dict[str, float]:
        """Return λ and the gaps noted since it last moved, as plain numbers."""
        return {"fake_weight": self.fake_weight, "total": float(self._total), "count": self._count}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a state; what follows is what would have followed.

        Raises:
            ValueError: If the state is not one of this class, or does not fit the bounds or the interval.
        """
        if state.keys() != {"fake_weight", "total", "count"}:
            raise ValueError(f"a state has the keys fake_weight, total and count, got {sorted(state)}")
        if not self.lowest <= state["fake_weight"] <= self.highest or not 0 <= state["count"] < self.interval:
            raise ValueError(
                f"the state (fake_weight={state['fake_weight']}, count={state['count']}) is of another setting: here "
                f"fake_weight lies in [{self.lowest}, {self.highest}] and count below interval={self.interval}"
            )
        self.fake_weight, self._count = state["fake_weight"], int(state["count"])
        self._total = state["total"]

    def __repr__(self) -> str:
        settings = ("fake_weight", "target", "rate", "interval", "lowest", "highest")
        return f"AdaptiveWeight({', '.join(f'{name}={getattr(self, name)}' for name in settings)})"


def _is_known(value: Tensor | float) -> bool:
    """Tell whether a number can be looked at without waiting for a device."""
    return not isinstance(value, Tensor) or (value.device.type == "cpu" and is_plain(value))
