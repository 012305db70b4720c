"""What the adversarial losses ask of a discriminator's outputs: one tensor of logits, high for real images."""

import warnings
from typing import Any

from torch import Tensor

from nda_augment._checks import as_full_precision, check_same_trailing
from nda_augment._tracing import is_plain


def as_logits(output: Any, name: str, like: Tensor | None = None) -> Tensor:
    """Return a discriminator's output as logits in float32 or wider.

    Args:
        output: Output of the discriminator.
        name: Name in the error messages.
        like: The real images' logits, whose shape beyond the batch it must have.

    Raises:
        TypeError: If it is not one tensor, or not floating point.
        ValueError: If it is empty or of another trailing shape.
    """
    if not isinstance(output, Tensor):
        raise TypeError(
            f"{name} must be one tensor of logits, got {type(output).__name__}. A discriminator with several outputs "
            "has one loss for each: add up the losses of the outputs, or write that as your own loss(real, fake) and "
            "give it to nda_augment.losses.with_negatives. Of other structures, take the adversarial output"
        )
    if like is not None:
        check_same_trailing(output, name, like)
    return as_full_precision(output, name)


class SigmoidWatch:
    """Warn where, batch after batch, everything that a discriminator returns could be the output of a sigmoid.

    A single such batch is chance, and near the end of a game without negatives no rare one. Values are looked at where
    that is free: on the CPU, where nobody traces.
    """

    batches = 50

    def __init__(self) -> None:
        self._in_a_row = 0

    def update(self, *logits: Tensor) -> None:
        """Take note of the logits of one step."""
        if not is_plain(*logits) or any(values.device.type != "cpu" for values in logits):
            return
        within = all(0 <= extreme <= 1 for values in logits for extreme in map(float, values.detach().aminmax()))
        self._in_a_row = self._in_a_row + 1 if within else 0
        if self._in_a_row == self.batches:
            warnings.warn(
                f"all logits of {self.batches} batches in a row lie in [0, 1], as after a sigmoid. These losses take "
                "logits, unbounded and high for real images: leave the sigmoid out, or give your own loss to "
                "nda_augment.losses.with_negatives",
                stacklevel=2,
            )
