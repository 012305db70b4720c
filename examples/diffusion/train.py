"""Train a diffusion or flow model: ``python -m examples.diffusion.train --config FILE [SECTION.key=value ...]``.

With ``AUG.apply_nda=true`` a share of every batch are negatives, and the model is told so; sampling can then lead away
from them. A run writes into ``RUN.save_dir``: ``config.yaml``, ``checkpoint.pt``, ``samples/`` and TensorBoard logs.
Started again it goes on from its checkpoint, and on one machine ends with the same weights, bit for bit, as if it had
never stopped (on a GPU, as far as its kernels are deterministic).
"""

import copy
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from lightning.fabric.utilities import rank_zero_only
from torch import Tensor

from examples.common import data, training
from examples.common.data import Images
from examples.common.negatives import Negatives
from examples.common.randomness import batch_indices, generator, seeded
from examples.common.runs import command
from examples.common.settings import ConfigError
from examples.common.training import console, update_average
from examples.diffusion import config
from examples.diffusion.config import DIGITS, Config
from examples.diffusion.denoiser import Denoiser, build_denoiser
from examples.diffusion.processes import build_process
from examples.diffusion.sampling import SNAPSHOT, load_denoiser, sample
from nda_augment._files import State, save_checkpoint
from nda_augment.guidance import Kind, Mixed, draw_kinds, mix_kinds
from nda_augment.losses.diffusion import repulsion_from_negatives


def train(settings: Config, images: Images | None = None) -> Path:
    """Train to ``OPTIMIZATION.total_steps``, from the run's checkpoint if it has one.

    Args:
        settings: A checked config, see :func:`examples.diffusion.config.load`.
        images: The training images that ``DATA`` names, where they are at hand already.

    Returns:
        The run's folder.

    Raises:
        ConfigError: If the folder holds a run with other settings, or one that is already further; if the images do not
            fill one batch, or lack labels that the run needs.
    """
    return training.train(Training(settings, data.load(settings.DATA)[0] if images is None else images))


