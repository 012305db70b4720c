"""Compare guidances over seeds and scales: ``python -m examples.diffusion.measure --arm NAME=SEEDS [KEY=VALUE ...]``.

Every arm is the config, changed by its words; all runs with one seed begin with the same weights, see the same images
under the same noise, and make images from the same noise at each scale. One training gives all scales. The plain arm
moves away from its own under-trained snapshot: autoguidance.

Runs lie in ``RUN.save_dir``, one folder each. What is done is not done again and stopped runs go on, so the command may
be repeated until it is through; then ``report.md``, ``curves.png`` and ``samples.png`` lie beside the runs. Arms and
seeds may be added in the same way.
"""

import json
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from matplotlib import colormaps
from matplotlib.figure import Figure
from torch import Tensor

from examples.common import data, pictures
from examples.common.data import Images
from examples.common.judging import HELD_OUT, REFERENCE, Judge, train_artefact_classifier
from examples.common.negatives import Negatives
from examples.common.randomness import Share
from examples.common.runs import command, parse_arms
from examples.common.tables import interval, markdown, spread
from examples.diffusion import config
from examples.diffusion.config import DIGITS, Config
from examples.diffusion.evaluate import SCALES, guidances
from examples.diffusion.sampling import sample_run
from examples.diffusion.train import Training, train
from nda_augment._files import load_checkpoint, save_checkpoint, write_text

RESULT, IMAGES = "result.json", "images.pt"
NDA = "AUG.apply_nda=true"
NEGATIVES = {
    "jigsaw": "jigsaw",
    "stitch": "stitch",
    "rotation": "rotate90",
    "mixture": "jigsaw,stitch,cutout,cutmix,mixup",
}
ARMS: dict[str, list[str]] = {
    "plain": [],
    **{name: [NDA, f"AUG.nda_policy='{policy}'"] for name, policy in NEGATIVES.items()},
    "repulsion": ["LOSS.repulsion_weight=1"],
}
SNAPSHOT = 4
"""The snapshot is from a quarter of the training."""
Result = dict[str, Any]


def measure(path: Path, overrides: Sequence[str], arms: Mapping[str, int], count: int, epochs: int) -> Path:
    """Train and score all arms, the first seed of each before the second of any.

    Args:
        path: The config of all runs.
        overrides: What changes it.
        arms: How many seeds, from 1 on (0 is for choosing settings), for each name out of :data:`ARMS`.
        count: How many images are made at each scale, and compared with as many held-out ones.
        epochs: How long the classifiers of the evaluation train.

    Returns:
        The folder of the runs.

    Raises:
        ConfigError: If an arm is unknown, a config is not valid, or a folder holds a run with other settings.
    """
    base = config.load(path, overrides)
    keys = [(arm, seed) for seed in range(1, max(arms.values()) + 1) for arm, seeds in arms.items() if seed <= seeds]
    runs = {(arm, seed): _settings(path, overrides, arm, seed) for arm, seed in keys}
    seen, _ = data.load(base.DATA)
    for settings in runs.values():
        make_images(settings, seen, count)
    score(runs, seen, count, epochs)
    report(Path(base.RUN.save_dir))
    return Path(base.RUN.save_dir)


def make_images(settings: Config, seen: Images, count: int) -> None:
    """Train a run, and write ``count`` images of it at each scale as well as how long that took."""
    folder = Path(settings.RUN.save_dir)
    if (folder / IMAGES).exists():
        return
    seconds = [time.process_time()]
    train(settings, seen)
    seconds.append(time.process_time())
    images = {
        f"{sampling.scale:g}": ((sample_run(folder, sampling, count, "evaluation") + 1) * 127.5).round().byte()
        for sampling in guidances(settings, SCALES)
    }
    seconds.append(time.process_time())
    save_checkpoint({"count": count, "seconds": seconds, "images": images}, folder / IMAGES)


