"""Sections of contrastive trainings, of images or clips."""

from dataclasses import dataclass, field
from typing import cast

import nda_augment as nda
from examples.common import sections
from examples.common.negatives import mixture_of
from examples.common.settings import ConfigError, Section, at_least, one_of, positive, share


@dataclass
class Method(Section):
    """The method, whatever its encoder."""

    method: str = one_of("moco", ("moco", "simclr", "byol"))  # MoCo is version 2
    dim: int = at_least(64, 1)  # of the embedding that the loss sees
    queue: int = at_least(1024, 1)  # moco: number of earlier keys that serve as candidates
    momentum: float = share(0.99)  # moco, byol: of the key or target encoder

    @property
    def parts(self) -> int:
        """Into how many parts each device's share of a batch is divided."""
        return 1


@dataclass
class Loss(Section):
    """InfoNCE with a queue (moco), NT-Xent (simclr), cosine similarity (byol)."""

    temperature: float = positive(0.2)
    nda_scale: float = 1.0  # α: multiplies the similarity to negatives
    nda_scope: str = "own"  # own: an image meets its own negative; batch: it meets all
    mochi_hardest: int = at_least(0, 0)  # moco: rows of the queue, hardest for a query, to mix negatives from; 0 is off
    mochi_mix: int = at_least(0, 0)  # mixes of two of them per query
    mochi_mix_query: int = at_least(0, 0)  # mixes of one of them and the query
    mochi_start_epoch: int = at_least(0, 0)  # until then what is hard means little
    nda_repulsion: float = at_least(1.0, 0)  # byol: weight of the similarity to the negative
    nda_floor: float = -1.0  # byol: similarity below which a negative is left alone

    def check(self) -> None:
        """Let the loss itself refuse what it cannot do."""
        try:
            nda.losses.InfoNCELoss(negative_scale=self.nda_scale, scope=cast(nda.losses.Scope, self.nda_scope))
            nda.losses.RepulsionLoss(self.nda_floor)
            if self.mochi_hardest or self.mochi_mix or self.mochi_mix_query:
                nda.losses.HardNegativeMixing(self.mochi_hardest, self.mochi_mix, self.mochi_mix_query)
        except ValueError as error:
            raise ConfigError(f"LOSS: {error}") from error


@dataclass
class Views(Section):
    """The views, which teach what does not matter, and the negatives."""

    apply_nda: bool = True
    nda_policy: str = "jigsaw"
    nda_learned: bool = False  # let the policy's weights follow the similarities to its negatives
    min_scale: float = share(0.2, zero=False)  # smallest share of the image in a crop
    flip: float = share(0.5)  # probability of a mirror image
    jitter: float = at_least(1.0, 0)  # strength of colour changes; 1 is MoCo-v2's, 0 is none
    grayscale: float = share(0.2)  # probability

    def check(self) -> None:
        """Refuse a policy that cannot be read."""
        try:
            mixture_of(self.nda_policy, self.nda_learned)
        except ValueError as error:
            raise ConfigError(f"AUG.nda_policy: {error}") from error


@dataclass
class Evaluation(Section):
    """On features of the frozen backbone."""

    knn_every: int = at_least(5, 1)  # epochs
    knn_k: int = at_least(200, 1)
    knn_temperature: float = at_least(0.1, 0.02)  # below, exp(1/τ) leaves float32
    linear_lr: float = positive(1.0)  # for a batch of 256
    linear_epochs: int = at_least(50, 1)
    linear_batch_size: int = at_least(256, 1)


@dataclass
class Config(sections.EpochSettings):
    """A training run; what it learns from is said where it is."""

    MODEL: Method = field(default_factory=Method)
    LOSS: Loss = field(default_factory=Loss)
    AUG: Views = field(default_factory=Views)
    EVAL: Evaluation = field(default_factory=Evaluation)

    def check(self) -> None:
        """Refuse a batch that cannot be divided, and hard negatives where there is no queue for them."""
        devices = self.RUN.devices
        self.check_batch({"RUN.devices": devices, "RUN.devices · MODEL.bn_splits": devices * self.MODEL.parts})
        if self.LOSS.mochi_hardest:
            if self.MODEL.method != "moco" or self.LOSS.mochi_hardest > self.MODEL.queue:
                raise ConfigError(
                    f"LOSS.mochi_hardest={self.LOSS.mochi_hardest} rows are those of MODEL.method=moco, whose "
                    f"MODEL.queue={self.MODEL.queue} has to hold as many"
                )
            if self.LOSS.nda_scale != 1 or self.LOSS.nda_scope != "own":
                raise ConfigError(
                    "LOSS.mochi_hardest needs LOSS.nda_scale=1 and nda_scope=own: each query has its mixes"
                )
