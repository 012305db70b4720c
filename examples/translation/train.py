"""Train pix2pix, with negatives or without: ``python -m examples.translation.train [SECTION.key=value ...]``.

A negative is the true photograph, torn apart, beside its true edges: all that is wrong with the pair is how the
photograph is arranged. A run writes ``config.yaml``, ``checkpoint.pt`` and ``samples/`` into ``RUN.save_dir``, and goes
on from its checkpoint when started again, with the same result bit for bit as if it had never stopped.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, cast

import torch
import typer
from lightning.fabric import Fabric
from rich.console import Console
from torch import Tensor, nn
from torch.nn import functional as F

import nda_augment as nda
from examples.common import pictures
from examples.common.data import check_batch
from examples.common.randomness import batch_indices, generator, seeded
from examples.common.runs import Watch, check_finite, check_same_images, check_same_run, command, hold
from examples.common.settings import ConfigError, flatten
from examples.translation import config, data
from examples.translation.config import Config
from examples.translation.data import Pairs
from examples.translation.models import PatchDiscriminator, UNet
from nda_augment._files import State, load_checkpoint, restoring, save_checkpoint

CHECKPOINT = "checkpoint.pt"
FREE = ("OPTIMIZATION.total_steps", "DATA.path", "RUN.")  # what may change between the parts of a run
BOUND = ("RUN.seed", "RUN.precision")  # and what of it may not
STATE = {"config": dict, "images": str, "step": int, "history": list, "translator": dict}

Row = dict[str, float]
console = Console()


def train(settings: Config) -> Path:
    """Train to ``OPTIMIZATION.total_steps``, from the run's checkpoint if it has one. Returns the run's folder.

    Raises:
        ConfigError: If the folder holds a run with other settings or images, or one that is already further.
        ValueError: If the data cannot be read, or do not fill one batch.
    """
    folder = Path(settings.RUN.save_dir)
    if settings.RUN.threads:
        torch.set_num_threads(settings.RUN.threads)
    training, held_out = data.load(settings.DATA)
    batch_size = settings.OPTIMIZATION.batch_size
    check_batch(training, batch_size)
    run = Training(settings, training)
    with hold(folder / CHECKPOINT):
        _train(run, held_out, folder)
    return folder


def _train(run: "Training", held_out: Pairs, folder: Path) -> None:
    if (folder / CHECKPOINT).exists():
        run.load_state_dict(load_checkpoint(folder / CHECKPOINT, STATE))
        console.print(f"{folder}: going on from step {run.step}", soft_wrap=True)
    run.settings.save(folder / "config.yaml")
    every, total = run.settings.RUN, run.settings.OPTIMIZATION.total_steps
    watch = Watch(every=1 if run.device.type == "cpu" else every.print_freq)
    while run.step < total:
        row = run.advance()
        watch.see(run.step, {name: value for name, value in row.items() if name != "step"})
        last = run.step == total
        if last or run.step % every.print_freq == 0:
            logged = {name: value if name == "step" else float(value) for name, value in row.items()}
            run.history.append(logged)
            losses = " ".join(f"{name} {value:.3f}" for name, value in logged.items() if name != "step")
            console.print(f"{folder.name} {run.step}/{total} {losses}", soft_wrap=True)
        if last or run.step % every.sample_freq == 0:
            picture = sample_grid(run.translator.network, held_out)
            pictures.save_png(picture, folder / "samples" / f"{run.step:06}.png")
        if last or run.step % every.save_freq == 0:
            watch.look()
            state = run.state_dict()
            check_finite(state, run.step)
            save_checkpoint(state, folder / CHECKPOINT)


@dataclass
class Player:
    """A network and its optimizer."""

    network: nn.Module
    optimizer: torch.optim.Optimizer


class Training:
    """The state of a run and the step that changes it."""

    def __init__(self, settings: Config, training: Pairs) -> None:
        self.settings, self.training = settings, training
        pixels = training.photographs.contiguous().numpy()
        self.fingerprint = hashlib.sha256(pixels.data).hexdigest()
        self.kind = cast(nda.losses.GANKind, settings.LOSS.adv_loss)
        self.negatives = nda.from_policy(settings.AUG.nda_policy)
        precision = cast(Any, settings.RUN.precision)
        self.fabric = Fabric(accelerator=settings.RUN.accelerator, devices=1, precision=precision)
        self.device = self.fabric.device
        self.step = 0
        self.history: list[Row] = []
        with seeded(settings.RUN.seed, "weights"):
            translator = UNet(settings.DATA.img_size, settings.MODEL.g_conv_dim)
            discriminator = PatchDiscriminator(settings.MODEL.d_conv_dim)
        self.translator = self._player(translator, settings.OPTIMIZATION.g_lr)
        self.discriminator = self._player(discriminator, settings.OPTIMIZATION.d_lr)

    def advance(self) -> dict[str, Any]:
        """Take one step of each player; returns the terms of their losses, unweighted, as tensors on the device."""
        pairs = self._batch()
        translated = self.translator.network(pairs.edges)
        row = self._discriminator_step(pairs, translated.detach())
        row |= self._translator_step(pairs, translated)
        self.step += 1
        return {"step": self.step} | row

    def state_dict(self) -> State:
        """All that a run needs to go on."""
        players = {"translator": self.translator, "discriminator": self.discriminator}
        return {
            "config": self.settings.to_dict(),
            "images": self.fingerprint,
            "step": self.step,
            "history": self.history,
            **{name: player.network.state_dict() for name, player in players.items()},
            **{f"{name}_optimizer": player.optimizer.state_dict() for name, player in players.items()},
        }

    def load_state_dict(self, state: State) -> None:
        """Go on from a saved state; it must come from the same settings and images, and not from further on."""
        folder, last = Path(self.settings.RUN.save_dir), self.settings.OPTIMIZATION.total_steps
        check_same_run(folder, flatten(state["config"]), flatten(self.settings.to_dict()), FREE, BOUND)
        check_same_images(folder, state["images"], self.fingerprint)
        if state["step"] > last:
            raise ConfigError(f"{folder} is already at step {state['step']}, beyond OPTIMIZATION.total_steps={last}")
        self.step, self.history = state["step"], state["history"]
        with restoring(folder / CHECKPOINT):
            for name, player in (("translator", self.translator), ("discriminator", self.discriminator)):
                player.network.load_state_dict(state[name])
                player.optimizer.load_state_dict(state[f"{name}_optimizer"])

    def _batch(self) -> Pairs:
        """The pairs of this step; every other one, by chance, is mirrored."""
        seed, size = self.settings.RUN.seed, self.settings.OPTIMIZATION.batch_size
        chosen = self.training[batch_indices(len(self.training), size, seed, self.step)]
        mirror = torch.rand(size, 1, 1, 1, generator=generator(seed, "mirror", self.step)) < 0.5
        edges, photographs = (
            torch.where(mirror, images.flip(-1), images).to(self.device, non_blocking=True)
            for images in (chosen.edges, chosen.photographs)
        )
        return Pairs(edges, photographs)

    def _discriminator_step(self, pairs: Pairs, translated: Tensor) -> dict[str, Tensor]:
        """Tell real pairs from translated ones and, at λ < 1, from photographs torn apart."""
        judge, weight = self.discriminator.network, self.settings.fake_weight
        negative = None
        if weight < 1:
            source = generator(self.settings.RUN.seed, "negatives", self.step, device=self.device)
            negative = judge(pairs.edges, self.negatives(pairs.photographs, generator=source))
        real, fake = judge(pairs.edges, pairs.photographs), judge(pairs.edges, translated)
        terms = nda.losses.discriminator_terms(real, fake, negative, kind=self.kind)
        self._descend(self.discriminator, terms.total(weight))
        named = {"real": terms.real, "fake": terms.fake, "negative": terms.negative, "gap": terms.logit_gap}
        return {name: term.detach() for name, term in named.items() if term is not None}

    def _translator_step(self, pairs: Pairs, translated: Tensor) -> dict[str, Tensor]:
        """Make pairs that look real, near the true photograph; negatives play no part."""
        self.discriminator.network.requires_grad_(False)
        adversarial = nda.losses.generator_loss(self.discriminator.network(pairs.edges, translated), kind=self.kind)
        distance = F.l1_loss(translated, pairs.photographs)
        self._descend(self.translator, adversarial + self.settings.LOSS.l1_lambda * distance)
        self.discriminator.network.requires_grad_(True)
        return {"translator": adversarial.detach(), "l1": distance.detach()}

    def _player(self, network: nn.Module, learning_rate: float) -> Player:
        betas = (self.settings.OPTIMIZATION.beta1, self.settings.OPTIMIZATION.beta2)
        optimizer = torch.optim.Adam(network.parameters(), lr=learning_rate, betas=betas)
        return Player(*self.fabric.setup(network, optimizer))

    def _descend(self, player: Player, loss: Tensor) -> None:
        player.optimizer.zero_grad()
        self.fabric.backward(loss)
        player.optimizer.step()


@torch.no_grad()
def translate(network: nn.Module, edges: Tensor) -> Tensor:
    """Photographs ``(N, 3, H, W)`` in [-1, 1] of edges, on the CPU."""
    device = next(network.parameters()).device
    return torch.cat([network(some.to(device)).float().cpu() for some in torch.split(edges, 64)])


def sample_grid(network: nn.Module, pairs: Pairs, count: int = 8) -> Tensor:
    """Lay edges, their translations and the true photographs out in three rows: ``(3, H', W')`` uint8."""
    chosen = pairs[torch.linspace(0, len(pairs) - 1, min(count, len(pairs))).round().long()]
    rows = [chosen.edges.expand(-1, 3, -1, -1), translate(network, chosen.edges), chosen.photographs]
    return pictures.grid(torch.cat(rows), columns=len(chosen), scale=1)


def load_translator(folder: Path) -> UNet:
    """Return the translator of a run, in eval mode, on the CPU."""
    settings = config.load(folder / "config.yaml")
    network = UNet(settings.DATA.img_size, settings.MODEL.g_conv_dim)
    network.load_state_dict(load_checkpoint(folder / CHECKPOINT, STATE)["translator"])
    return network.eval().requires_grad_(False)


@command
def main(
    overrides: Annotated[list[str] | None, typer.Argument(help="SECTION.key=value, such as RUN.seed=1")] = None,
    path: Annotated[Path | None, typer.Option("--config", help="A YAML file")] = None,
) -> None:
    """Train pix2pix, or go on with a run that was stopped."""
    folder = train(config.load(path, overrides or ()))
    console.print(f"Samples and checkpoint are in {folder}", soft_wrap=True)


if __name__ == "__main__":
    typer.run(main)