class Training(training.Training):
    """The state of a run and the step that changes it.

    Args:
        settings: Of the run.
        images: The images it is trained on.
    """

    free = ("OPTIMIZATION.total_steps", "DATA.path", "SAMPLING.", "RUN.")
    bound = ("RUN.seed", "RUN.precision", "RUN.snapshot_step")

    def __init__(self, settings: Config, images: Images) -> None:
        data.check_batch(images, settings.OPTIMIZATION.batch_size)
        if settings.MODEL.conditional and images.labels is None:
            raise ConfigError(
                "MODEL.conditional needs labels: sub-folders named after the classes, or an array 'labels' in the .npz"
            )
        super().__init__(settings)
        self.images, self.fingerprint = images, images.fingerprint()
        self.classes = images.classes if settings.MODEL.conditional else 0
        self.process = build_process(settings.LOSS)
        self.negatives = Negatives(settings.AUG.nda_policy, settings.RUN.seed, self.share)
        shape = settings.DATA.img_size, images.images.shape[1], self.classes
        with seeded(settings.RUN.seed, "weights"):
            denoiser = build_denoiser(settings.MODEL, self.process, *shape)
        self.average: Denoiser = copy.deepcopy(denoiser).to(self.device).eval().requires_grad_(False)
        betas = (settings.OPTIMIZATION.beta1, settings.OPTIMIZATION.beta2)
        optimizer = torch.optim.Adam(denoiser.parameters(), lr=settings.OPTIMIZATION.lr, betas=betas, fused=True)
        self.denoiser, self.optimizer = self.fabric.setup(denoiser, optimizer)

    def advance(self) -> dict[str, Tensor]:
        """Denoise one batch better."""
        optimization, model = self.settings.OPTIMIZATION, self.settings.MODEL
        for group in self.optimizer.param_groups:
            group["lr"] = optimization.lr * min(1.0, (self.step + 1) / max(optimization.warmup_steps, 1))
        terms = self.losses(self.step)
        self.optimizer.zero_grad()
        self.fabric.backward(torch.stack(list(terms.values())).sum())
        self.optimizer.step()
        update_average(self.average, self.denoiser, model.ema_decay if self.step >= model.ema_start else 0.0)
        if self.step + 1 == self.settings.RUN.snapshot_step and self.fabric.is_global_zero:
            save_checkpoint(self.facts() | {"average": self.average.state_dict()}, self.folder / SNAPSHOT)
        return {name: term.detach() for name, term in terms.items()}

    def losses(self, number: int) -> dict[str, Tensor]:
        """The terms of the loss of this process's share of a batch."""
        batch = self._batch(number)
        clean, kinds = self._mixed(batch, number)
        source = generator(self.settings.RUN.seed, "noise", number, device=self.device)
        noise = self.share.of(torch.randn(batch.images.shape, generator=source, device=self.device))
        levels = self.share.of(self.process.draw(len(batch), source, self.device))
        labels = None if batch.labels is None or not self.classes else self.share.of(batch.labels)

        noisy = self.process.noisy(clean, noise, levels)
        prediction = self.denoiser(noisy, levels, kinds, labels)
        terms = {"denoising": self.process.loss(prediction, clean, noise, levels)}
        loss = self.settings.LOSS
        if loss.repulsion_weight:
            denoised, weight = self.process.denoised(prediction, noisy, levels), self.process.weight(levels)
            term = repulsion_from_negatives(
                denoised, self.negatives.of(batch, number), weight, offset=loss.repulsion_offset
            )
            terms["repulsion"] = loss.repulsion_weight * term
        return terms

    def samples(self, count: int) -> Tensor:
        """Images of the averaged denoiser, always from the same noise, guided as ``SAMPLING`` says."""
        sampling, snapshot = self.settings.SAMPLING, None
        if sampling.scale and sampling.away_from == "snapshot":
            if self.step < self.settings.RUN.snapshot_step:
                sampling = replace(sampling, scale=0.0)  # there is none to move away from yet
            else:
                snapshot = load_denoiser(self.folder, SNAPSHOT, self.device)
        return sample(self.average, sampling, count, self.settings.RUN.seed, "samples", snapshot)

    def facts(self) -> State:
        """What the run is about."""
        return {"images": self.fingerprint, "channels": self.images.images.shape[1], "classes": self.classes}

    def stateful(self) -> dict[str, Any]:
        """The denoiser and what trains it."""
        parts = {"average": self.average, "denoiser": self.denoiser, "optimizer": self.optimizer}
        return parts if self.scaler is None else {**parts, "scaler": self.scaler}

    def _batch(self, number: int) -> Images:
        """The real images of all processes, in [-1, 1], and their labels."""
        settings = self.settings
        chosen = self.images[
            batch_indices(len(self.images), settings.OPTIMIZATION.batch_size, settings.RUN.seed, number)
        ]
        labels = None if chosen.labels is None else chosen.labels.to(self.device, non_blocking=True)
        return Images(data.normalize(chosen.images.to(self.device, non_blocking=True)), labels)

    def _mixed(self, batch: Images, number: int) -> Mixed:
        """This process's share of a batch, some images of it replaced by negatives, and what the denoiser is told."""
        augmentation, real = self.settings.AUG, self.share.of(batch.images)
        if not augmentation.apply_nda:
            return Mixed(real, torch.full((len(real),), int(Kind.REAL), device=self.device))
        source = generator(self.settings.RUN.seed, "kinds", number, device=self.device)
        drawn = draw_kinds(
            len(batch), augmentation.nda_share, augmentation.nda_drop, generator=source, device=self.device
        )
        own = {name: self.share.of(flags) for name, flags in drawn.items()}
        return mix_kinds(real, self.negatives.of(batch, number), params=own)


@command
def main(
    overrides: Annotated[list[str] | None, typer.Argument(help="SECTION.key=value, such as RUN.seed=1")] = None,
    path: Annotated[Path, typer.Option("--config", help="A YAML file")] = DIGITS,
) -> None:
    """Train a diffusion or flow model, or go on with a run that was stopped."""
    folder = train(config.load(path, overrides or ()))
    rank_zero_only(console.print)(f"Samples, logs and checkpoint are in {folder}", soft_wrap=True)


if __name__ == "__main__":
    typer.run(main)
