"""What every run does: hold its folder, refuse what belongs to another run, stop at NaN, end in one line."""

import functools
import json
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ParamSpec

import torch
import typer
from rich.console import Console
from torch import Tensor

from examples.common.settings import ConfigError, differences
from nda_augment._files import CheckpointError, InUseError, lock, sweep, write_text

P = ParamSpec("P")
console = Console(stderr=True)


class DivergedError(RuntimeError):
    """A loss or a weight is not finite: the run cannot get well again by itself."""


@contextmanager
def hold(checkpoint: Path) -> Iterator[None]:
    """Make the folder of a run, keep other processes out of it, and remove what kills have left.

    Raises:
        InUseError: If another process has it.
    """
    checkpoint.parent.mkdir(parents=True, exist_ok=True)
    with lock(checkpoint):
        sweep(checkpoint)
        yield


def check_same_run(
    folder: Path, saved: Mapping[str, Any], given: Mapping[str, Any], free: Sequence[str], bound: Sequence[str] = ()
) -> None:
    """Refuse to go on with a run of other settings.

    Args:
        folder: The folder of the run.
        saved: Its settings by full key.
        given: The settings to go on with.
        free: Keys, or beginnings of keys, that may change.
        bound: Keys among those that may not.

    Raises:
        ConfigError: If others differ; they are named.
    """
    changes = differences(given, saved)
    differing = [f"{k} ({how})" for k, how in changes.items() if k in bound or not k.startswith(tuple(free))]
    if differing:
        raise ConfigError(
            f"{folder} holds a run with other settings: {', '.join(differing)}. "
            "Choose another RUN.save_dir, or remove that folder"
        )


def check_same_images(folder: Path, saved: str, given: str) -> None:
    """Refuse to go on with a run on other images, by their fingerprints.

    Raises:
        ConfigError: If they differ.
    """
    if saved != given:
        raise ConfigError(f"{folder} holds a run on other images than those that DATA now names")


def file_of(folder: Path, name: str) -> Path:
    """Return the path of a file that every run writes into its folder.

    Raises:
        ConfigError: If it is not there.
    """
    path = folder / name
    if not path.exists():
        raise ConfigError(f"{folder} is no folder of a run: it has no {name}")
    return path


class Watch:
    """Stops a run at the first loss that is not finite.

    Losses are looked at when they are many, so that no step waits for the device; what is told is exact all the same.

    Args:
        patience: How many steps in a row may have such a loss. More than 0 is for float16, whose scaler leaves these
            steps out and tries a smaller scale.
        every: How many steps are looked at together; 1 on a CPU.
    """

    def __init__(self, patience: int = 0, every: int = 1) -> None:
        self.patience, self.every = patience, every
        self._in_a_row = 0
        self._seen: list[tuple[int, Sequence[str], Tensor]] = []

    def see(self, step: int, losses: Mapping[str, Tensor]) -> None:
        """Take note of the losses of a step, scalars by name.

        Raises:
            DivergedError: If one is not finite, here or in an earlier step that was not looked at yet.
        """
        values = torch.stack([loss.detach().float() for loss in losses.values()])
        self._seen.append((step, list(losses), values))
        if len(self._seen) >= self.every:
            self.look()

    def look(self) -> None:
        """Look at what was noted; to be called before a checkpoint is written."""
        seen, self._seen = self._seen, []
        for step, names, values in seen:
            bad = {
                name: value for name, value in zip(names, values.tolist(), strict=True) if not abs(value) < torch.inf
            }
            self._in_a_row = self._in_a_row + 1 if bad else 0
            if self._in_a_row > self.patience:
                terms = ", ".join(f"{name} = {value}" for name, value in bad.items())
                raise DivergedError(
                    f"at step {step} the loss is not finite: {terms}. The last checkpoint is from before; lower the "
                    "learning rates and start a new run, or look at what the images are"
                )


def check_finite(state: Mapping[str, Any], step: int) -> None:
    """Refuse to save a state that holds NaN or infinity, naming the part.

    Raises:
        DivergedError: If it does.
    """
    for name, part in state.items():
        if not all(tensor.isfinite().all() for tensor in _floats(part)):
            raise DivergedError(f"at step {step} {name} has weights that are not finite. The last checkpoint is kept")


def once(file: Path, given: Mapping[str, Any], run: Callable[[], Any]) -> Any:
    """What a run found, from its file if it has one; the file is written, whole, when the run is done.

    Args:
        file: A JSON file.
        given: The settings of the run; plain JSON.
        run: Returns what it finds, plain JSON.

    Raises:
        ConfigError: If the file holds a run with other settings.
    """
    if file.exists():
        try:
            saved = json.loads(file.read_text())
            settings, results = saved["config"], saved["results"]
        except (ValueError, KeyError, TypeError) as error:
            raise ConfigError(f"{file} is damaged, or holds no results; remove it to run again") from error
        if settings != json.loads(json.dumps(given)):
            raise ConfigError(f"{file} holds a run with other settings; choose another folder, or remove it")
        return results
    results = run()
    write_text(json.dumps({"config": given, "results": results}, indent=1) + "\n", file)
    return results


def parse_arms(words: Sequence[str], arms: Collection[str]) -> dict[str, int]:
    """How many seeds for each arm of a comparison: three for ``name=3``, one for ``name``.

    Raises:
        ConfigError: If a word is none of these, or names an arm that there is not.
    """
    seeds_of = {}
    for word in words:
        name, _, seeds = word.partition("=")
        if name not in arms or not (seeds or "1").isdecimal() or seeds == "0":
            raise ConfigError(f"an arm is NAME or NAME=SEEDS with one of {', '.join(arms)}, got {word!r}")
        seeds_of[name] = int(seeds or 1)
    return seeds_of


def command(function: Callable[P, None]) -> Callable[P, None]:
    """Let a program end in one line where its user can mend what is wrong, and where its user stops it."""

    @functools.wraps(function)
    def guarded(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            function(*args, **kwargs)
        except ConfigError as error:
            raise typer.BadParameter(str(error)) from error
        except (CheckpointError, InUseError, DivergedError, ImportError) as error:
            _end(str(error), 1)
        except OSError as error:
            place = f": {error.filename}" if error.filename else ""
            _end(
                f"{error.strerror or error}{place}. What was saved is whole: mend this, and the same command goes on", 1
            )
        except KeyboardInterrupt:
            _end("Stopped. The same command goes on from the last checkpoint", 130)

    return guarded


def _end(line: str, code: int) -> None:
    console.print(line, style="bold red", soft_wrap=True, markup=False, highlight=False)
    raise typer.Exit(code)


def _floats(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        if value.is_floating_point():
            yield value
    elif isinstance(value, Mapping):
        for each in value.values():
            yield from _floats(each)
    elif isinstance(value, list | tuple):
        for each in value:
            yield from _floats(each)
