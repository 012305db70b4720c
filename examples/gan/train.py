"""Train a GAN, with negatives or without: ``python -m examples.gan.train --config FILE [SECTION.key=value ...]``.

A run writes into ``RUN.save_dir``: ``config.yaml``, ``checkpoint.pt``, ``samples/`` and TensorBoard logs. Started
again it goes on from its checkpoint, and on one machine ends with the same weights, bit for bit, as if it had never
stopped (on a GPU, as far as its kernels are deterministic).
"""

import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, cast

import torch
import typer
from lightning.fabric import Fabric
from lightning.fabric.loggers.tensorboard import TensorBoardLogger
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.table import Column
from torch import Tensor, nn

import nda_augment as nda
from examples.gan import checkpoint, config, data, pictures
from examples.gan.config import DIGITS, Config
from examples.gan.data import Images
from examples.gan.models import Discriminator, Generator, update_average
from examples.gan.pictures import Row
from examples.gan.randomness import batch_indices, generator

CHECKPOINT = "checkpoint.pt"
console = Console()


def train(settings: Config) -> Path:
    """Train to ``OPTIMIZATION.total_steps``, from the run's checkpoint if it has one.

    Args:
        settings: A checked config, see :func:`examples.gan.config.load`.

    Returns:
        The run's folder.

    Raises:
        ConfigError: If the folder holds a run with other settings, or one that is already further.
        ValueError: If the data cannot be read, or do not fill one batch.
    """
    folder = Path(settings.RUN.save_dir)
    (folder / "samples").mkdir(parents=True, exist_ok=True)
    checkpoint.sweep(folder / CHECKPOINT)
    if settings.RUN.threads:
        torch.set_num_threads(settings.RUN.threads)
    training, _ = data.load(settings.DATA)
    batch_size, updates = settings.OPTIMIZATION.batch_size, settings.OPTIMIZATION.d_updates_per_step
    if len(training) < batch_size:
        raise ValueError(f"{len(training)} training images do not fill a batch of {batch_size}")

    run = Training(settings, training)
    if (folder / CHECKPOINT).exists():
        run.load_state_dict(checkpoint.load(folder / CHECKPOINT))
        console.print(f"{folder}: going on from step {run.step}", soft_wrap=True)
    config.save(settings, folder / "config.yaml")
    logger = TensorBoardLogger(folder, name="", version="", purge_step=run.step + 1)
    every = settings.RUN

    bar, task = _progress(settings, run.step)
    with bar:
        while run.step < settings.OPTIMIZATION.total_steps:
            first = run.step * updates
            for batch in range(first, first + updates):
                indices = batch_indices(len(training), batch_size, every.seed, batch)
                real = data.normalize(training.images[indices].to(run.device, non_blocking=True))
                terms = run.discriminator_step(real, batch)
            generator_loss = run.generator_step()
            run.step += 1

            last = run.step == settings.OPTIMIZATION.total_steps
            if last or run.step % every.print_freq == 0:
                row = run.log(real, terms, generator_loss)
                logger.log_metrics({name: value for name, value in row.items() if name != "step"}, run.step)
                bar.update(task, losses=_describe(row))
            if last or run.step % every.sample_freq == 0:
                picture = pictures.grid(run.samples(100))
                pictures.save_png(picture, folder / "samples" / f"{run.step:06}.png")
                logger.experiment.add_image("samples", picture, run.step)
            if last or run.step % every.save_freq == 0:
                checkpoint.save(run.state_dict(), folder / CHECKPOINT)
            bar.advance(task)
    logger.finalize("success")
    return folder


@dataclass
class Player:
    """A network and its optimizer."""

    network: nn.Module
    optimizer: torch.optim.Optimizer