def score(runs: Mapping[tuple[str, int], Config], seen: Images, count: int, epochs: int) -> None:
    """Score the images of all runs by the same classifiers, and write a result for each.

    The classifiers learn from all training images, also where the runs saw fewer.
    """
    source = next(iter(runs.values())).DATA
    training, held_out = data.load(replace(source, limit=0))
    held_out = held_out[torch.arange(count)]
    judge = Judge(training, held_out, Negatives("jigsaw", 0, Share()), classifier_epochs=epochs)
    detectors = {"jigsaw": judge.artefacts}
    for name, policy in NEGATIVES.items():
        if name not in detectors:
            detectors[name] = train_artefact_classifier(training, Negatives(policy, 0, Share()), epochs=epochs)

    def scores(images: Tensor) -> Result:
        shares = {name: each.predict(images).double().mean().item() for name, each in detectors.items()}
        return asdict(judge.score(images, data.normalize(seen.images))) | {"forbidden": shares}

    references = {name: asdict(row) for name, row in judge.references().items()}
    references[HELD_OUT] = scores(judge.held_out)
    for (arm, seed), settings in runs.items():
        folder = Path(settings.RUN.save_dir)
        made = load_checkpoint(folder / IMAGES, {"seconds": list, "images": dict})
        result = {
            "arm": arm,
            "seed": seed,
            "scales": {scale: scores(data.normalize(images)) for scale, images in made["images"].items()},
            "seconds": made["seconds"],
            "gradients": gradient_norms(settings, seen) if settings.LOSS.repulsion_weight else None,
            "references": references,
            "classifier_accuracy": judge.accuracy,
            "config": settings.to_dict(),
        }
        write_text(json.dumps(result, indent=1) + "\n", folder / RESULT)


def gradient_norms(settings: Config, seen: Images, batches: int = 8) -> dict[str, float]:
    """How long the gradient of each term of the loss is in the end: a mean over the batches that would come next."""
    run = Training(settings, seen)
    run.go_on_from(run.folder)
    found: dict[str, list[float]] = {}
    weights = list(run.denoiser.parameters())
    for number in range(run.step, run.step + batches):
        for name, term in run.losses(number).items():
            gradients = torch.autograd.grad(term, weights, retain_graph=True, allow_unused=True)
            norms = [gradient.norm() for gradient in gradients if gradient is not None]
            found.setdefault(name, []).append(torch.stack(norms).norm().item())
    return {name: statistics.mean(norms) for name, norms in found.items()}


def report(folder: Path) -> None:
    """Write the table, the curves and the samples of all results in a folder."""
    found = [json.loads(path.read_text()) for path in sorted(folder.glob(f"*/{RESULT}"))]
    results = {arm: [result for result in found if result["arm"] == arm] for arm in ARMS}
    results = {arm: runs for arm, runs in results.items() if runs}
    (folder / "report.md").write_text(table(results) + "\n" + lowest(results))
    draw_curves(folder / "curves.png", results)
    draw_samples(folder / "samples.png", folder, list(results))


def table(results: Mapping[str, Sequence[Result]]) -> str:
    """Markdown: a row for each arm and scale, mean ± standard deviation over its seeds.

    The forbidden share is that of the arm's own negatives, of jigsaws for the other arms. Differences are from plain
    sampling of the plain arm, seed by seed, with Student's 95 % interval.
    """
    names = ("precision", "recall", "density", "coverage")
    head = ["arm", "s", "seeds", "Fréchet", "− plain", *names[:3], "coverage", "− plain", "forbidden %", "copies"]
    rows, plain = [], results.get("plain", [])
    for arm, runs in results.items():
        for scale in runs[0]["scales"]:
            at = [run["scales"][scale] for run in runs]
            forbidden = [100 * row["forbidden"].get(arm, row["forbidden"]["jigsaw"]) for row in at]
            cells = ["autoguidance" if arm == "plain" and scale != "0" else arm, scale, str(len(runs))]
            for name, digits in (("frechet", 2), *((name, 3) for name in names)):
                cells.append(spread([row[name] for row in at], digits))
                if name in ("frechet", "coverage"):
                    cells.append(difference(runs, plain, _at(name, scale), _at(name, "0"), digits))
            rows.append([*cells, spread(forbidden, 1), spread([row["copies"] for row in at])])
    references = next(iter(results.values()))[0]["references"]
    real, share = references[REFERENCE], references[HELD_OUT]["forbidden"]["jigsaw"]
    measures = [f"{real['frechet']:.2f}", "", *(f"{real[name]:.3f}" for name in names)]
    return markdown(head, [*rows, [f"*{REFERENCE}*", "", "", *measures, "", f"{100 * share:.1f} (held out)", ""]])


def lowest(results: Mapping[str, Sequence[Result]]) -> str:
    """Markdown: how low each arm's Fréchet distance gets along its curve, and the difference from autoguidance's."""
    rows = []
    for arm, runs in results.items():
        scales = [_best(run) for run in runs]
        apart = difference(runs, results.get("plain", []), _lowest, _lowest, 2)
        rows.append([arm, spread([_lowest(run) for run in runs]), ", ".join(scales), apart])
    return markdown(["arm", "lowest Fréchet", "at s", "− autoguidance's"], rows)


