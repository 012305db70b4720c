"""Detectors on features learned in several ways: ``python -m examples.detection.compare SCENES.npz [KEY=VALUE ...]``.

For each seed and arm: features are learned from unlabelled images by ``examples.contrastive``, without and with
negatives, and a detector is fine-tuned on them; the arm ``random`` begins with random weights. Runs lie in
``RUN.save_dir``; finished ones are not run again and stopped ones go on. At the end ``comparison.md`` in that folder
holds the table.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from examples.common.contrastive.compare import PLAIN, Runs, console, parse_arms, report, settings_of
from examples.common.fitting import Results
from examples.common.runs import command
from examples.contrastive import config as contrastive
from examples.contrastive import train as features
from examples.contrastive.export import export
from examples.detection import config, train
from examples.detection.config import SCENES, Config
from examples.detection.learning import MEASURES

RANDOM = "random"
PRETRAINING = Path(__file__).parent / "configs" / "pretraining.yaml"


def compare(
    images: Path, pretraining: Path, path: Path, overrides: Sequence[str], arms: dict[str, str], seeds: int
) -> Runs:
    """Run all arms with all seeds.

    Args:
        images: An .npz of images to learn features from.
        pretraining: The config of that.
        path: The config of the detectors.
        overrides: What changes it.
        arms: Policies by name; an empty one is learning without negatives, and of ``random`` it is not asked.
        seeds: How many, from 0 on.

    Returns:
        The results by arm and seed.
    """
    base = config.load(path, overrides)
    results: Runs = {arm: {} for arm in arms}
    for seed in range(seeds):
        for arm, policy in arms.items():
            weights = "" if arm == RANDOM else str(_learn(images, pretraining, base, arm, policy, seed))
            results[arm][seed] = train.train(_settings(base, arm, seed, weights))
            console.print(f"{arm} {seed}: {_describe(results[arm][seed])}")
    return results


def _learn(images: Path, pretraining: Path, base: Config, arm: str, policy: str, seed: int) -> Path:
    """Learn features, and return the file of the backbone."""
    folder = Path(base.RUN.save_dir) / "features"
    words = [f"RUN.save_dir={folder}", f"DATA.path={images}", f"RUN.threads={base.RUN.threads}"]
    words += [f"DATA.img_size={base.DATA.img_size}"]
    shared = ("backbone",) if ":" in base.MODEL.backbone else ("backbone", "stem", "width")
    words += [f"MODEL.{key}={getattr(base.MODEL, key)}" for key in shared]
    settings = settings_of(contrastive.Config, pretraining, words, arm, policy, seed)
    features.train(settings)
    output = Path(settings.RUN.save_dir) / "backbone.pt"
    export(Path(settings.RUN.save_dir), output)
    return output


def _settings(base: Config, arm: str, seed: int, weights: str) -> Config:
    run = replace(base.RUN, seed=seed, save_dir=str(Path(base.RUN.save_dir) / f"{arm}-{seed}"), progress=False)
    return replace(base, RUN=run, MODEL=replace(base.MODEL, weights=weights))


def _describe(results: Results) -> str:
    return ", ".join(f"{measure} {100 * results[measure]:.2f}" for measure in MEASURES)


@command
def main(
    images: Annotated[
        Path, typer.Argument(help="An .npz of unlabelled images, such as examples.detection.scenes writes")
    ],
    overrides: Annotated[list[str] | None, typer.Argument(help="SECTION.key=value of the detectors")] = None,
    path: Annotated[Path, typer.Option("--config", help="A YAML file of the detectors")] = SCENES,
    pretraining: Annotated[Path, typer.Option(help="A YAML file of examples.contrastive")] = PRETRAINING,
    arm: Annotated[
        list[str] | None, typer.Option(help="random, plain, a policy, or name=policy; may be repeated")
    ] = None,
    seeds: Annotated[int, typer.Option(help="How many, from 0 on")] = 3,
) -> None:
    """Compare detectors on features learned with several negatives, without, and on random ones."""
    arms = parse_arms(arm or [RANDOM, PLAIN, "jigsaw", "mixup"])
    runs = compare(images, pretraining, path, overrides or (), arms, seeds)
    report(runs, Path(config.load(path, overrides or ()).RUN.save_dir), MEASURES)


if __name__ == "__main__":
    typer.run(main)
