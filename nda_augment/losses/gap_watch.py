"""A watch on the order of a discriminator's logits."""

import warnings

from torch import Tensor

from nda_augment._checks import as_whole


class GapWatch:
    """Warn, once, where real images have long been taken for less real than negatives.

    A discriminator tells most negatives soon. If the mean logit of real images stays below that of negatives, the code
    may call real what is *low*, so that generator and discriminator pull the same way; or the negatives are no
    negatives. Gaps are added up on their device and read once in ``steps``, when what led to them has long been
    computed.

    Args:
        steps: Number of steps in a row that are looked at together; at least 1.

    Raises:
        ValueError: If ``steps`` is not a whole number from 1 on.

    Example:
        >>> watch = GapWatch(steps=2)
        >>> for gap in (-0.2, 0.5, 0.3, 0.1):  # real images are ahead, on average
        ...     watch.update(gap)
    """

    def __init__(self, steps: int = 1000) -> None:
        self.steps = as_whole(steps, "steps", 1)
        self._total: Tensor | float = 0.0
        self._count = 0
        self._warned = False

    def update(self, logit_gap: Tensor | float) -> None:
        """Take note of one step.

        Args:
            logit_gap: Mean real logit minus mean negative logit, a number or a tensor of one element.

        Warns:
            UserWarning: If the mean gap of the last ``steps`` steps is below 0, the first time.
        """
        if self._warned:
            return
        self._total = self._total + (logit_gap.detach() if isinstance(logit_gap, Tensor) else logit_gap)
        self._count += 1
        if self._count < self.steps:
            return
        gap = float(self._total) / self._count
        self._total, self._count = 0.0, 0
        if gap < 0:
            self._warned = True
            warnings.warn(
                f"for {self.steps} steps the discriminator's logits of real images have been below those of negatives, "
                f"by {-gap:.3g} on average. If real images have low logits in this code, turn the sign; if not, "
                "nda_augment.audit tells whether the negatives are negative",
                stacklevel=2,
            )