class Training:
    """The state of a run and the steps that change it."""

    def __init__(self, settings: Config, training: Images) -> None:
        self.settings = settings
        self.fingerprint = training.fingerprint()
        self.kind = cast(nda.losses.GANKind, settings.LOSS.adv_loss)
        self.negatives = nda.from_policy(settings.AUG.nda_policy)
        precision = cast(Any, settings.RUN.precision)
        self.fabric = Fabric(accelerator=settings.RUN.accelerator, devices=1, precision=precision)
        self.device = self.fabric.device
        self.step = 0
        self.history: list[Row] = []

        size, sizes, optimization = settings.DATA.img_size, settings.MODEL, settings.OPTIMIZATION
        channels = training.images.shape[1]
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(generator(settings.RUN.seed, "weights").initial_seed())
            generative = Generator(size, channels, sizes.z_dim, sizes.g_conv_dim)
            discriminative = Discriminator(size, channels, sizes.d_conv_dim)
        self.average = copy.deepcopy(generative).to(self.device).eval().requires_grad_(False)
        self.generator = self._player(generative, optimization.g_lr)
        self.discriminator = self._player(discriminative, optimization.d_lr)

    def discriminator_step(self, real: Tensor, batch: int) -> nda.losses.DiscriminatorTerms:
        """Tell real images from generated ones and, at λ < 1, from negatives."""
        network = self.discriminator.network
        with torch.no_grad():
            fake = self.generator.network(self._latents("D latent", batch))
        real_logits, fake_logits, negative_logits = network(real), network(fake), None
        if self.settings.fake_weight < 1:
            negative_logits = network(self._negatives(real, batch))
        terms = nda.losses.discriminator_terms(real_logits, fake_logits, negative_logits, kind=self.kind)
        self._descend(self.discriminator, terms.total(self.settings.fake_weight))
        return terms

    def generator_step(self) -> Tensor:
        """Look real to the discriminator; negatives play no part."""
        self.discriminator.network.requires_grad_(False)
        fake = self.generator.network(self._latents("G latent", self.step))
        loss = nda.losses.generator_loss(self.discriminator.network(fake), kind=self.kind)
        self._descend(self.generator, loss)
        self.discriminator.network.requires_grad_(True)

        model = self.settings.MODEL
        decay = model.g_ema_decay if self.step >= model.g_ema_start else 0.0
        update_average(self.average, self.generator.network, decay)
        return loss.detach()

    def log(self, real: Tensor, terms: nda.losses.DiscriminatorTerms, generator_loss: Tensor) -> Row:
        """Add a row to the history: the terms of the last batch, unweighted, and the real-negative logit gap."""
        gap = self._measure_gap(real) if terms.logit_gap is None else terms.logit_gap
        values = {"real": terms.real, "fake": terms.fake, "negative": terms.negative, "generator": generator_loss}
        row: Row = {"step": self.step}
        row |= {name: value.item() for name, value in values.items() if value is not None}
        row["gap"] = gap.item()
        self.history.append(row)
        return row

    @torch.no_grad()
    def samples(self, count: int) -> Tensor:
        """Images of the averaged generator, always from the same latents: ``(count, C, H, W)`` in [-1, 1]."""
        return sample(self.average, count, self.settings.MODEL.z_dim, self.settings.RUN.seed, "samples")

    def state_dict(self) -> checkpoint.State:
        """All that a run needs to go on: tensors, numbers and words."""
        return {
            "config": self.settings.to_dict(),
            "images": self.fingerprint,
            "step": self.step,
            "history": self.history,
            "average": self.average.state_dict(),
            "generator": self.generator.network.state_dict(),
            "generator_optimizer": self.generator.optimizer.state_dict(),
            "discriminator": self.discriminator.network.state_dict(),
            "discriminator_optimizer": self.discriminator.optimizer.state_dict(),
        }

    def load_state_dict(self, state: checkpoint.State) -> None:
        """Go on from a saved state; it must come from the same settings and images, and not from further on."""
        _check_same_run(state, self.settings, self.fingerprint)
        self.step = state["step"]
        self.history = state["history"]
        self.average.load_state_dict(state["average"])
        for name, player in (("generator", self.generator), ("discriminator", self.discriminator)):
            player.network.load_state_dict(state[name])
            player.optimizer.load_state_dict(state[f"{name}_optimizer"])

    def _player(self, network: nn.Module, learning_rate: float) -> Player:
        network = network.to(memory_format=torch.channels_last)  # a quarter faster, on CPUs as well
        betas = (self.settings.OPTIMIZATION.beta1, self.settings.OPTIMIZATION.beta2)
        optimizer = torch.optim.Adam(network.parameters(), lr=learning_rate, betas=betas)
        return Player(*self.fabric.setup(network, optimizer))

    def _descend(self, player: Player, loss: Tensor) -> None:
        player.optimizer.zero_grad()
        self.fabric.backward(loss)
        player.optimizer.step()

    def _latents(self, purpose: str, counter: int) -> Tensor:
        shape = (self.settings.OPTIMIZATION.batch_size, self.settings.MODEL.z_dim)
        source = generator(self.settings.RUN.seed, purpose, counter, device=self.device)
        return torch.randn(shape, generator=source, device=self.device)

    def _negatives(self, real: Tensor, batch: int) -> Tensor:
        source = generator(self.settings.RUN.seed, "negatives", batch, device=self.device)
        negatives: Tensor = self.negatives(real, generator=source)
        return negatives

    @torch.no_grad()
    def _measure_gap(self, real: Tensor) -> Tensor:
        """The gap of a run that trains without negatives, measured so that it leaves no trace in the run."""
        network = self.discriminator.network.eval()  # spectral norms hold still
        gap: Tensor = network(real).mean() - network(self._negatives(real, self.step)).mean()
        network.train()
        return gap


