"""Compare negatives over several seeds.

Every arm runs with every seed, all else alike: the same weights to start from, the same batches, the same views. Runs
lie in ``RUN.save_dir``, one folder each. Finished ones are not run again and stopped ones go on, so the command may be
repeated until it is done; then ``comparison.md`` in that folder holds the table.
"""

import multiprocessing
import re
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any, TypeVar

from rich.console import Console

from examples.common.contrastive.sections import Config
from examples.common.fitting import Results
from examples.common.settings import ConfigError
from examples.common.tables import markdown, spread
from nda_augment._files import write_text

MEASURES = ("knn", "linear")
PLAIN = "plain"
console = Console()

Runs = dict[str, dict[int, Results]]
AnyConfig = TypeVar("AnyConfig", bound=Config)


def compare(
    schema: type[Config],
    train: Callable[[Any], Results],
    path: Path,
    overrides: Sequence[str],
    arms: dict[str, str],
    seeds: Sequence[int],
    workers: int,
) -> Runs:
    """Run all arms with all seeds, some at a time.

    Args:
        schema: The class of their configs.
        train: Trains one of them.
        path: The config of all runs.
        overrides: What changes it.
        arms: Policies by name; an empty policy is training without negatives.
        seeds: Of the runs.
        workers: How many runs at a time, each in a process of its own.

    Returns:
        The results by arm and seed.

    Raises:
        ConfigError: If a config is not valid, or a folder holds a run with other settings.
    """
    runs = {(arm, seed): settings_of(schema, path, overrides, arm, arms[arm], seed) for seed in seeds for arm in arms}
    results: Runs = {arm: {} for arm in arms}

    def done(arm: str, seed: int, found: Results) -> None:
        if "linear" not in found:
            raise ConfigError("arms are compared by accuracies: these images have no labels, or none is held out")
        results[arm][seed] = found
        console.print(f"{arm} {seed}: {_describe(found)}")

    if workers == 1:
        for (arm, seed), settings in runs.items():
            done(arm, seed, train(settings))
        return results
    with ProcessPoolExecutor(workers, multiprocessing.get_context("spawn")) as pool:
        futures = {pool.submit(train, settings): key for key, settings in runs.items()}
        for future in as_completed(futures):
            done(*futures[future], future.result())
    return results


def table(runs: Runs, measures: Sequence[str] = MEASURES) -> str:
    """Markdown: mean and standard deviation over the seeds, the difference to plain seed by seed, and each value."""
    seeds = sorted(next(iter(runs.values())))
    head = ["arm", *(word for measure in measures for word in (f"{measure} mean ± sd", "− plain"))]
    head += [f"{measure}, seeds {', '.join(map(str, seeds))}" for measure in measures]
    rows = []
    for arm, by_seed in runs.items():
        cells, each = [arm], []
        for measure in measures:
            values = [100 * by_seed[seed][measure] for seed in seeds]
            plain = [100 * runs[PLAIN][seed][measure] for seed in seeds] if PLAIN in runs else values
            apart = [value - other for value, other in zip(values, plain, strict=True)]
            cells += [spread(values), "" if arm == PLAIN or PLAIN not in runs else spread(apart, sign="+")]
            each.append(", ".join(f"{value:.2f}" for value in values))
        rows.append(cells + each)
    return markdown(head, rows)


def settings_of(
    schema: type[AnyConfig], path: Path, overrides: Sequence[str], arm: str, policy: str, seed: int
) -> AnyConfig:
    """The settings of one run."""
    base = Path(schema.load(path, overrides).RUN.save_dir)
    words = [f"RUN.seed={seed}", f"RUN.save_dir={base / f'{arm}-{seed}'}", "RUN.progress=false"]
    words += ["AUG.apply_nda=true", f"AUG.nda_policy='{policy}'"] if policy else ["AUG.apply_nda=false"]
    return schema.load(path, [*overrides, *words])


def _describe(results: Results) -> str:
    return ", ".join(f"{measure} {100 * results[measure]:.2f}" for measure in MEASURES)


def parse_arms(words: Sequence[str]) -> dict[str, str]:
    """``plain`` is no negatives, ``name=policy`` a policy with a name, any other word a policy that names itself."""
    arms = {}
    for word in words:
        named = re.fullmatch(r"(\w+)=(.+)", word)
        name, policy = (named[1], named[2]) if named else (word, word)
        arms[name] = "" if word == PLAIN else policy
    return arms


def report(runs: Runs, folder: Path, measures: Sequence[str] = MEASURES) -> None:
    """Print the table of all runs, and write it into their folder."""
    text = table(runs, measures)
    write_text(text, folder / "comparison.md")
    print(text)
