"""Where the negatives of a batch come from: a transform of its real images, or a data set of undesired ones."""

from dataclasses import replace

import torch
from torch import Tensor

import nda_augment as nda
from examples.common import data
from examples.common.data import Images
from examples.common.randomness import Share, generator
from examples.common.settings import ConfigError
from examples.gan import config
from examples.gan.config import Config
from nda_augment.transforms.base import select


def load_undesired(settings: Config, channels: int) -> Images:
    """Return the undesired images at ``AUG.nda_path``, as large as those of the run and with as many channels."""
    name = "npz" if settings.AUG.nda_path.endswith(".npz") else "folder"
    undesired = data.read(replace(settings.DATA, name=name, path=settings.AUG.nda_path))
    if undesired.images.shape[1] == channels:
        return undesired
    if channels == 1:
        raise ConfigError(f"the images at AUG.nda_path={settings.AUG.nda_path} are in colour, those of the run are not")
    return replace(undesired, images=undesired.images.expand(-1, channels, -1, -1))


class Negatives:
    """The negatives of a run; those of a batch are a function of the seed and the number of the batch.

    Args:
        settings: Of the run.
        channels: Of its images.
        share: Which part of every batch this process has.
    """

    def __init__(self, settings: Config, channels: int, share: Share) -> None:
        self.settings, self.share = settings, share
        self.transform = nda.from_policy(settings.AUG.nda_policy)
        self.undesired = load_undesired(settings, channels) if settings.AUG.nda_source == "images" else None

    def set_strength(self, step: int) -> None:
        """Let the transform be as strong as the schedule has it at a step of the run."""
        if self.settings.AUG.nda_strength_schedule != "W/O":
            config.strength_schedule(self.settings.AUG).apply(self.transform, step)

    @torch.no_grad()
    def of(self, batch: Images, number: int) -> Tensor:
        """Return this process's share of the negatives of a batch.

        Args:
            batch: The real images of all processes, float ``(B, C, H, W)`` in [-1, 1].
            number: Of the batch.
        """
        images = batch.images
        source = generator(self.settings.RUN.seed, "negatives", number, device=images.device)
        if self.undesired is not None:
            chosen = torch.randint(len(self.undesired), (len(images),), generator=source, device=images.device)
            return data.normalize(self.undesired.images[self.share.of(chosen).cpu()].to(images.device))
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

    def replace(self, fake: Tensor, labels: Tensor | None, batch: Images, number: int, fake_weight: float) -> "Mixed":
        """Let each generated image give way to a negative with probability 1 - λ, and its label to that one's."""
        source = generator(self.settings.RUN.seed, "replaced", number)
        # Drawn and counted on the host, so that no device is asked how many there are.
        chosen = torch.rand(len(batch), generator=source) >= fake_weight
        gone = self.share.of(chosen).to(fake.device, non_blocking=True)
        images = torch.where(gone.view(-1, 1, 1, 1), self.of(batch, number), fake)
        if labels is not None and batch.labels is not None:
            labels = torch.where(gone, self.share.of(batch.labels), labels)
        return Mixed(images, labels, gone, int(chosen.sum()) / self.share.processes)


class Mixed:
    """Generated images, some of them replaced by negatives.

    Attributes:
        images: ``(B, C, H, W)``.
        labels: ``(B,)``, of a negative those of the image it was made from.
        gone: bool ``(B,)``, where a negative stands.
        count: How many there are in the batch of all processes, divided by the number of processes.
    """

    def __init__(self, images: Tensor, labels: Tensor | None, gone: Tensor, count: float) -> None:
        self.images, self.labels, self.gone, self.count = images, labels, gone, count

    def gap(self, real: Tensor, logits: Tensor) -> Tensor | None:
        """Mean real logit minus mean logit of the negatives, once it is averaged over the processes.

        ``None`` where chance brought no negative into the batch of all processes: for all of them or for none, since
        they wait for each other to average it.
        """
        if not self.count:
            return None
        return real.detach().mean() - (logits.detach() * self.gone).sum() / self.count
