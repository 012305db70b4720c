"""What a generator made earlier in its training."""

import copy
import warnings
from collections import deque
from collections.abc import Mapping
from typing import Any, Unpack

import torch
from torch import Tensor, nn

from nda_augment import sampling
from nda_augment._checks import as_whole
from nda_augment.sampling import Source

__all__ = ["GeneratorHistory"]


class GeneratorHistory:
    """Snapshots of a generator in training: what it got wrong is a negative of what it makes now.

    In the place of a generator it is called with latents and conditions, ``nda.Generated(history, ...)``, and each
    image comes from a snapshot of its own. Snapshots are weights and buffers on the CPU; one at a time they are loaded
    into a copy of the generator, in eval mode, on the latents' device. With several processes all of them take the
    weights and buffers of the first. The images of one snapshot are made together, so a generator that takes statistics
    of its batch in eval mode too sees small batches.

    Args:
        generator: Module that is trained, without a wrapper such as DistributedDataParallel.
        every: Number of updates from one snapshot to the next.
        capacity: Number of snapshots that are kept; a further one takes the place of the oldest.

    Raises:
        ValueError: If a number is not whole and from 1 on.

    Example:
        >>> generator = nn.Sequential(nn.Linear(4, 12), nn.Unflatten(1, (3, 2, 2)))
        >>> history = GeneratorHistory(generator, every=2, capacity=3)
        >>> for _ in range(10):  # a training, whose steps change the generator
        ...     history.update()
        >>> len(history), history(torch.randn(5, 4)).shape
        (3, torch.Size([5, 3, 2, 2]))

    Source: after Ding et al., Dual-NDA, AAAI 2024, whose second kind of negatives comes from one earlier generator.
    """

    def __init__(self, generator: nn.Module, every: int = 1000, capacity: int = 10) -> None:
        self.every = as_whole(every, "every", 1)
        self.capacity = as_whole(capacity, "capacity", 1)
        self._generator = generator
        self._stage = copy.deepcopy(generator).eval().requires_grad_(False)
        self._snapshots: deque[dict[str, Tensor]] = deque(maxlen=self.capacity)
        self._updates = 0
        self._warned = False

    def __len__(self) -> int:
        return len(self._snapshots)

    def update(self) -> None:
        """Count a step of the generator, and take a snapshot if it is time to."""
        self._updates += 1
        if self._updates % self.every == 0:
            self._snapshots.append(_weights(self._generator))

    def ready(self) -> bool:
        """Tell whether there is a snapshot to draw from.

        Warns:
            UserWarning: If there is none, the first time: until then there are no negatives of this kind.
        """
        if not self and not self._warned:
            self._warned = True
            warnings.warn(
                f"the history has no snapshot before update {self.every} (now {self._updates}): until then it gives no "
                "negatives",
                stacklevel=2,
            )
        return len(self) > 0

    def draw(self, batch: int, **source: Unpack[Source]) -> Tensor:
        """Draw a snapshot for each image of a batch.

        Args:
            batch: Number of images.
            **source: ``generator`` and ``device``, as in :mod:`nda_augment.sampling`.

        Returns:
            int64 ``(batch,)``, the update after which each was taken.

        Raises:
            RuntimeError: If there is none to draw from.
        """
        self._check_ready()
        return (self._oldest + sampling.integers(0, len(self), batch, **source)) * self.every

    @torch.no_grad()
    def __call__(self, latents: Tensor, *conditions: Tensor, snapshots: Tensor | None = None) -> Tensor:
        """Make images, each by its snapshot.

        The snapshots are asked of the device, which is waited for.

        Args:
            latents: Latents ``(B, ...)``, as the generator takes them.
            *conditions: Tensors ``(B, ...)``, as the generator takes them after the latents.
            snapshots: int64 ``(B,)``, from :meth:`draw`; drawn here by default.

        Returns:
            What the generator returns for a batch of ``B``.

        Raises:
            RuntimeError: If there is none to draw from.
            ValueError: If one of ``snapshots`` is not kept.
        """
        self._check_ready()
        drawn = self.draw(len(latents), generator=None, device="cpu") if snapshots is None else snapshots
        numbers, places = drawn.cpu().unique(return_inverse=True)  # type: ignore[no-untyped-call]
        stage = self._stage.to(latents.device)
        parts, order = [], []
        for group, number in enumerate(numbers.tolist()):
            stage.load_state_dict(self._snapshot(number))
            index = (places == group).nonzero().squeeze(1)
            order.append(index)
            own = index.to(latents.device)
            parts.append(stage(latents[own], *(condition[own] for condition in conditions)))
        return torch.cat(parts)[torch.cat(order).argsort().to(latents.device)]

    def state_dict(self) -> dict[str, Any]:
        """Return the snapshots and the number of updates; tensors are shared, and never written to."""
        return {"updates": self._updates, "snapshots": list(self._snapshots)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a state; what follows is what would have followed.

        Raises:
            ValueError: If the state is not one of this class, or of another ``every`` or ``capacity``.
        """
        if state.keys() != {"updates", "snapshots"}:
            raise ValueError(f"a state has the keys updates and snapshots, got {sorted(state)}")
        updates, snapshots = state["updates"], state["snapshots"]
        if len(snapshots) != min(updates // self.every, self.capacity):
            raise ValueError(
                f"a state after {updates} updates with {len(snapshots)} snapshots is of another setting than "
                f"every={self.every}, capacity={self.capacity}"
            )
        self._updates = int(updates)
        self._snapshots = deque(
            ({name: value.cpu() for name, value in each.items()} for each in snapshots), maxlen=self.capacity
        )

    @property
    def _oldest(self) -> int:
        """The number of the oldest snapshot, counted from 1 over all that were ever taken."""
        return self._updates // self.every - len(self) + 1

    def _snapshot(self, update: int) -> dict[str, Tensor]:
        place, rest = divmod(update, self.every)
        if rest or not self._oldest <= place < self._oldest + len(self):
            raise ValueError(
                f"there is no snapshot of update {update}; kept are those of every {self.every} updates from "
                f"{self._oldest * self.every} to {(self._oldest + len(self) - 1) * self.every}"
            )
        return self._snapshots[place - self._oldest]

    def _check_ready(self) -> None:
        if not self:
            raise RuntimeError(
                f"the history has no snapshot before update {self.every} (now {self._updates}); ask history.ready() "
                "first, and leave these negatives out where it says no"
            )

    def __repr__(self) -> str:
        return f"GeneratorHistory({type(self._generator).__name__}, every={self.every}, capacity={self.capacity})"


def _weights(generator: nn.Module) -> dict[str, Tensor]:
    """Copy weights and buffers to the CPU: those of the first process, where there are several."""
    state = {name: value.detach().clone() for name, value in generator.state_dict().items()}
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        for value in state.values():
            torch.distributed.broadcast(value, src=0)
    return {name: value.cpu() for name, value in state.items()}
