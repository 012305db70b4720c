"""Compare negatives over seeds and steps: ``python -m examples.gan.measure --arm NAME=SEEDS ... [KEY=VALUE ...]``.

Every arm is the config, changed by its words; all runs with one seed begin with the same weights and see the same
images. A run is trained in stages, and after each stage its generator makes as many images as were held out. When all
are trained they are scored by the same classifiers, and one JSON file per run holds what came out.

Runs lie in ``RUN.save_dir``, one folder each. What is done is not done again and stopped runs go on, so the command may
be repeated until it is through; then ``report.md``, ``curves.jpg`` and ``samples.jpg`` lie beside the runs. Arms and
seeds may be added in the same way; what is in the folder already is scored again if that takes other classifiers.
"""

import json
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from itertools import accumulate
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image
from torch import Tensor

from examples.common import data, pictures
from examples.common.data import Images
from examples.common.judging import HELD_OUT, NEGATIVES, REFERENCE, train_artefact_classifier
from examples.common.runs import command, parse_arms
from examples.common.tables import markdown, spread
from examples.common.training import CHECKPOINT, STATE
from examples.gan import config, evaluate, train
from examples.gan.config import Config
from nda_augment._files import load_checkpoint, save_checkpoint, write_text

CONFIG = Path(__file__).parent / "configs" / "cifar10-small.yaml"
PLAIN, NDA = "AUG.apply_nda=false", "AUG.apply_nda=true"
RESULT = "result.json"
STAGE = {"step": int, "images": torch.Tensor}
Result = dict[str, Any]

ARMS: dict[str, list[str]] = {
    "plain": [PLAIN],
    **{name: [NDA, f"AUG.nda_policy={name}"] for name in ("jigsaw", "stitch", "cutout", "cutmix", "mixup")},
    "mixture": [NDA, "AUG.nda_policy='jigsaw,stitch,cutout,cutmix,mixup'"],
    "jigsaw-0.5": [NDA, "LOSS.nda_fake_weight=0.5"],
    "jigsaw-0.75": [NDA, "LOSS.nda_fake_weight=0.75"],
    "jigsaw-replace": [NDA, "LOSS.nda_mode=replace"],
    "plain-hinge": [PLAIN, "LOSS.adv_loss=hinge"],
    "jigsaw-hinge": [NDA, "LOSS.adv_loss=hinge"],
}


def measure(path: Path, overrides: Sequence[str], arms: Mapping[str, int], stages: int, epochs: int) -> Path:
    """Train and score all arms, the first seed of each before the second of any.

    Args:
        path: The config of all runs.
        overrides: What changes it.
        arms: How many seeds, from 0 on, for each name out of :data:`ARMS`.
        stages: In how many equal parts a run is trained; it is scored after each.
        epochs: How long the classifiers of the evaluation train.

    Returns:
        The folder of the runs.

    Raises:
        ConfigError: If an arm is unknown, a config is not valid, or a folder holds a run with other settings.
    """
    base = config.load(path, overrides)
    folder = Path(base.RUN.save_dir)
    keys = [(arm, seed) for seed in range(max(arms.values())) for arm, seeds in arms.items() if seed < seeds]
    runs = {(arm, seed): _settings(path, overrides, arm, seed) for arm, seed in keys}
    training, held_out = data.load(base.DATA)
    for settings in runs.values():
        train_in_stages(settings, training, min(len(training), len(held_out)), stages)
    runs = _scored(folder) | runs
    policies = sorted({"jigsaw"} | {settings.AUG.nda_policy for settings in runs.values()})
    judged_by = {"epochs": epochs, "policies": policies}
    unscored = {key: settings for key, settings in runs.items() if _judged_by(settings) != judged_by}
    if unscored:
        score(unscored, training, policies, epochs)
    report(folder)
    return folder


