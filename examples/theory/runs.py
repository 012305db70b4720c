"""Runs of several settings and seeds, each kept in a file of its own: a program that was stopped goes on."""

import json
import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

from rich.progress import track

from examples.theory.adversary import Settings
from examples.theory.report import console

Result = dict[str, Any]
S = TypeVar("S", bound=Settings)


def run_all(settings: Iterable[S], run: Callable[[S], Result], folder: Path) -> dict[S, Result]:
    """Results by settings, from their files where they were run before, in this order.

    A result must be plain JSON: numbers, words, lists, dictionaries with words for keys.
    """
    folder.mkdir(parents=True, exist_ok=True)
    return {one: _load_or_run(one, run, folder) for one in track(list(settings), "runs", console=console)}


def spread(values: Sequence[float], digits: int = 3) -> str:
    """Mean ± sample standard deviation; the mean alone of a single value."""
    mean = f"{statistics.mean(values):.{digits}f}"
    return f"{mean} ± {statistics.stdev(values):.{digits}f}" if len(values) > 1 else mean


def _load_or_run(settings: S, run: Callable[[S], Result], folder: Path) -> Result:
    path = folder / f"{settings.kind}-{settings.fake_weight:g}-{settings.seed}.json"
    if path.exists():
        saved = json.loads(path.read_text())
        if saved["settings"] == asdict(settings):
            result: Result = saved["result"]
            return result
    result = run(settings)
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps({"settings": asdict(settings), "result": result}))
    partial.replace(path)
    return result
