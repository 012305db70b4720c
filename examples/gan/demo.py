"""The guided tour: ``make demo``. Negatives of real photographs, then two GANs on digits, with and without negatives.

Both GANs have the same seed, data and budget. One run of each is a demonstration, not evidence.
"""

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.rule import Rule

import nda_augment as nda
from examples.common import data
from examples.common.photographs import load_photographs
from examples.gan import comparison, config, evaluate, train
from examples.gan.config import DIGITS, Config
from examples.gan.generation import CHECKPOINT, STATE
from examples.gan.train import console
from nda_augment._files import load_checkpoint
from nda_augment.gallery import save_contact_sheet

TRANSFORMS = {
    "jigsaw": nda.Jigsaw(),
    "stitch": nda.Stitch(),
    "cutmix": nda.CutMix(),
    "cutout": nda.Cutout(),
    "mixup": nda.Mixup(),
}


def demo(output: Path, overrides: Sequence[str] = (), *, classifier_epochs: int = 15) -> list[Path]:
    """Run the whole tour and return the files it wrote.

    Arms that are already trained with the same settings are not trained again; one that was stopped goes on.

    Args:
        output: Folder to write to.
        overrides: Changes to the digits config for both arms, such as ``OPTIMIZATION.total_steps=20``.
        classifier_epochs: How long the classifier behind the measurements trains.
    """
    console.print(Rule("1  Negatives of photographs"))
    photographs, _ = load_photographs(size=192)
    gallery = save_contact_sheet(output / "gallery.png", photographs, TRANSFORMS)
    console.print(f"{len(photographs)} photographs and their negatives: {gallery}", soft_wrap=True)

    console.print(Rule("2  Two GANs on digits: plain, and with negatives"))
    arms = {"plain": ["AUG.apply_nda=false"], "nda": ["AUG.apply_nda=true"]}
    runs = {name: _train_arm(output / name, [*overrides, *words]) for name, words in arms.items()}

    console.print(Rule("3  What came out"))
    settings = config.load(runs["nda"] / "config.yaml")
    titles = {"plain": "plain", "nda": f"{settings.AUG.nda_policy}, λ = {settings.LOSS.nda_fake_weight:g}"}
    named = {titles[name]: folder for name, folder in runs.items()}
    comparison = output / "comparison.png"
    _draw_comparison(comparison, settings, named)
    report = evaluate.evaluate(named, classifier_epochs=classifier_epochs)
    metrics = output / "metrics.json"
    evaluate.save_report(report, metrics, config=settings.to_dict())
    title = f"Digits, {settings.OPTIMIZATION.total_steps} steps; one seed, so no evidence"
    console.print(evaluate.table(report, title))

    written = [gallery, comparison, metrics]
    for path in written:
        console.print(f"[bold]{path}", soft_wrap=True)
    return written


def _train_arm(folder: Path, overrides: Sequence[str]) -> Path:
    settings = config.load(DIGITS, [*overrides, f"RUN.save_dir={folder}"])
    saved = folder / CHECKPOINT
    if saved.exists() and load_checkpoint(saved, STATE)["config"] != settings.to_dict():
        console.print(f"{folder} was trained with other settings: starting anew", soft_wrap=True)
        shutil.rmtree(folder)
    return train.train(settings)


def _draw_comparison(path: Path, settings: Config, runs: dict[str, Path]) -> None:
    _, held_out = data.load(settings.DATA)
    histories = {name: load_checkpoint(folder / CHECKPOINT, STATE)["history"] for name, folder in runs.items()}
    samples = {name: evaluate.generate(folder, 100) for name, folder in runs.items()}
    title = f"Two GANs, the same seed and {settings.OPTIMIZATION.total_steps} steps; the first 100 samples, none chosen"
    comparison.save_comparison(path, data.normalize(held_out.images[:100]), samples, histories, title)


def main(
    overrides: Annotated[list[str] | None, typer.Argument(help="SECTION.key=value, for both GANs")] = None,
    output: Annotated[Path, typer.Option(help="Folder to write to")] = Path("runs/demo"),
) -> None:
    """Negatives of photographs, then two GANs on digits, with and without negatives."""
    try:
        demo(output, overrides or ())
    except config.ConfigError as error:
        raise typer.BadParameter(str(error)) from error


if __name__ == "__main__":
    typer.run(main)
