"""Compare negatives over several seeds: ``python -m examples.video.compare --config FILE [KEY=VALUE ...]``.

Every arm runs with every seed, all else alike: the same weights to start from, the same batches, the same views. Runs
lie in ``RUN.save_dir``, one folder each, and take turns. Finished ones are not run again and stopped ones go on, so the
command may be repeated until it is done; then ``comparison.md`` in that folder holds the table.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from examples.common.runs import command
from examples.contrastive.compare import MEASURES, PLAIN, Runs, parse_arms, table
from examples.video import config
from examples.video.config import DIGITS, Config
from examples.video.train import train

console = Console()


def compare(path: Path, overrides: Sequence[str], arms: dict[str, str], seeds: Sequence[int]) -> Runs:
    """Run all arms with all seeds, one after another; the first seed of all arms comes first.

    Args:
        path: The config of all runs.
        overrides: What changes it.
        arms: Policies by name; an empty policy is training without negatives.
        seeds: Of the runs.

    Returns:
        The results by arm and seed.

    Raises:
        ConfigError: If a config is not valid, or a folder holds a run with other settings.
    """
    runs = {(arm, seed): settings_of(path, overrides, arm, arms[arm], seed) for seed in seeds for arm in arms}
    results: Runs = {arm: {} for arm in arms}
    for (arm, seed), settings in runs.items():
        results[arm][seed] = train(settings)
        measured = ", ".join(f"{measure} {100 * results[arm][seed][measure]:.2f}" for measure in MEASURES)
        console.print(f"{arm} {seed}: {measured}")
    return results


def settings_of(path: Path, overrides: Sequence[str], arm: str, policy: str, seed: int) -> Config:
    """The settings of one run."""
    base = Path(config.load(path, overrides).RUN.save_dir)
    words = [f"RUN.seed={seed}", f"RUN.save_dir={base / f'{arm}-{seed}'}", "RUN.progress=false"]
    words += ["AUG.apply_nda=true", f"AUG.nda_policy='{policy}'"] if policy else ["AUG.apply_nda=false"]
    return config.load(path, [*overrides, *words])


@command
def main(
    overrides: Annotated[list[str] | None, typer.Argument(help="SECTION.key=value, the same for all runs")] = None,
    path: Annotated[Path, typer.Option("--config", help="A YAML file")] = DIGITS,
    arm: Annotated[list[str] | None, typer.Option(help="plain, a policy, or name=policy; may be repeated")] = None,
    seeds: Annotated[int, typer.Option(help="How many, from 0 on")] = 3,
) -> None:
    """Compare training with several negatives, and without."""
    runs = compare(path, overrides or (), parse_arms(arm or [PLAIN, "frameshuffle"]), range(seeds))
    text = table(runs)
    written = Path(config.load(path, overrides or ()).RUN.save_dir) / "comparison.md"
    written.write_text(text)
    print(text)


if __name__ == "__main__":
    typer.run(main)
