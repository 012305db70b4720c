"""What trainings by a Lightning Trainer share: a folder from which a run goes on, whole checkpoints, finite losses.

A run writes into ``RUN.save_dir``: ``config.yaml``, ``checkpoint.ckpt`` after every epoch, TensorBoard logs, and at the
end ``results.json``. Started again it goes on from its checkpoint, and on one machine ends with the same weights, bit
for bit, as if it had never stopped (on a GPU, as far as its kernels are deterministic).
"""

import json
import logging
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any, NamedTuple, cast

import torch
from lightning_fabric.plugins import TorchCheckpointIO

# Lightly's evaluation is built on the package of this name, and a Trainer of the package "lightning" refuses it.
from pytorch_lightning import Callback, LightningModule, Trainer
from pytorch_lightning.callbacks import ModelCheckpoint, RichProgressBar
from pytorch_lightning.loggers import TensorBoardLogger
from pytorch_lightning.utilities import rank_zero_only
from rich.console import Console

from examples.common.runs import DivergedError, check_finite, check_same_images, check_same_run, hold
from examples.common.sections import EpochSettings
from examples.common.settings import ConfigError, differences, flat
from nda_augment._files import load_checkpoint, save_checkpoint, write_text

CHECKPOINT = "checkpoint.ckpt"
RESULTS = "results.json"
STATE = {"state_dict": dict, "optimizer_states": list, "epoch": int, "global_step": int, "images": str}
# What may change between the parts of a run; everything else would make it another run.
FREE = (
    "EVAL.",
    "OPTIMIZATION.epochs",
    "RUN.save_dir",
    "RUN.accelerator",
    "RUN.threads",
    "RUN.print_freq",
    "RUN.progress",
)
console = Console()

Results = dict[str, Any]


