"""Learn features of clips: ``python -m examples.video.train --config FILE [KEY=VALUE ...]``.

A run writes into ``RUN.save_dir``: ``config.yaml``, ``checkpoint.ckpt`` after every epoch, TensorBoard logs, and at the
end ``results.json``. Started again it goes on from its checkpoint, and on one machine ends with the same weights, bit
for bit, as if it had never stopped (on a GPU, as far as its kernels are deterministic).
"""

import json
import time
from pathlib import Path
from typing import Annotated, cast

import torch
import typer
from pytorch_lightning import Callback
from pytorch_lightning.callbacks import ModelCheckpoint, RichProgressBar
from rich.console import Console

from examples import settings as sections
from examples.contrastive import config as contrastive
from examples.contrastive.train import CHECKPOINT, FREE, RESULTS, Results, make_trainer, quiet, write
from examples.gan import checkpoint as atomic
from examples.settings import ConfigError
from examples.video import config, data, methods
from examples.video.config import DIGITS, Config
from examples.video.evaluate import KNNAccuracy, accuracies

console = Console()


def train(settings: Config) -> Results:
    """Train to ``OPTIMIZATION.epochs``, from the run's checkpoint if it has one, and evaluate.

    Args:
        settings: A checked config, see :func:`examples.video.config.load`.

    Returns:
        What ``results.json`` holds: accuracies in [0, 1], and the seconds of the last part of the training. Of several
        processes only the first evaluates.

    Raises:
        ConfigError: If the folder holds a run with other settings.
        ValueError: If the clips cannot be read, or do not fill one batch.
    """
    folder = Path(settings.RUN.save_dir)
    finished = prepare(folder, settings)
    if finished:
        return finished
    if settings.RUN.threads:
        torch.set_num_threads(settings.RUN.threads)
    training, test = data.load(settings.DATA)
    method = methods.make(settings, training)
    callbacks: list[Callback] = [
        KNNAccuracy(training, test, settings.EVAL),
        ModelCheckpoint(folder, Path(CHECKPOINT).stem, save_on_train_epoch_end=True, enable_version_counter=False),
    ]
    if settings.RUN.progress:
        callbacks.append(RichProgressBar())
    saved, started = folder / CHECKPOINT, time.perf_counter()
    with quiet():
        # The Trainer's settings are those of examples.contrastive, under the same names.
        trainer = make_trainer(cast(contrastive.Config, settings), callbacks)
        trainer.fit(method, ckpt_path=saved if saved.exists() else None, weights_only=True)
        results: Results = {"epochs": trainer.current_epoch, "seconds": round(time.perf_counter() - started, 1)}
        if trainer.is_global_zero:
            results |= accuracies(method.backbone, training, test, settings.EVAL, settings.RUN.seed)
            write(json.dumps(results, indent=2) + "\n", folder / RESULTS)
    return results


def prepare(folder: Path, settings: Config) -> Results | None:
    """Make the run's folder and write down its settings; return its results if it is finished.

    Raises:
        ConfigError: If the folder holds a run with other settings.
    """
    folder.mkdir(parents=True, exist_ok=True)
    written = folder / "config.yaml"
    if (folder / CHECKPOINT).exists():
        differing = config.differences(settings, config.load(written))
        other = [f"{key} ({how})" for key, how in differing.items() if not key.startswith(FREE)]
        if other:
            raise ConfigError(
                f"{folder} holds a run with other settings: {', '.join(other)}. "
                "Choose another RUN.save_dir, or remove that folder"
            )
        if (folder / RESULTS).exists() and not any(key.startswith("EVAL.") for key in differing):
            console.print(f"{folder}: finished already")
            results: Results = json.loads((folder / RESULTS).read_text())
            return results
        console.print(f"{folder}: going on from {CHECKPOINT}")
    atomic.sweep(folder / CHECKPOINT)
    (folder / RESULTS).unlink(missing_ok=True)
    write(sections.to_yaml(settings), written)
    return None


def main(
    overrides: Annotated[list[str] | None, typer.Argument(help="SECTION.key=value, such as RUN.seed=1")] = None,
    path: Annotated[Path, typer.Option("--config", help="A YAML file")] = DIGITS,
) -> None:
    """Learn features of clips, or go on with a run that was stopped, and evaluate them."""
    try:
        settings = config.load(path, overrides or ())
        results = train(settings)
    except ConfigError as error:
        raise typer.BadParameter(str(error)) from error
    if "linear" in results:
        console.print(f"kNN {results['knn']:.1%}, linear {results['linear']:.1%}")
        console.print(f"Logs, checkpoint and results are in {settings.RUN.save_dir}")


if __name__ == "__main__":
    typer.run(main)
