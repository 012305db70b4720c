"""Train and evaluate a contrastive method, of images or clips, in a folder from which it goes on.

A run writes into ``RUN.save_dir``: ``config.yaml``, ``checkpoint.ckpt`` after every epoch, TensorBoard logs, and at the
end ``results.json``. Started again it goes on from its checkpoint, and on one machine ends with the same weights, bit
for bit, as if it had never stopped (on a GPU, as far as its kernels are deterministic).
"""

import json
import logging
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any, cast

import torch
from lightning_fabric.plugins import TorchCheckpointIO
from pytorch_lightning import Callback, Trainer
from pytorch_lightning.callbacks import ModelCheckpoint, RichProgressBar
from pytorch_lightning.loggers import TensorBoardLogger
from pytorch_lightning.utilities import rank_zero_only
from rich.console import Console

from examples.common.contrastive import methods
from examples.common.contrastive.evaluate import KNNAccuracy, accuracies
from examples.common.contrastive.methods import Parts
from examples.common.contrastive.sections import Config
from examples.common.data import Images, check_batch
from examples.common.runs import DivergedError, check_finite, check_same_run, hold
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


class FiniteLoss(Callback):
    """Stops a run at the first loss that is not finite; with float16 the scaler leaves such steps out."""

    def on_train_batch_end(self, trainer: Trainer, pl_module: Any, outputs: Any, *_: Any) -> None:
        if trainer.precision != "16-mixed" and not outputs["loss"].isfinite():
            raise DivergedError(
                f"at step {trainer.global_step} the loss is {outputs['loss'].item()}. The last checkpoint is from "
                "before; lower OPTIMIZATION.lr and start a new run"
            )


def learn(settings: Config, load: Callable[[], tuple[Images, Images]], parts: Callable[[], Parts]) -> Results:
    """Train to ``OPTIMIZATION.epochs``, from the run's checkpoint if it has one, and evaluate.

    Args:
        settings: A checked config.
        load: Returns the training and the test images; without labels nothing is evaluated.
        parts: Makes the encoder and what goes with it.

    Returns:
        What ``results.json`` holds: accuracies in [0, 1], and the seconds of the last part of the training. Of several
        processes only the first evaluates.

    Raises:
        ConfigError: If the folder holds a run with other settings or on other images, the data cannot be read, or they
            do not fill a batch.
    """
    with prepared(settings) as finished:
        if finished:
            return finished
        training, test = load()
        check_batch(training, settings.OPTIMIZATION.batch_size)
        return _fit(settings, methods.make(settings, training, parts), training, test)


def _fit(settings: Config, method: methods.Contrastive, training: Images, test: Images) -> Results:
    folder = Path(settings.RUN.save_dir)
    if settings.RUN.threads:
        torch.set_num_threads(settings.RUN.threads)
    checkpoints = ModelCheckpoint(
        folder, Path(CHECKPOINT).stem, save_on_train_epoch_end=True, enable_version_counter=False
    )
    callbacks: list[Callback] = [FiniteLoss(), checkpoints]
    labelled = training.labels is not None and test.labels is not None and len(test) > 0
    if labelled:
        callbacks.insert(0, KNNAccuracy(training, test, settings.EVAL))
    if settings.RUN.progress:
        callbacks.append(RichProgressBar())
    saved, started = folder / CHECKPOINT, time.perf_counter()
    with quiet():
        trainer = make_trainer(settings, callbacks)
        trainer.fit(method, ckpt_path=saved if saved.exists() else None, weights_only=True)
        results: Results = {"epochs": trainer.current_epoch, "seconds": round(time.perf_counter() - started, 1)}
        if trainer.is_global_zero:
            if labelled:
                results |= accuracies(method.backbone, training, test, settings.EVAL, settings.RUN.seed)
            else:
                console.print("The images have no labels, or none is held out: nothing is evaluated")
            write_text(json.dumps(results, indent=2) + "\n", folder / RESULTS)
    return results


def make_trainer(settings: Config, callbacks: list[Callback]) -> Trainer:
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
def prepared(settings: Config) -> Iterator[Results | None]:
    """Hold the run's folder and write down its settings; give its results if it is finished.

    Raises:
        ConfigError: If the folder holds a run with other settings.
        InUseError: If another process runs there.
    """
    folder = Path(settings.RUN.save_dir)
    # Of several processes the first has the folder, and starts the others.
    with hold(folder / CHECKPOINT) if _first_process() else nullcontext():
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

    Images are in memory, a folder is meant to be gone on with, and only one process evaluates.
    """

    def __enter__(self) -> None:
        super().__enter__()
        logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)
        for advice in (
            "does not have many workers",
            "exists and is not empty",
            "It is recommended to use `self.log",
            "`isinstance.treespec, LeafSpec.` is deprecated",
        ):
            warnings.filterwarnings("ignore", f".*{advice}")


def say(results: Results, settings: Config) -> None:
    """Say what a run found, and where it is."""
    if "linear" in results:
        console.print(f"kNN {results['knn']:.1%}, linear {results['linear']:.1%}")
    if _first_process():
        console.print(f"Logs, checkpoint and results are in {settings.RUN.save_dir}")


def _results(file: Path) -> Results:
    try:
        results: Results = json.loads(file.read_text())
    except ValueError as error:
        raise ConfigError(f"{file} is damaged; remove it to evaluate again") from error
    return results


def _first_process() -> bool:
    return getattr(rank_zero_only, "rank", 0) == 0
