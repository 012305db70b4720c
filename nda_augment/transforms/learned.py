"""A mixture whose weights follow what a model finds hard."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, Unpack

import torch
from torch import Tensor
from torch import distributed as dist

from nda_augment._checks import as_finite, as_positive, as_share, as_whole, check_parameter
from nda_augment._tracing import is_plain
from nda_augment.transforms.base import Common, DrawContext, NegativeTransform, Params, detached
from nda_augment.transforms.mixture import Mixture

__all__ = ["LearnedMixture"]


class LearnedMixture(Mixture):
    """Give every image one of several negatives, the more often the harder the model finds it.

    After a step, tell it how hard each negative of the batch was: a discriminator's logit of it, the logit of its
    similarity to the image in a contrastive loss, or a loss. Each member has a running mean of that, ``h_k``, and the
    probability ``floor / K + (1 − floor) · softmax(h / temperature)_k``: hard members come more often, and none is
    given up, so that one that becomes hard again is noticed.

    With a ``target`` there is a multiplier ``μ_k`` per member instead, as in constrained learning: at every move
    ``μ_k`` grows by ``rate`` times what the member's mean is above the target, and never falls below 0. Probabilities
    are ``floor / K + (1 − floor) · μ_k / Σ μ``; a member that keeps to the target costs no more than its floor.

    Use it where several negatives are at hand, their hardness differs or changes in training, and nobody wants to
    choose weights. Hardness does not prove use: a negative that looks like the data is the hardest of all.

    Args:
        transforms: Negative transforms, each with ``p=1``, or a mapping to them.
        temperature: Temperature of the softmax, above 0, in units of the hardness.
        floor: Share of the images whose negative is drawn uniformly, in (0, 1]; at 1 it is a plain mixture.
        momentum: Share that the running mean keeps at each move, in [0, 1).
        target: Hardness that every member is to keep below; ``None`` for the softmax.
        rate: Rate of the multipliers, above 0.
        interval: Number of updates between two moves of the weights, 1 or more.
        **common: ``p``, ``same_on_batch``, ``keepdim`` of :class:`NegativeTransform`.

    Convention:
        - updates are added up on their device, in a process group over all ranks, so that all have the same weights;
          every rank must update. Each ``interval``-th update reads the sums back, which waits for the device once.
        - in another mixture it is told of the whole batch as well: images that it did not get count for none.
        - ``state_dict`` holds all that is learned; a run that loads it goes on exactly as it would have.
        - compiled code holds the weights as constants and is compiled again when they move; compile the model, and not
          the mixture.

    Raises:
        ValueError: If an argument is out of bounds, or no transform is given.
        TypeError: If a member is not a negative transform of this package.

    Shape:
        As :class:`Mixture`.

    Example:
        >>> from nda_augment import Jigsaw, Stitch
        >>> mixture = LearnedMixture([Jigsaw(), Stitch()], floor=0.2, interval=1)
        >>> negatives = mixture(torch.rand(8, 3, 32, 32))
        >>> mixture.update(torch.where(mixture._params["choice"] == 0, 2.0, -2.0))  # jigsaws look real
        >>> [round(probability, 3) for probability in mixture.probabilities]
        [0.886, 0.114]

    Source: this package's, in the manner of Hou et al., MADAug, 2023, which learns when to use which augmentation, and
    of Hounie et al., ICML 2023, where a multiplier holds the loss under augmentation at a bound.
    """

    learns = True

    def __init__(
        self,
        transforms: Sequence[NegativeTransform] | Mapping[str, NegativeTransform],
        temperature: float = 1.0,
        floor: float = 0.2,
        momentum: float = 0.9,
        target: float | None = None,
        rate: float = 0.1,
        interval: int = 10,
        **common: Unpack[Common],
    ) -> None:
        super().__init__(transforms, None, **common)
        self.temperature = as_positive(temperature, "temperature")
        self.floor = as_share(floor, "floor", "above 0 and at most 1")
        if not self.floor:
            raise ValueError("floor must be above 0 and at most 1, got 0.0: a member could be given up for good")
        self.momentum = as_share(momentum, "momentum", "at least 0 and below 1")
        if self.momentum == 1.0:
            raise ValueError("momentum must be at least 0 and below 1, got 1.0: nothing would be learned")
        self.target = None if target is None else as_finite(target, "target")
        self.rate = as_positive(rate, "rate")
        self.interval = as_whole(interval, "interval", 1)
        number = len(self.members)
        self._hardness: list[float | None] = [None] * number
        self._multipliers = [0.0] * number
        # Sums and numbers of what was heard since the last move.
        self._heard = torch.zeros(2, number)
        self._updates = 0
        # The choices of the last draw, until the weights move: of others they do not bound how many are alike.
        self._drawn: Tensor | None = None
        self._weigh()

    @property
    def hardness(self) -> tuple[float | None, ...]:
        """The running mean of each member's hardness; ``None`` of those that nothing was heard of."""
        return tuple(self._hardness)

    @property
    def multipliers(self) -> tuple[float, ...]:
        """The multiplier of each member; they move where there is a target."""
        return tuple(self._multipliers)

    @torch.no_grad()
    def update(self, hardness: Tensor, choice: Tensor | None = None) -> None:
        """Take note of how hard the negatives of a batch were, and move the weights if it is time to.

        Args:
            hardness: Hardness of each negative, float ``(B,)``, higher is harder.
            choice: Member that each was made by, int64 ``(B,)``; that of the last call by default, where images that
                were left alone, below ``p=1``, or went to another member of a mixture around this one, count for none.

        Raises:
            ValueError: If the shapes do not fit, nothing was drawn yet, or the hardness is not finite; of such a batch
                nothing is noted. What is on a device is not looked at before the weights move; then all since the last
                move is forgotten.
        """
        if choice is None:
            if "choice" not in getattr(self, "_params", {}):
                raise ValueError("nothing was drawn yet; call the mixture first, or pass choice=")
            choice = self._params["choice"]
            if "batch_prob" in self._params:
                choice = torch.where(self._params["batch_prob"] > 0.5, choice, len(self.members))
        check_parameter(hardness, "hardness", (len(choice),))
        values, choice = hardness.detach().float(), choice.to(hardness.device, non_blocking=True)
        # Not index_add, which adds up in any order on a device: a run that goes on would not be the same.
        own = choice == torch.arange(len(self.members), device=values.device).unsqueeze(1)
        heard = torch.stack([torch.where(own, values, 0.0).sum(dim=1), own.float().sum(dim=1)])
        if dist.is_available() and dist.is_initialized():
            # At each update, so that the state of any rank is that of all of them.
            dist.all_reduce(heard)
        # Of all ranks, so that all of them refuse it.
        if heard.device.type == "cpu" and is_plain(heard) and not heard.isfinite().all():
            raise ValueError("the hardness is not finite: training diverged")
        self._heard = self._heard.to(values.device, non_blocking=True) + heard
        self._updates += 1
        if self._updates % self.interval == 0:
            self._move()

    def _move(self) -> None:
        totals, counts = self._heard.tolist()
        self._heard = torch.zeros_like(self._heard)
        if not all(map(math.isfinite, totals)):
            raise ValueError(f"the hardness of the last {self.interval} updates is not finite: training diverged")
        for number, (total, count) in enumerate(zip(totals, counts, strict=True)):
            if not count:
                continue
            mean, before = total / count, self._hardness[number]
            self._hardness[number] = mean if before is None else self.momentum * before + (1 - self.momentum) * mean
            if self.target is not None:
                self._multipliers[number] = max(self._multipliers[number] + self.rate * (mean - self.target), 0.0)
        self._weigh()

    def _weigh(self) -> None:
        """Set the weights to what is known."""
        number = len(self.members)
        shares = self._multipliers if self.target is not None else _softmax(self._hardness, self.temperature)
        whole = sum(shares)
        even = 1 / number
        self.weights = tuple(
            self.floor * even + (1 - self.floor) * (share / whole if whole else even) for share in shares
        )
        self._drawn = None

    def get_extra_state(self) -> dict[str, Any]:
        """Return all that is learned, as plain numbers."""
        return {
            "hardness": list(self._hardness),
            "multipliers": list(self._multipliers),
            "heard": self._heard.tolist(),
            "updates": self._updates,
        }

    def set_extra_state(self, state: Any) -> None:
        """Go on from a state; what follows is what would have followed."""
        if not isinstance(state, Mapping) or len(state.get("hardness", ())) != len(self.members):
            raise ValueError(f"the state is not one of a learned mixture of {len(self.members)} members: {state!r}")
        self._hardness, self._multipliers = list(state["hardness"]), list(state["multipliers"])
        self._heard, self._updates = torch.tensor(state["heard"]), state["updates"]
        self._weigh()

    def __str__(self) -> str:
        """Return the representation: a policy string holds nothing that is learned."""
        return repr(self)

    @classmethod
    def defaults(cls) -> dict[str, Any]:
        """Return all arguments of the constructor by name, with their defaults."""
        return {name: value for name, value in super().defaults().items() if name != "weights"}

    def _remember(self, params: Params, reached: Tensor) -> None:
        super()._remember(params, reached)
        # As of a call of its own, in which coins decided which images got a negative.
        object.__setattr__(self, "_params", detached({**params, "batch_prob": reached}))

    def draw_kernel_params(self, context: DrawContext) -> Params:
        """Draw as a mixture, and remember which draw these weights bound the groups of."""
        params = super().draw_kernel_params(context)
        self._drawn = params["choice"]
        return params

    def _most(self, choice: Tensor, drawn_for: int, shared: bool) -> list[int]:
        # A draw that is repeated may be one of other weights.
        return super()._most(choice, drawn_for, shared or choice is not self._drawn)


def _softmax(values: Sequence[float | None], temperature: float) -> list[float]:
    """The softmax of values; what is not known counts as the mean of what is."""
    known = [value for value in values if value is not None]
    mean = sum(known) / len(known) if known else 0.0
    scaled = [(mean if value is None else value) / temperature for value in values]
    exponents = [math.exp(value - max(scaled)) for value in scaled]
    return [exponent / sum(exponents) for exponent in exponents]