class AtomicCheckpoints(TorchCheckpointIO):
    """Writes checkpoints so that the file at the path is always a whole one."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        # Not all of it: the callback that writes it keeps an infinity for the best score so far.
        check_finite({key: checkpoint[key] for key in ("state_dict", "optimizer_states")}, checkpoint["global_step"])
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        save_checkpoint(checkpoint, Path(path))

    def load_checkpoint(self, path: Any, *_: Any, **__: Any) -> dict[str, Any]:
        return load_checkpoint(Path(path), STATE)


class OnOwnImages(LightningModule):
    """A module that goes on with the images that its run began with, and no others.

    Attributes:
        settings: Of the run.
        fingerprint: Hash of the images.
    """

    settings: EpochSettings
    fingerprint: str

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["images"] = self.fingerprint

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        check_same_images(Path(self.settings.RUN.save_dir), checkpoint["images"], self.fingerprint)


class FiniteLoss(Callback):
    """Stops a run at the first loss that is not finite; with float16 the scaler leaves such steps out."""

    def on_train_batch_end(self, trainer: Trainer, pl_module: Any, outputs: Any, *_: Any) -> None:
        if trainer.precision != "16-mixed" and not outputs["loss"].isfinite():
            raise DivergedError(
                f"at step {trainer.global_step} the loss is {outputs['loss'].item()}. The last checkpoint is from "
                "before; lower OPTIMIZATION.lr and start a new run"
            )


class Training(NamedTuple):
    """What is trained, and what is measured at the end.

    Attributes:
        module: To be trained.
        evaluate: Returns what is measured on the trained module, plain JSON.
        callbacks: Callbacks beside those that every run has.
    """

    module: LightningModule
    evaluate: Callable[[], Results]
    callbacks: Sequence[Callback] = ()


def fit(settings: EpochSettings, begin: Callable[[], Training]) -> Results:
    """Train to ``OPTIMIZATION.epochs``, from the run's checkpoint if it has one, and evaluate.

    Args:
        settings: A checked config.
        begin: Reads the data and makes what is trained; called if there is something left to do.

    Returns:
        What ``results.json`` holds: what was measured, and the seconds of the last part of the training. Of several
        processes only the first evaluates.

    Raises:
        ConfigError: If the folder holds a run with other settings or on other images, or the data cannot be read.
    """
    with prepared(settings) as finished:
        return finished or _fit(settings, begin())


def _fit(settings: EpochSettings, training: Training) -> Results:
    folder = Path(settings.RUN.save_dir)
    if settings.RUN.threads:
        torch.set_num_threads(settings.RUN.threads)
    checkpoints = ModelCheckpoint(
        folder, Path(CHECKPOINT).stem, save_on_train_epoch_end=True, enable_version_counter=False
    )
    callbacks: list[Callback] = [*training.callbacks, FiniteLoss(), checkpoints]
    if settings.RUN.progress:
        callbacks.append(RichProgressBar())
    saved, started = folder / CHECKPOINT, time.perf_counter()
    with quiet():
        trainer = make_trainer(settings, callbacks)
        trainer.fit(training.module, ckpt_path=saved if saved.exists() else None, weights_only=True)
        results: Results = {"epochs": trainer.current_epoch, "seconds": round(time.perf_counter() - started, 1)}
        if trainer.is_global_zero:
            results |= training.evaluate()
            write_text(json.dumps(results, indent=2) + "\n", folder / RESULTS)
    return results


def make_trainer(settings: EpochSettings, callbacks: list[Callback]) -> Trainer:
    """The Trainer of a run; batches know their process, so no sampler is put in their way."""
    return Trainer(
        max_epochs=settings.OPTIMIZATION.epochs,
        accelerator=settings.RUN.accelerator,
        devices=settings.RUN.devices,
        precision=cast(Any, settings.RUN.precision),
        logger=TensorBoardLogger(settings.RUN.save_dir, name="", version=""),
        callbacks=callbacks,
        plugins=[AtomicCheckpoints()],
        enable_progress_bar=settings.RUN.progress,
        enable_model_summary=False,
        log_every_n_steps=settings.RUN.print_freq,
        num_sanity_val_steps=0,
        use_distributed_sampler=False,
        reload_dataloaders_every_n_epochs=1,
    )


@contextmanager
def prepared(settings: EpochSettings) -> Iterator[Results | None]:
    """Hold the run's folder and write down its settings; give its results if it is finished.

    Raises:
        ConfigError: If the folder holds a run with other settings.
        InUseError: If another process runs there.
    """
    folder = Path(settings.RUN.save_dir)
    # Of several processes the first has the folder, and starts the others.
    with hold(folder / CHECKPOINT) if first_process() else nullcontext():
        written = folder / "config.yaml"
        if (folder / CHECKPOINT).exists():
            now, earlier = flat(settings), flat(type(settings).load(written))
            check_same_run(folder, earlier, now, FREE)
            done, asked = load_checkpoint(folder / CHECKPOINT, STATE)["epoch"] + 1, settings.OPTIMIZATION.epochs
            if done > asked:
                raise ConfigError(f"{folder} has {done} epochs already, more than OPTIMIZATION.epochs={asked}")
            evaluated_so = not any(key.startswith("EVAL.") for key in differences(now, earlier))
            if done == asked and evaluated_so and (folder / RESULTS).exists():
                console.print(f"{folder}: finished already")
                yield _results(folder / RESULTS)
                return
            console.print(f"{folder}: going on from {CHECKPOINT}")
        (folder / RESULTS).unlink(missing_ok=True)
        settings.save(written)
        yield None


class quiet(warnings.catch_warnings):  # noqa: N801  # a context manager
    """Without Lightning's advice that does not apply, and what it has to say about other software.

    Images are in memory, a folder is meant to be gone on with, only one process evaluates, what is frozen is in
    eval mode, and a linear layer is validated when it is done.
    """

    def __enter__(self) -> None:
        super().__enter__()
        logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)
        for advice in (
            "does not have many workers",
            "exists and is not empty",
            "It is recommended to use `self.log",
            "You defined a `validation_step` but have no",
            r"Found \d+ module\(s\) in eval mode",
            "`isinstance.treespec, LeafSpec.` is deprecated",
        ):
            warnings.filterwarnings("ignore", f".*{advice}")


def first_process() -> bool:
    """Whether this process is the one that starts the others, and speaks for them."""
    return getattr(rank_zero_only, "rank", 0) == 0


def _results(file: Path) -> Results:
    try:
        results: Results = json.loads(file.read_text())
    except ValueError as error:
        raise ConfigError(f"{file} is damaged; remove it to evaluate again") from error
    return results
