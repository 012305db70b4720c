"""Recognise actions with the encoder of a run: ``python -m examples.video.recognize RUN_FOLDER [KEY=VALUE ...]``.

Data, encoder and views are those of the run until words say otherwise. ``START.frozen=true`` is a linear probe,
``START.weights=random`` the same network without what it has learned. What a run writes, and how it goes on, is said in
``examples/common/fitting.py``.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from torch import nn

from examples.common.data import check_batch
from examples.common.fitting import CHECKPOINT, STATE, Results, Training, fit
from examples.common.randomness import seeded
from examples.common.runs import command, file_of
from examples.common.settings import flat
from examples.video import config, data
from examples.video.recognition import Config, Recognition, accuracy
from examples.video.train import make_network
from nda_augment._files import load_checkpoint, restoring

console = Console()
_TAKEN = ("DATA.", "MODEL.", "AUG.", "RUN.seed", "RUN.accelerator", "RUN.threads", "RUN.progress")


def settings_of(folder: Path, overrides: Sequence[str]) -> Config:
    """The settings of a run on top of the run in a folder.

    Raises:
        ConfigError: If the folder holds no run, or a word does not fit.
    """
    file_of(folder, CHECKPOINT)
    earlier = flat(config.load(folder / "config.yaml"))
    taken = [f"{key}={json.dumps(value)}" for key, value in earlier.items() if key.startswith(_TAKEN)]
    return Config.load(None, [*taken, f"START.run={folder}", f"RUN.save_dir={folder / 'recognition'}", *overrides])


def recognize(settings: Config) -> Results:
    """Train a classifier on the encoder of a run, or go on with one that was stopped, and test it."""

    def begin() -> Training:
        training, test = data.load(settings.DATA)
        check_batch(training, settings.OPTIMIZATION.batch_size)
        with seeded(settings.RUN.seed, "weights"):
            encoder, features = make_network(settings.MODEL)
        if settings.START.weights == "learned":
            take_up(encoder, Path(settings.START.run))
        module = Recognition(settings, training, encoder, features)
        return Training(module, lambda: accuracy(module, test))

    return fit(settings, begin)


def take_up(encoder: nn.Module, folder: Path) -> None:
    """Give an encoder the weights that a run of examples.video.train has learned.

    Raises:
        CheckpointError: If its checkpoint is damaged, or of another network.
    """
    saved = folder / CHECKPOINT
    state = load_checkpoint(saved, STATE)["state_dict"]
    with restoring(saved):
        encoder.load_state_dict(
            {name.removeprefix("backbone."): value for name, value in state.items() if name.startswith("backbone.")}
        )


@command
def main(
    folder: Annotated[Path, typer.Argument(help="The folder of a run of examples.video.train")],
    overrides: Annotated[list[str] | None, typer.Argument(help="SECTION.key=value, such as START.frozen=true")] = None,
) -> None:
    """Recognise actions with the encoder of a run, or go on with one that was stopped."""
    settings = settings_of(folder, overrides or ())
    results = recognize(settings)
    console.print(f"accuracy {results['top1']:.1%}, of one clip {results['top1 of one clip']:.1%}")
    console.print(f"Logs, checkpoint and results are in {settings.RUN.save_dir}")


if __name__ == "__main__":
    typer.run(main)
