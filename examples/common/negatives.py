"""The negatives of a batch, as a function of the seed and the number of the batch."""

import torch
from torch import Tensor

import nda_augment as nda
from examples.common.data import Images
from examples.common.randomness import Share, generator
from examples.common.settings import ConfigError
from nda_augment.transforms.base import select


def mixture_of(policy: str, learned: bool) -> nda.Mixture:
    """Return the mixture of a policy; with weights that are learned, if they are to be.

    Raises:
        ConfigError: If weights are to be learned that the policy gives, or of a single negative.
        ValueError: If the policy cannot be read.
    """
    mixture = nda.from_policy(policy)
    if not learned:
        return mixture
    if len(mixture.members) == 1 or len(set(mixture.weights)) > 1:
        raise ConfigError(
            f"AUG.nda_learned finds the weights of several negatives; AUG.nda_policy={policy} must name two at least, "
            "and no weights"
        )
    return nda.LearnedMixture(mixture.members)


class Negatives:
    """The negatives of a run, made of its real images.

    Args:
        policy: How they are made.
        seed: Of the run.
        share: Which part of every batch this process has.
        learned: Whether the policy's weights follow how hard its negatives are.
    """

    def __init__(self, policy: str, seed: int, share: Share, learned: bool = False) -> None:
        self.transform = mixture_of(policy, learned)
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
        source = generator(self.seed, "negatives", number, device=batch.images.device)
        return made(self.transform, batch, source, self.share)

    def learn(self, hardness: Tensor) -> None:
        """Tell weights that are learned how hard this process's share of the last negatives was, ``(B,)``."""
        if isinstance(self.transform, nda.LearnedMixture):
            self.transform.update(hardness)


def made(transform: nda.NegativeTransform, batch: Images, source: torch.Generator, share: Share) -> Tensor:
    """Return a process's share of what a transform makes of the images of all processes, with draws from a source."""
    images, labels = batch.images, batch.labels if transform.needs_labels else None
    if share.processes == 1:
        negatives: Tensor = transform(images, generator=source, labels=labels)
        return negatives
    # Drawn for the whole batch, made for the own share: partners may be images of other processes.
    drawn = transform.draw(images.shape, generator=source, device=images.device, labels=labels)
    own = select(drawn, share.of(torch.arange(len(images), device=images.device)))
    if transform.uses_partners:
        own["pool"] = images
    of_own: Tensor = transform(share.of(images), params=own)
    return of_own
