"""Where the negatives of a batch come from: a transform of its real images, undesired ones, the generator's past."""

from collections.abc import Callable
from dataclasses import replace
from typing import Literal

import torch
from torch import Tensor

import nda_augment as nda
from examples.common import data, negatives
from examples.common.data import Images
from examples.common.negatives import made
from examples.common.randomness import Share, generator
from examples.common.settings import ConfigError
from examples.gan import config
from examples.gan.conditioning import Batch, Told
from examples.gan.config import HISTORY, WRONG_LABEL, Config
from nda_augment.losses.kinds import FAKE


def load_undesired(settings: Config, channels: int) -> Images:
    """Return the undesired images at ``AUG.nda_path``, as large as those of the run and with as many channels."""
    name = "npz" if settings.AUG.nda_path.endswith(".npz") else "folder"
    undesired = data.read(replace(settings.DATA, name=name, path=settings.AUG.nda_path))
    if undesired.images.shape[1] == channels:
        return undesired
    if channels == 1:
        raise ConfigError(f"the images at AUG.nda_path={settings.AUG.nda_path} are in colour, those of the run are not")
    return replace(undesired, images=undesired.images.expand(-1, channels, -1, -1))


class Negatives(negatives.Negatives):
    """The negatives of a run; those of a batch are a function of the seed and the number of the batch.

    Args:
        settings: Of the run.
        channels: Of its images.
        share: Which part of every batch this process has.
    """

    def __init__(self, settings: Config, channels: int, share: Share) -> None:
        super().__init__(settings.AUG.nda_policy, settings.RUN.seed, share, settings.AUG.nda_learned)
        self.settings = settings
        self.undesired = load_undesired(settings, channels) if settings.AUG.nda_source == "images" else None

    def __str__(self) -> str:
        return super().__str__() if self.undesired is None else f"images of {self.settings.AUG.nda_path}"

    def set_strength(self, step: int) -> None:
        """Let the transform be as strong as the schedule has it at a step of the run."""
        if self.settings.AUG.nda_strength_schedule != "W/O":
            config.strength_schedule(self.settings.AUG).apply(self.transform, step)

    def of(self, batch: Images, number: int) -> Tensor:
        """Return this process's share of the negatives of a batch, or as many undesired images."""
        if self.undesired is None:
            return super().of(batch, number)
        images = batch.images
        source = generator(self.seed, "negatives", number, device=images.device)
        chosen = torch.randint(len(self.undesired), (len(images),), generator=source, device=images.device)
        return data.normalize(self.undesired.images[self.share.of(chosen).cpu()].to(images.device))

    def mix(
        self, fake: Tensor, told: Told, batch: Batch, number: int, stay: float, blend: float | None = None
    ) -> "Mixed":
        """Let each generated image stay with a probability, or give way to a negative, with what is told of that one.

        Args:
            fake: Generated images of this process.
            told: What is told of them.
            batch: The real images of all processes.
            number: Of the batch.
            stay: The probability: λ.
            blend: How much of a negative there is in those that do not stay, of which the same is told as before; all
                by default.
        """
        source = generator(self.seed, "replaced", number)
        # Drawn and counted on the host, so that no device is asked how many there are.
        chosen = torch.rand(len(batch), generator=source) >= stay
        gone = self.share.of(chosen).to(fake.device, non_blocking=True)
        negatives = self.of(batch, number)
        negatives = negatives if blend is None else fake.lerp(negatives, blend)
        images = torch.where(gone.view(-1, 1, 1, 1), negatives, fake)
        told = told if blend is not None else told.where(gone, batch.told.map(self.share.of))
        return Mixed(images, told, gone, int(chosen.sum()) / self.share.processes)


class Kinds:
    """Several kinds of negatives; those of a batch are functions of the seed, the kind and the number of the batch.

    Args:
        settings: Of the run: ``LOSS.nda_weights`` names the kinds.
        classes: How many the data have.
        share: Which part of every batch this process has.
        history: The generator's past, if it is one of the kinds.
        worst: From images, and their labels if there are classes, to how bad each is.
    """

    def __init__(
        self,
        settings: Config,
        classes: int,
        share: Share,
        history: nda.GeneratorHistory | None,
        worst: Callable[..., Tensor],
    ) -> None:
        self.seed, self.share = settings.RUN.seed, share
        self.names = [kind for kind in settings.LOSS.nda_weights if kind != FAKE]
        self.policies = {name: nda.from_policy(name) for name in self.names if name not in (HISTORY, WRONG_LABEL)}
        self.other = nda.OtherClass(classes) if WRONG_LABEL in self.names else None
        self.old = None
        if history is not None:
            candidates = settings.AUG.nda_history_candidates
            told: Literal["own"] | None = "own" if settings.conditional else None
            score = worst if candidates > 1 else None
            self.old = nda.Generated(history, settings.MODEL.z_dim, told, score=score, candidates=candidates)

    @torch.no_grad()
    def of(self, kind: str, batch: Images, number: int) -> tuple[Tensor, Tensor | None] | None:
        """Return this process's share of the negatives of a kind, and the labels that they are judged with.

        Args:
            kind: One of the names.
            batch: The real images of all processes, float ``(B, C, H, W)`` in [-1, 1].
            number: Of the batch.

        Returns:
            ``None`` where there are none so far.
        """
        source = generator(self.seed, f"negatives, {kind}", number, device=batch.images.device)
        labels = None if batch.labels is None else self.share.of(batch.labels)
        if kind == WRONG_LABEL:
            assert self.other is not None
            return self.share.of(batch.images), self.share.of(self.other(batch.labels, generator=source))
        if kind == HISTORY:
            assert self.old is not None
            return (made(self.old, batch, source, self.share), labels) if self.old.ready() else None
        return made(self.policies[kind], batch, source, self.share), labels


class Mixed:
    """Generated images, some of them replaced by negatives or blended with them.

    Attributes:
        images: ``(B, C, H, W)``.
        told: What is told of them; of a negative, what is of the image it was made from.
        gone: bool ``(B,)``, where a negative stands.
        count: How many there are in the batch of all processes, divided by the number of processes.
    """

    def __init__(self, images: Tensor, told: Told, gone: Tensor, count: float) -> None:
        self.images, self.told, self.gone, self.count = images, told, gone, count

    def gap(self, real: Tensor, logits: Tensor) -> Tensor | None:
        """Mean real logit minus mean logit of the negatives, once it is averaged over the processes.

        ``None`` where chance brought no negative into the batch of all processes: for all of them or for none, since
        they wait for each other to average it.
        """
        if not self.count:
            return None
        return real.detach().mean() - (logits.detach() * self.gone).sum() / self.count
