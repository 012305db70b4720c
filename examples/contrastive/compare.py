"""Compare negatives over several seeds: ``python -m examples.contrastive.compare --config FILE [KEY=VALUE ...]``.

How is said in ``examples/common/contrastive/compare.py``.
"""

from pathlib import Path
from typing import Annotated

import typer

from examples.common.contrastive.compare import PLAIN, compare, parse_arms, report
from examples.common.runs import command
from examples.contrastive.config import DIGITS, Config
from examples.contrastive.train import train


@command
def main(
    overrides: Annotated[list[str] | None, typer.Argument(help="SECTION.key=value, the same for all runs")] = None,
    path: Annotated[Path, typer.Option("--config", help="A YAML file")] = DIGITS,
    arm: Annotated[list[str] | None, typer.Option(help="plain, a policy, or name=policy; may be repeated")] = None,
    seeds: Annotated[int, typer.Option(help="How many, from 0 on")] = 3,
    workers: Annotated[int, typer.Option(help="How many runs at a time")] = 1,
) -> None:
    """Compare training with several negatives, and without."""
    arms = parse_arms(arm or [PLAIN, "jigsaw"])
    runs = compare(Config, train, path, overrides or (), arms, range(seeds), workers)
    report(runs, Path(Config.load(path, overrides or ()).RUN.save_dir))


if __name__ == "__main__":
    typer.run(main)
