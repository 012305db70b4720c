"""Compare negatives over several seeds: ``python -m examples.contrastive.compare --config FILE [KEY=VALUE ...]``.

Every arm runs with every seed, all else alike: the same weights to start from, the same batches, the same views. Runs
lie in ``RUN.save_dir``, one folder each. Finished ones are not run again and stopped ones go on, so the command may be
repeated until it is done; then ``comparison.md`` in that folder holds the table.
"""

import multiprocessing
import re
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from examples.common.runs import command
from examples.common.tables import markdown, spread
from examples.contrastive import config
from examples.contrastive.config import DIGITS, Config
from examples.contrastive.train import Results, train

MEASURES = ("knn", "linear")
PLAIN = "plain"
console = Console()

Runs = dict[str, dict[int, Results]]


def compare(path: Path, overrides: Sequence[str], arms: dict[str, str], seeds: Sequence[int], workers: int) -> Runs:
    """Run all arms with all seeds, some at a time.

    Args:
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
    runs = {(arm, seed): settings_of(path, overrides, arm, arms[arm], seed) for seed in seeds for arm in arms}
    results: Runs = {arm: {} for arm in arms}
    with ProcessPoolExecutor(workers, multiprocessing.get_context("spawn")) as pool:
        futures = {pool.submit(train, settings): key for key, settings in runs.items()}
        for future in as_completed(futures):
            arm, seed = futures[future]
            results[arm][seed] = future.result()
            console.print(f"{arm} {seed}: {_describe(results[arm][seed])}")
    return results


def table(runs: Runs) -> str:
    """Markdown: mean and standard deviation over the seeds, the difference to plain seed by seed, and each value."""
    seeds = sorted(next(iter(runs.values())))
    head = ["arm", *(word for measure in MEASURES for word in (f"{measure} mean ± sd", "− plain"))]
    head += [f"{measure}, seeds {', '.join(map(str, seeds))}" for measure in MEASURES]
    rows = []
    for arm, by_seed in runs.items():
        cells, each = [arm], []
        for measure in MEASURES:
            values = [100 * by_seed[seed][measure] for seed in seeds]
            plain = [100 * runs[PLAIN][seed][measure] for seed in seeds] if PLAIN in runs else values
            apart = [value - other for value, other in zip(values, plain, strict=True)]
            cells += [spread(values), "" if arm == PLAIN or PLAIN not in runs else spread(apart, sign="+")]
            each.append(", ".join(f"{value:.2f}" for value in values))
        rows.append(cells + each)
    return markdown(head, rows)


def settings_of(path: Path, overrides: Sequence[str], arm: str, policy: str, seed: int) -> Config:
    """The settings of one run."""
    base = Path(config.load(path, overrides).RUN.save_dir)
    words = [f"RUN.seed={seed}", f"RUN.save_dir={base / f'{arm}-{seed}'}", "RUN.progress=false"]
    words += ["AUG.apply_nda=true", f"AUG.nda_policy='{policy}'"] if policy else ["AUG.apply_nda=false"]
    return config.load(path, [*overrides, *words])


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


@command
def main(
    overrides: Annotated[list[str] | None, typer.Argument(help="SECTION.key=value, the same for all runs")] = None,
    path: Annotated[Path, typer.Option("--config", help="A YAML file")] = DIGITS,
    arm: Annotated[list[str] | None, typer.Option(help="plain, a policy, or name=policy; may be repeated")] = None,
    seeds: Annotated[int, typer.Option(help="How many, from 0 on")] = 3,
    workers: Annotated[int, typer.Option(help="How many runs at a time")] = 1,
) -> None:
    """Compare training with several negatives, and without."""
    runs = compare(path, overrides or (), parse_arms(arm or [PLAIN, "jigsaw"]), range(seeds), workers)
    text = table(runs)
    written = Path(config.load(path, overrides or ()).RUN.save_dir) / "comparison.md"
    written.write_text(text)
    print(text)


if __name__ == "__main__":
    typer.run(main)