def sample(network: nn.Module, count: int, z_dim: int, seed: int, purpose: str) -> Tensor:
    """Images of a generator in eval mode, a function of seed and purpose: ``(count, C, H, W)`` in [-1, 1]."""
    device = next(network.parameters()).device
    latents = torch.randn(count, z_dim, generator=generator(seed, purpose, device=device), device=device)
    with torch.no_grad():
        return torch.cat([network(some) for some in torch.split(latents, 256)])


def _check_same_run(state: checkpoint.State, settings: Config, fingerprint: str) -> None:
    folder = settings.RUN.save_dir
    saved, given = _flat(state["config"]), _flat(settings.to_dict())
    free = {"OPTIMIZATION.total_steps", "DATA.path", *(key for key in given if key.startswith("RUN."))} - {"RUN.seed"}
    differing = [
        f"{key} (was {saved.get(key)!r}, now {given.get(key)!r})"
        for key in given.keys() | saved.keys()
        if key not in free and saved.get(key) != given.get(key)
    ]
    if differing:
        raise config.ConfigError(
            f"{folder} holds a run with other settings: {', '.join(sorted(differing))}. "
            "Choose another RUN.save_dir, or remove that folder"
        )
    if state["images"] != fingerprint:
        raise config.ConfigError(f"{folder} holds a run on other images than those that DATA now names")
    if state["step"] > settings.OPTIMIZATION.total_steps:
        raise config.ConfigError(
            f"{folder} is already at step {state['step']}, beyond "
            f"OPTIMIZATION.total_steps={settings.OPTIMIZATION.total_steps}"
        )


def _flat(sections: dict[str, dict[str, Any]]) -> dict[str, Any]:
    return {f"{section}.{key}": value for section, values in sections.items() for key, value in values.items()}


def _progress(settings: Config, step: int) -> tuple[Progress, TaskID]:
    columns = (
        TextColumn("[bold]{task.description}"),
        BarColumn(bar_width=12),
        TaskProgressColumn(),
        TimeRemainingColumn(compact=True),
        TextColumn("{task.fields[losses]}", table_column=Column(no_wrap=True)),
    )
    bar = Progress(*columns, console=console)
    name, total = Path(settings.RUN.save_dir).name, settings.OPTIMIZATION.total_steps
    return bar, bar.add_task(name, total=total, completed=step, losses="")


def _describe(row: Row) -> str:
    short = {"negative": "neg", "generator": "gen"}
    return " ".join(f"{short.get(name, name)} {value:.2f}" for name, value in row.items() if name != "step")


def main(
    overrides: Annotated[list[str] | None, typer.Argument(help="SECTION.key=value, such as RUN.seed=1")] = None,
    path: Annotated[Path, typer.Option("--config", help="A YAML file")] = DIGITS,
) -> None:
    """Train a GAN, or go on with a run that was stopped."""
    try:
        folder = train(config.load(path, overrides or ()))
    except config.ConfigError as error:
        raise typer.BadParameter(str(error)) from error
    console.print(f"Samples, logs and checkpoint are in {folder}", soft_wrap=True)


if __name__ == "__main__":
    typer.run(main)
