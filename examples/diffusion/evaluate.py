"""Measure trained runs against held-out images: ``python -m examples.diffusion.evaluate RUN_FOLDER ... --scale 1``.

What is measured is in :mod:`examples.common.judging`. Guidance trades coverage for fidelity, so each run has a row for
each scale: away from negatives where it learned some, else away from its snapshot (autoguidance) if it kept one.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

import nda_augment as nda
from examples.common import data, judging
from examples.common.judging import Judge, Report
from examples.common.negatives import Negatives
from examples.common.randomness import Share
from examples.common.runs import command
from examples.common.settings import ConfigError
from examples.diffusion import config
from examples.diffusion.config import Config, Sampling
from examples.diffusion.sampling import sample_run

SCALES = (0.0, 0.5, 1.0, 2.0)
console = Console()


def evaluate(
    runs: Mapping[str, Path],
    scales: Sequence[float] = SCALES,
    *,
    policy: str | None = None,
    classifier_epochs: int = 15,
    inception: Path | None = None,
) -> Report:
    """Score runs at several scales on the same data, and real images and negatives beside them.

    Args:
        runs: Name to folder.
        scales: Of the guidance, see :func:`guidances`.
        policy: The negatives whose artefact is looked for; that of the runs, if they have one in common.
        classifier_epochs: How long the classifiers train.
        inception: File with Inception's weights, see :func:`examples.common.judging.inception_features`.

    Raises:
        ConfigError: If the runs are on different data, or have different negatives and no ``policy`` says which to look
            for; and as :class:`Judge`.
    """
    settings = {name: config.load(folder / "config.yaml") for name, folder in runs.items()}
    first, *others = settings.values()
    if any(other.DATA != first.DATA for other in others):
        sources = {name: some.DATA for name, some in settings.items()}
        raise ConfigError(f"runs on different data cannot be compared: {sources}")
    negatives = Negatives(policy or _common_policy(list(settings.values())), 0, Share())
    judge = Judge(*data.load(first.DATA), negatives, classifier_epochs=classifier_epochs, inception=inception)
    return judge.report(
        {
            f"{name}, s = {sampling.scale:g}": judge.score(sample_run(folder, sampling, judge.n, "evaluation"))
            for name, folder in runs.items()
            for sampling in guidances(settings[name], scales)
        }
    )


def guidances(settings: Config, scales: Sequence[float]) -> list[Sampling]:
    """How a run is sampled from: at each scale if there is something to move away from, else at 0 only."""
    away = "negatives" if settings.AUG.apply_nda else "snapshot"
    able = settings.AUG.apply_nda or settings.RUN.snapshot_step
    return [replace(settings.SAMPLING, scale=scale, away_from=away) for scale in (scales if able else (0.0,))]


def _common_policy(settings: Sequence[Config]) -> str:
    # A run without negatives only names some; it has no say if others were trained with theirs.
    trained = [some for some in settings if some.AUG.apply_nda] or settings[:1]
    names = sorted({str(nda.from_policy(some.AUG.nda_policy)) for some in trained})
    if len(names) > 1:
        raise ConfigError(f"the runs have different negatives, {'; '.join(names)}: say which to look for with --policy")
    return names[0]


@command
def main(
    folders: Annotated[list[Path], typer.Argument(help="Folders of runs on the same data")],
    scale: Annotated[list[float] | None, typer.Option(help="Of the guidance; may be given more than once")] = None,
    output: Annotated[Path | None, typer.Option(help="Write the numbers there, as JSON")] = None,
    inception: Annotated[
        Path | None, typer.Option(help="Inception's weights, torch-fidelity's file; else an own classifier")
    ] = None,
    policy: Annotated[
        str | None, typer.Option(help="Negatives to look for, where the runs have different ones")
    ] = None,
) -> None:
    """Score trained runs against held-out images, at each scale of the guidance."""
    try:
        runs = {str(folder): folder for folder in folders}
        report = evaluate(runs, scale or SCALES, policy=policy, inception=inception)
    except FileNotFoundError as error:
        raise ConfigError(str(error)) from error
    console.print(judging.table(report, "Generated images"))
    if output:
        judging.save_report(report, output)
        console.print(f"Numbers are in {output}")


if __name__ == "__main__":
    typer.run(main)