def difference(
    runs: Sequence[Result],
    plain: Sequence[Result],
    value: Callable[[Result], float],
    baseline: Callable[[Result], float],
    digits: int,
) -> str:
    """How a value of runs differs from the baseline of plain ones with their seeds: mean and 95 % interval.

    Nothing where there are no plain ones, and where runs are compared with themselves.
    """
    compared = {run["seed"]: baseline(run) for run in plain}
    found = [value(run) - compared[run["seed"]] for run in runs if run["seed"] in compared]
    if not any(found):
        return ""
    low, high = interval(found)
    return f"{statistics.mean(found):+.{digits}f} [{low:+.{digits}f}, {high:+.{digits}f}]"


def _at(name: str, scale: str) -> Callable[[Result], float]:
    """A measure at a scale."""
    return lambda run: float(run["scales"][scale][name])


def _best(run: Result) -> str:
    """The scale at which the Fréchet distance of a run is lowest."""
    scales: list[str] = sorted(run["scales"], key=lambda scale: _at("frechet", scale)(run))
    return scales[0]


def _lowest(run: Result) -> float:
    return _at("frechet", _best(run))(run)


def draw_curves(path: Path, results: Mapping[str, Sequence[Result]]) -> None:
    """Draw what the scale does: Fréchet distance and coverage against it, and precision against coverage."""
    figure = Figure(figsize=(11, 3.6), layout="constrained")
    panels = figure.subplots(1, 3)
    for number, (arm, runs) in enumerate(results.items()):
        style = {"color": "black" if arm == "plain" else colormaps["tab10"](number), "marker": "o", "markersize": 3}
        scales = [float(scale) for scale in runs[0]["scales"]]
        curves = {
            name: [statistics.mean(run["scales"][scale][name] for run in runs) for scale in runs[0]["scales"]]
            for name in ("frechet", "coverage", "precision")
        }
        label = "plain, autoguidance" if arm == "plain" else arm
        panels[0].plot(scales, curves["frechet"], label=label, **style)
        panels[1].plot(scales, curves["coverage"], **style)
        panels[2].plot(curves["coverage"], curves["precision"], **style)
    for axes, (x, y) in zip(
        panels, (("s", "Fréchet distance"), ("s", "coverage"), ("coverage", "precision")), strict=True
    ):
        axes.set_xlabel(x)
        axes.set_ylabel(y)
    panels[0].legend(fontsize=7)
    figure.savefig(path, dpi=90, facecolor="white")


def draw_samples(path: Path, folder: Path, arms: Sequence[str], columns: int = 16) -> None:
    """Write the first images of each arm's first seed, a row for each scale, none chosen."""
    rows = []
    for arm in arms:
        images = load_checkpoint(folder / f"{arm}-1" / IMAGES, {"images": dict})["images"]
        rows += [data.normalize(made[:columns]) for made in images.values()]
    pictures.save_png(pictures.grid(torch.cat(rows), columns=columns), path)


def _settings(path: Path, overrides: Sequence[str], arm: str, seed: int) -> Config:
    base = config.load(path, overrides)
    folder = Path(base.RUN.save_dir) / f"{arm}-{seed}"
    snapshot = base.OPTIMIZATION.total_steps // SNAPSHOT if arm == "plain" else 0
    own = [*ARMS[arm], f"RUN.seed={seed}", f"RUN.save_dir={folder}", f"RUN.snapshot_step={snapshot}"]
    return config.load(path, [*overrides, *own])


@command
def main(
    overrides: Annotated[list[str] | None, typer.Argument(help="SECTION.key=value, the same for all runs")] = None,
    path: Annotated[Path, typer.Option("--config", help="A YAML file")] = DIGITS,
    arm: Annotated[list[str] | None, typer.Option(help=f"NAME or NAME=SEEDS, of {', '.join(ARMS)}")] = None,
    count: Annotated[int, typer.Option(help="How many images at each scale")] = 400,
    epochs: Annotated[int, typer.Option(help="How long the classifiers train")] = 15,
) -> None:
    """Compare guidance away from several negatives, autoguidance, and none."""
    folder = measure(path, overrides or (), parse_arms(arm or ["plain", "jigsaw"], ARMS), count, epochs)
    print((folder / "report.md").read_text())


if __name__ == "__main__":
    typer.run(main)
