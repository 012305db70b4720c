"""The negatives of a batch, as a function of the seed and the number of the batch."""

import torch
from torch import Tensor

import nda_augment as nda
from examples.common.data import Images
from examples.common.randomness import Share, generator
from nda_augment.transforms.base import select


class Negatives:
    """The negatives of a run, made of its real images.

    Args:
        policy: How they are made.
        seed: Of the run.
        share: Which part of every batch this process has.
    """

    def __init__(self, policy: str, seed: int, share: Share) -> None:
        self.transform = nda.from_policy(policy)
        self.seed, self.share = seed, share

    def __str__(self) -> str:
        return str(self.transform)

    @torch.no_grad()
    def of(self, batch: Images, number: int) -> Tensor:
        """Return this process's share of the negatives of a batch.

        Args:
            batch: The real images of all processes, float ``(B, C, H, W)`` in [-1, 1].
            number: Of the batch.
        """
        images = batch.images
        source = generator(self.seed, "negatives", number, device=images.device)
        labels = batch.labels if self.transform.needs_labels else None
        if self.share.processes == 1:
            negatives: Tensor = self.transform(images, generator=source, labels=labels)
            return negatives
        # Drawn for the whole batch, made for the own share: partners may be images of other processes.
        drawn = self.transform.draw(images.shape, generator=source, device=images.device, labels=labels)
        own = select(drawn, self.share.of(torch.arange(len(images), device=images.device)))
        if self.transform.uses_partners:
            own["pool"] = images
        of_own: Tensor = self.transform(self.share.of(images), params=own)
        return of_own