def train_in_stages(settings: Config, training: Images, count: int, stages: int) -> None:
    """Train a run, stopping after each stage to make ``count`` images and note how long the stage took.

    How long is not known of a stage that was itself stopped.
    """
    total = settings.OPTIMIZATION.total_steps
    for stage in range(1, stages + 1):
        step = total * stage // stages
        written = _folder(settings) / f"images-{step:06}.pt"
        if written.exists():
            continue
        part = replace(settings, OPTIMIZATION=replace(settings.OPTIMIZATION, total_steps=step))
        saved = _folder(settings) / CHECKPOINT
        whole = (load_checkpoint(saved, STATE)["step"] if saved.exists() else 0) == total * (stage - 1) // stages
        wall, cpu = time.perf_counter(), time.process_time()
        train.train(part, training)
        seconds = {"wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu}
        pixels = ((evaluate.generate(_folder(settings), count) + 1) * 127.5).round().to(torch.uint8)
        save_checkpoint({"step": step, "seconds": seconds if whole else None, "images": pixels}, written)


def score(runs: Mapping[tuple[str, int], Config], training: Images, policies: Sequence[str], epochs: int) -> None:
    """Score the images of all stages, and write a result for each run.

    The Fréchet distance and the rest are on features of one classifier. For the forbidden share each policy has its own
    real-versus-negative classifier, and every run is judged by all of them, as are the held-out images.
    """
    first = next(iter(runs.values()))
    jigsaw = replace(first, AUG=replace(first.AUG, nda_policy="jigsaw"))
    judge = evaluate.judge_of(jigsaw, classifier_epochs=epochs)
    detectors = {"jigsaw": judge.artefacts}
    for policy in policies:
        if policy not in detectors:
            changed = replace(first, AUG=replace(first.AUG, nda_policy=policy))
            negatives = evaluate.common_negatives(changed, training.images.shape[1])
            detectors[policy] = train_artefact_classifier(training, negatives, epochs=epochs)

    def shares(images: Tensor) -> dict[str, float]:
        return {policy: detector.predict(images).double().mean().item() for policy, detector in detectors.items()}

    references = {name: asdict(row) for name, row in judge.references().items()}
    references[HELD_OUT]["forbidden"] = shares(judge.held_out)
    for (arm, seed), settings in runs.items():
        folder = _folder(settings)
        rows = []
        for path in sorted(folder.glob("images-*.pt")):
            stage = load_checkpoint(path, STAGE)
            images = data.normalize(stage["images"])
            scores = asdict(judge.score(images)) | {"forbidden": shares(images)}
            rows.append({"step": stage["step"], "seconds": stage["seconds"]} | scores)
        result = {
            "arm": arm,
            "seed": seed,
            "policy": settings.AUG.nda_policy,
            "judged_by": {"epochs": epochs, "policies": list(policies)},
            "n": judge.n,
            "classifier_accuracy": judge.accuracy,
            "references": references,
            "logit_gap": evaluate.logit_gap(folder),
            "stages": rows,
            "config": settings.to_dict(),
        }
        write_text(json.dumps(result, indent=2) + "\n", folder / RESULT)


def _scored(folder: Path) -> dict[tuple[str, int], Config]:
    """The runs in a folder that have a result."""
    found = [(result["arm"], result["seed"]) for results in _results(folder).values() for result in results]
    return {(arm, seed): config.load(folder / f"{arm}-{seed}" / "config.yaml") for arm, seed in found}


def _judged_by(settings: Config) -> Result | None:
    """Which classifiers scored a run; ``None`` if none did."""
    path = _folder(settings) / RESULT
    by: Result | None = json.loads(path.read_text()).get("judged_by") if path.exists() else None
    return by


def report(folder: Path) -> None:
    """Write the table, the curves and the sample grids of all results in a folder."""
    results = _results(folder)
    (folder / "report.md").write_text(table(results))
    draw_curves(folder / "curves.jpg", results)
    draw_samples(folder / "samples.jpg", folder, list(results))


def table(results: Mapping[str, Sequence[Result]]) -> str:
    """Markdown: for each arm the scores after its last stage, mean ± standard deviation over its seeds.

    Beside the share of an arm's images that are taken for its negatives stand those of the plain arm's images and of
    real ones. The last two rows have real images, and negatives of them, in the place of generated ones.
    """
    names = ("precision", "recall", "coverage")
    head = ["arm", "seeds", "Fréchet", *names, "forbidden %", "plain's", "real ones'", "gap", "CPU s"]
    rows = []
    for arm, runs in results.items():
        last = [run["stages"][-1] for run in runs]
        policy = runs[0]["policy"]
        real = runs[0]["references"][HELD_OUT]["forbidden"][policy]
        forbidden = [_forbidden(runs, policy), _forbidden(results.get("plain", []), policy), _percent([real])]
        cells = [
            arm,
            str(len(runs)),
            spread([stage["frechet"] for stage in last]),
            *(spread([stage[name] for stage in last], 3) for name in names),
            *(["", "", ""] if PLAIN in ARMS[arm] else forbidden),
            spread([run["logit_gap"] for run in runs]),
            spread([_seconds(run)[-1] for run in runs if _timed(run)], 0),
        ]
        rows.append(cells)
    references = next(iter(results.values()))[0]["references"]
    for name in (REFERENCE, NEGATIVES):
        row = references[name]
        cells = [f"*{name}*", "", f"{row['frechet']:.2f}", *(f"{row[each]:.3f}" for each in names)]
        share = "" if row["forbidden"] is None else _percent([row["forbidden"]])
        rows.append([*cells, share, "", "", "", ""])
    return markdown(head, rows)


def _forbidden(runs: Sequence[Result], policy: str) -> str:
    return _percent([run["stages"][-1]["forbidden"][policy] for run in runs])


def _percent(shares: Sequence[float]) -> str:
    return spread([100 * share for share in shares], 1)


def draw_curves(path: Path, results: Mapping[str, Sequence[Result]]) -> None:
    """Draw Fréchet distance and coverage against steps and seconds of CPU: the mean of each arm, faintly its seeds."""
    figure = Figure(figsize=(10, 6.4), layout="constrained")
    axes = figure.subplots(2, 2, sharex="col")
    titles = {"frechet": "Fréchet distance", "coverage": "coverage"}
    for number, (arm, runs) in enumerate(results.items()):
        style = {"label": arm, "color": colormaps["tab20"](2 * number % 20 + number // 10)}  # strong colours first
        for row, (name, title) in zip(axes, titles.items(), strict=True):
            _draw(row[0], runs, _steps, name, style)
            _draw(row[1], [run for run in runs if _timed(run)], _seconds, name, style)
            row[0].set_ylabel(title)
    axes[1][0].set_xlabel("step")
    axes[1][1].set_xlabel("seconds of one core")
    axes[0][1].legend(fontsize=7, ncols=2)
    figure.savefig(path, dpi=90, pil_kwargs={"quality": 85})


def draw_samples(path: Path, folder: Path, arms: Sequence[str], per_arm: int = 24) -> None:
    """Write the first images of each arm's first seed, one row per arm, none chosen."""
    rows = []
    for arm in arms:
        images = load_checkpoint(sorted((folder / f"{arm}-0").glob("images-*.pt"))[-1], STAGE)["images"]
        rows.append(data.normalize(images[:per_arm]))
    picture = pictures.grid(torch.cat(rows), columns=per_arm)
    Image.fromarray(picture.expand(3, -1, -1).permute(1, 2, 0).contiguous().numpy()).save(path, quality=80)


def _draw(
    axes: Axes, runs: Sequence[Result], places: Callable[[Result], list[float]], name: str, style: Mapping[str, Any]
) -> None:
    if not runs:
        return
    lines = [(places(run), [stage[name] for stage in run["stages"]]) for run in runs]
    if len(lines) > 1:
        for x, y in lines:
            axes.plot(x, y, color=style["color"], alpha=0.35, linewidth=0.8)
    x, y = (list(map(statistics.mean, zip(*each, strict=True))) for each in zip(*lines, strict=True))
    axes.plot(x, y, marker="o", markersize=3, **style)


def _steps(run: Result) -> list[float]:
    return [stage["step"] for stage in run["stages"]]


def _seconds(run: Result) -> list[float]:
    """Of CPU, from the start of the run to the end of each stage."""
    return list(accumulate(stage["seconds"]["cpu"] for stage in run["stages"]))


def _timed(run: Result) -> bool:
    return all(stage["seconds"] for stage in run["stages"])


def _results(folder: Path) -> dict[str, list[Result]]:
    found = [json.loads(path.read_text()) for path in sorted(folder.glob(f"*/{RESULT}"))]
    return {arm: runs for arm in ARMS if (runs := [result for result in found if result["arm"] == arm])}


def _settings(path: Path, overrides: Sequence[str], arm: str, seed: int) -> Config:
    folder = Path(config.load(path, overrides).RUN.save_dir) / f"{arm}-{seed}"
    return config.load(path, [*overrides, *ARMS[arm], f"RUN.seed={seed}", f"RUN.save_dir={folder}"])


def _folder(settings: Config) -> Path:
    return Path(settings.RUN.save_dir)


@command
def main(
    overrides: Annotated[list[str] | None, typer.Argument(help="SECTION.key=value, the same for all runs")] = None,
    path: Annotated[Path, typer.Option("--config", help="A YAML file")] = CONFIG,
    arm: Annotated[list[str] | None, typer.Option(help=f"NAME or NAME=SEEDS, of {', '.join(ARMS)}")] = None,
    stages: Annotated[int, typer.Option(help="How often a run is scored")] = 3,
    epochs: Annotated[int, typer.Option(help="How long the classifiers train")] = 4,
) -> None:
    """Compare training with several negatives, and without."""
    folder = measure(path, overrides or (), parse_arms(arm or ["plain", "jigsaw"], ARMS), stages, epochs)
    print((folder / "report.md").read_text())


if __name__ == "__main__":
    typer.run(main)
