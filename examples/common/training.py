"""A training counted in steps, on Fabric, in a folder from which it goes on as if it had never stopped."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any, ClassVar

import torch
from lightning.fabric import Fabric
from lightning.fabric.loggers.tensorboard import TensorBoardLogger
from lightning.fabric.plugins import MixedPrecision
from lightning.fabric.utilities import rank_zero_only
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.table import Column
from torch import Tensor, nn

from examples.common import pictures
from examples.common.randomness import Share
from examples.common.runs import Watch, check_finite, check_same_images, check_same_run, hold
from examples.common.settings import ConfigError, flatten
from nda_augment._files import State, load_checkpoint, restoring, save_checkpoint

CHECKPOINT = "checkpoint.pt"
# What every checkpoint of a run holds.
STATE = {"config": dict, "images": str, "step": int, "history": list}
Row = dict[str, float]
console = Console()


class Training(ABC):
    """The state of a run and the step that changes it.

    Args:
        settings: A config with the sections ``OPTIMIZATION`` and ``RUN``.
    """

    free: ClassVar[Sequence[str]]
    """What may change between the parts of a run; all else would make it another run."""
    bound: ClassVar[Sequence[str]] = ("RUN.seed", "RUN.precision")
    """What of it may not."""
    shown: ClassVar[int] = 100
    """How many images a sample grid has."""

    def __init__(self, settings: Any) -> None:
        self.settings, self.folder = settings, Path(settings.RUN.save_dir)
        if settings.RUN.threads:
            torch.set_num_threads(settings.RUN.threads)
        self.scaler, self.fabric = launch(settings.RUN.accelerator, settings.RUN.devices, settings.RUN.precision)
        self.device = self.fabric.device
        self.share = Share(self.fabric.global_rank, self.fabric.world_size)
        self.step = 0
        self.history: list[Row] = []

    @abstractmethod
    def advance(self) -> dict[str, Tensor]:
        """Take one step; returns the terms of its losses, unweighted scalars without gradient."""

    @abstractmethod
    def samples(self, count: int) -> Tensor:
        """Images that show how far the run is, always from the same draws: ``(count, C, H, W)`` in [-1, 1]."""

    @abstractmethod
    def facts(self) -> State:
        """What a checkpoint says beside what changes: ``images``, the fingerprint of the data, and more."""

    @abstractmethod
    def stateful(self) -> dict[str, Any]:
        """The parts whose ``state_dict`` a checkpoint holds, by name."""

    def log(self, terms: Mapping[str, Tensor]) -> Row:
        """Add a row to the history: the terms of the last step, averaged over the processes."""
        row: Row = {"step": self.step} | {name: self.mean(value).item() for name, value in terms.items()}
        self.history.append(row)
        return row

    def go_on_from(self, folder: Path) -> None:
        """Go on from the checkpoint in a folder if there is one, and make the folder ready for the run."""
        self.fabric.barrier()  # the first process makes the folder
        if (folder / CHECKPOINT).exists():
            self.load_state_dict(load_checkpoint(folder / CHECKPOINT, STATE))
            rank_zero_only(console.print)(f"{folder}: going on from step {self.step}", soft_wrap=True)
        self.fabric.barrier()
        if self.fabric.is_global_zero:
            self.settings.save(folder / "config.yaml")

    def save(self, folder: Path) -> None:
        """Write the checkpoint; with several processes the first one does, and the others wait."""
        if self.fabric.is_global_zero:
            state = self.state_dict()
            check_finite(state, self.step)
            save_checkpoint(state, folder / CHECKPOINT)
        self.fabric.barrier()

    def state_dict(self) -> State:
        """All that a run needs to go on: tensors, numbers and words."""
        return {
            "config": self.settings.to_dict(),
            "step": self.step,
            "history": self.history,
            **self.facts(),
            **{name: part.state_dict() for name, part in self.stateful().items()},
        }

    def load_state_dict(self, state: State) -> None:
        """Go on from a saved state; it must come from the same settings and images, and not from further on."""
        folder, last = self.folder, self.settings.OPTIMIZATION.total_steps
        check_same_run(folder, flatten(state["config"]), flatten(self.settings.to_dict()), self.free, self.bound)
        check_same_images(folder, state["images"], self.facts()["images"])
        if state["step"] > last:
            raise ConfigError(f"{folder} is already at step {state['step']}, beyond OPTIMIZATION.total_steps={last}")
        self.step = state["step"]
        self.history = state["history"]
        with restoring(folder / CHECKPOINT):
            for name, part in self.stateful().items():
                part.load_state_dict(state[name])

    def joined(self, values: Tensor) -> Tensor:
        """The values of all processes, without gradient, ``(N,)``."""
        own = values.detach().flatten()
        if self.share.processes == 1:
            return own
        parts = [torch.empty_like(own) for _ in range(self.share.processes)]
        torch.distributed.all_gather(parts, own)
        return torch.cat(parts)

    def mean(self, value: Tensor) -> Tensor:
        """The mean of a number over the processes."""
        return self.joined(value).mean()


def train(run: Training) -> Path:
    """Train to ``OPTIMIZATION.total_steps``, from the run's checkpoint if it has one.

    Returns:
        The run's folder: ``config.yaml``, ``checkpoint.pt``, ``samples/`` and TensorBoard logs.

    Raises:
        ConfigError: If the folder holds a run with other settings, or one that is already further.
        InUseError: If another process has the folder.
        DivergedError: If a loss or a weight is not finite.
    """
    folder = run.folder
    with hold(folder / CHECKPOINT) if run.fabric.is_global_zero else nullcontext():
        _train(run, folder)
    return folder


def _train(run: Training, folder: Path) -> None:
    run.go_on_from(folder)
    every, total = run.settings.RUN, run.settings.OPTIMIZATION.total_steps
    logger = TensorBoardLogger(folder, name="", version="", purge_step=run.step + 1)
    watch = Watch(every.nan_patience, every=1 if run.device.type == "cpu" else every.print_freq)
    bar, task = _progress(folder.name, run.step, total, run.fabric.is_global_zero)
    with bar:
        while run.step < total:
            terms = run.advance()
            run.step += 1
            watch.see(run.step, terms)

            last = run.step == total
            if last or run.step % every.print_freq == 0:
                row = run.log(terms)
                logger.log_metrics({name: value for name, value in row.items() if name != "step"}, run.step)
                bar.update(task, losses=_describe(row))
            if run.fabric.is_global_zero and (last or run.step % every.sample_freq == 0):
                picture = pictures.grid(run.samples(run.shown))
                pictures.save_png(picture, folder / "samples" / f"{run.step:06}.png")
                logger.experiment.add_image("samples", picture, run.step)
            if last or run.step % every.save_freq == 0:
                watch.look()
                run.save(folder)
            bar.advance(task)
    logger.finalize("success")


def launch(accelerator: str, devices: int, precision: Any) -> tuple[torch.amp.GradScaler | None, Fabric]:
    """The launched Fabric of a run, and the scaler of its gradients if they are float16."""
    where: dict[str, Any] = {"accelerator": accelerator, "devices": devices}
    if devices > 1:
        where["strategy"] = "ddp"
    scaler = None
    if precision == "16-mixed":
        # Given as a plugin, since Fabric turns the word into bfloat16 on CPUs.
        device = Fabric(accelerator=accelerator, devices=1).device.type
        scaler = torch.amp.GradScaler(device)
        where["plugins"] = MixedPrecision("16-mixed", device, scaler)
    else:
        where["precision"] = precision
    fabric = Fabric(**where)
    fabric.launch()
    return scaler, fabric


@torch.no_grad()
def update_average(average: nn.Module, model: nn.Module, decay: float) -> None:
    """Move an exponential moving average of a model one step: parameters by ``1 - decay``, buffers all the way."""
    for mean, parameter in zip(average.parameters(), model.parameters(), strict=True):
        mean.lerp_(parameter, 1 - decay)
    for kept, buffer in zip(average.buffers(), model.buffers(), strict=True):
        kept.copy_(buffer)


def _progress(name: str, step: int, total: int, shown: bool) -> tuple[Progress, TaskID]:
    columns = (
        TextColumn("[bold]{task.description}"),
        BarColumn(bar_width=12),
        TaskProgressColumn(),
        TimeRemainingColumn(compact=True),
        TextColumn("{task.fields[losses]}", table_column=Column(no_wrap=True)),
    )
    bar = Progress(*columns, console=console, disable=not shown)
    return bar, bar.add_task(name, total=total, completed=step, losses="")


def _describe(row: Row) -> str:
    short = {"negative": "neg", "generator": "gen"}
    return " ".join(f"{short.get(name, name)} {value:.2f}" for name, value in row.items() if name != "step")
