"""Measure trained runs against held-out images: ``python -m examples.gan.evaluate RUN_FOLDER [RUN_FOLDER ...]``.

What is measured is in :mod:`examples.common.judging`. Beside it stands the logit gap: how far the run's own
discriminator held real images and negatives apart at the end.
"""

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from torch import Tensor

import nda_augment as nda
from examples.common import data, judging
from examples.common.judging import Judge, Report, Scores
from examples.common.randomness import Share
from examples.common.runs import command
from examples.common.settings import ConfigError
from examples.common.training import CHECKPOINT
from examples.gan import config
from examples.gan.config import Config
from examples.gan.generation import instances_of, load_generator, sample
from examples.gan.negatives import Negatives
from nda_augment._files import load_checkpoint

PURPOSE = "evaluation"
console = Console()


def evaluate(
    runs: dict[str, Path],
    *,
    classifier_epochs: int = 15,
    inception: Path | None = None,
    policy: str | None = None,
) -> Report:
    """Score runs on the same data, and real images and negatives beside them.

    Args:
        runs: Name to folder.
        classifier_epochs: How long the classifiers train.
        inception: File with Inception's weights, see :func:`examples.common.judging.inception_features`.
        policy: The negatives whose artefact is looked for; that of the runs, if they have one in common.

    Raises:
        ConfigError: If the runs are on different data, or have different negatives and no ``policy`` says which to look
            for; and as :class:`Judge`.
    """
    settings = _common_settings({name: config.load(folder / "config.yaml") for name, folder in runs.items()}, policy)
    judge = judge_of(settings, classifier_epochs=classifier_epochs, inception=inception)
    return judge.report({name: _score(folder, judge) for name, folder in runs.items()})


def _score(folder: Path, judge: Judge) -> Scores:
    images = generate(folder, judge.n)
    return replace(judge.score(images), logit_gap=logit_gap(folder), nearness=nearness(folder, images))


def judge_of(settings: Config, *, classifier_epochs: int = 15, inception: Path | None = None) -> Judge:
    """Return what judges all runs with these ``DATA`` and these negatives."""
    training, held_out = data.load(settings.DATA)
    return Judge(
        training,
        held_out,
        common_negatives(settings, training.images.shape[1]),
        classifier_epochs=classifier_epochs,
        inception=inception,
    )


def common_negatives(settings: Config, channels: int) -> Negatives:
    """A run's negatives, drawn with a seed of their own, so that every run is judged by the same."""
    return Negatives(replace(settings, RUN=replace(settings.RUN, seed=0)), channels, Share())


def generate(folder: Path, count: int) -> Tensor:
    """Images of a run's averaged generator: ``(count, C, H, W)`` in [-1, 1]."""
    network, instances = load_generator(folder)
    return sample(network, count, _seed(folder), PURPOSE, instances)


def nearness(folder: Path, images: Tensor) -> float | None:
    """How often images of :func:`generate` are nearer to their own instance's neighbours than to those of others."""
    _, instances = load_generator(folder)
    return instances and instances.nearness(images, instances_of(instances, len(images), _seed(folder), PURPOSE))


def logit_gap(folder: Path) -> float | None:
    """How far a run's discriminator held real images and negatives apart: a mean over the last tenth of its log."""
    history = load_checkpoint(folder / CHECKPOINT, {"history": list})["history"]
    last = history[-max(len(history) // 10, 1) :]
    gaps = [row["gap"] for row in last if "gap" in row]
    return sum(gaps) / len(gaps) if gaps else None


def _seed(folder: Path) -> int:
    return config.load(folder / "config.yaml").RUN.seed


def _common_settings(settings: dict[str, Config], policy: str | None) -> Config:
    """The data and negatives that runs have in common."""
    first, *others = settings.values()
    if any(other.DATA != first.DATA for other in others):
        sources = {name: some.DATA for name, some in settings.items()}
        raise ConfigError(f"runs on different data cannot be compared: {sources}")
    if policy is not None:
        words = replace(first.AUG, nda_policy=policy, nda_source="transform")
        return replace(first, AUG=words)
    # A run without negatives only names those on which its gap is measured; it has no say if others were trained.
    trained = [some for some in settings.values() if some.AUG.apply_nda] or [first]
    names = sorted({_negatives_name(some) for some in trained})
    if len(names) > 1:
        raise ConfigError(f"the runs have different negatives, {'; '.join(names)}: say which to look for with --policy")
    return trained[0]


def _negatives_name(settings: Config) -> str:
    if settings.AUG.nda_source == "images":
        return f"images of {settings.AUG.nda_path}"
    return str(nda.from_policy(settings.AUG.nda_policy))


@command
def main(
    folders: Annotated[list[Path], typer.Argument(help="Folders of runs on the same data")],
    output: Annotated[Path | None, typer.Option(help="Write the numbers there, as JSON")] = None,
    inception: Annotated[
        Path | None, typer.Option(help="Inception's weights, torch-fidelity's file; else an own classifier")
    ] = None,
    policy: Annotated[
        str | None, typer.Option(help="Negatives to look for, where the runs have different ones")
    ] = None,
) -> None:
    """Score trained runs against held-out images."""
    try:
        report = evaluate({str(folder): folder for folder in folders}, inception=inception, policy=policy)
    except FileNotFoundError as error:
        raise ConfigError(str(error)) from error
    console.print(judging.table(report, "Generated images"))
    if output:
        judging.save_report(report, output)
        console.print(f"Numbers are in {output}")


if __name__ == "__main__":
    typer.run(main)
