"""Where the negatives of a batch come from: a transform of its real images, or a data set of undesired ones."""

from dataclasses import replace

import torch
from torch import Tensor

from examples.common import data, negatives
from examples.common.data import Images
from examples.common.randomness import Share, generator
from examples.common.settings import ConfigError
from examples.gan import config
from examples.gan.config import Config


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

    def replace(self, fake: Tensor, labels: Tensor | None, batch: Images, number: int, fake_weight: float) -> "Mixed":
        """Let each generated image give way to a negative with probability 1 - λ, and its label to that one's."""
        source = generator(self.seed, "replaced", number)
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
