"""Few labelled images, and generated ones beside them: ``python -m examples.classification.few --output FOLDER``.

An encoder and an IC-GAN learn from all training images without their labels; then a classifier learns from a few of
them with theirs, without anything, with crops, with images of the IC-GAN (DA_IC-GAN), and with both. All runs of a seed
have the same labelled images, weights to start from and batches. Encoder and IC-GAN go on where they were stopped; of
each classifier the result is kept as JSON, and none is made twice.
"""

from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Annotated

import torch
import typer
from rich.console import Console

from examples.classification.train import Measures, Settings, measure, train
from examples.common import data
from examples.common.data import Data, Images
from examples.common.randomness import generator
from examples.common.runs import command, once
from examples.common.settings import ConfigError
from examples.common.tables import interval, markdown, spread
from examples.contrastive import config as contrastive
from examples.contrastive import train as features
from examples.gan import config as gan
from examples.gan import evaluate
from examples.gan import train as generating
from examples.gan.generation import load_generator
from nda_augment._files import write_text

SHARES = (0.1, 0.3, 0.5)
TESTED = 1000
console = Console()


@dataclass(frozen=True)
class Setting:
    """Data and budget.

    Attributes:
        images: To learn from without labels.
        labelled: How many of them have labels for the classifier.
        views: The handcrafted augmentation.
        encoder: What changes the contrastive example's settings.
        generator: What changes the GAN example's.
        epochs: Of the classifiers.
    """

    images: Data
    labelled: int
    views: str
    encoder: tuple[str, ...]
    generator: tuple[str, ...]
    epochs: int


_CONTRASTIVE = ("MODEL.method=simclr", "AUG.apply_nda=false", "OPTIMIZATION.batch_size=128", "RUN.progress=false")
_IC_GAN = ("MODEL.instance_cond=true", "MODEL.instance_neighbours=10", "OPTIMIZATION.batch_size=32")


def settings_of(path: str) -> Setting:
    """The setting of scikit-learn's digits, or of sheets of CIFAR-10 at a path, at 16 pixels."""
    if not path:
        grey = ("AUG.min_scale=0.4", "AUG.flip=0", "AUG.jitter=0", "AUG.grayscale=0", "OPTIMIZATION.epochs=30")
        ic_gan = (*_IC_GAN, "OPTIMIZATION.total_steps=1500")
        return Setting(Data(img_size=16), 100, "crop", (*_CONTRASTIVE, *grey), ic_gan, epochs=200)
    images = Data(name="sheets", path=path, img_size=16, holdout=0.2, limit=8000)
    encoder = (*_CONTRASTIVE, "OPTIMIZATION.epochs=8")
    return Setting(images, 500, "crop,flip", encoder, (*_IC_GAN, "OPTIMIZATION.total_steps=2000"), epochs=60)


def arms_of(views: str, folder: str) -> dict[str, Settings]:
    """What is compared, by name: seed 0 of each."""
    bases = {"plain": Settings("plain", 0, views="none"), views: Settings("plain", 0, views=views)}
    more = {
        f"{'' if name == 'plain' else f'{name} + '}IC-GAN {share}": replace(base, generator=folder, generated=share)
        for name, base in bases.items()
        for share in SHARES
    }
    return bases | more


def compare(setting: Setting, output: Path, seeds: int) -> dict[str, list[Measures]]:
    """Train whatever is not trained yet, and return what the classifiers came to, by arm."""
    folder = prepare(setting, output)
    training, test = data.load_rgb(setting.images)
    test = test[torch.arange(min(TESTED, len(test)))]
    arms = arms_of(setting.views, str(folder))
    measured: dict[str, list[Measures]] = {name: [] for name in arms}
    for seed in range(seeds):
        labelled = few_of(training, setting.labelled, seed)
        for name, arm in arms.items():
            settings = replace(arm, seed=seed, epochs=setting.epochs, batch_size=50)
            file = output / f"{name.replace(' ', '')}-{seed}.json"
            given = {"settings": asdict(settings) | {"generator": ""}, "setting": asdict(setting)}
            measured[name].append(once(file, given, partial(_run, labelled, test, settings)))
            console.print(f"{name}, {seed}: {measured[name][-1]['clean']:.2f} %", highlight=False)
    return measured


def _run(labelled: Images, test: Images, settings: Settings) -> Measures:
    return measure(train(labelled, settings), test, settings.policy)


def prepare(setting: Setting, output: Path) -> Path:
    """Train the encoder and the IC-GAN, as far as they are not, and return the folder of the latter."""
    output.mkdir(parents=True, exist_ok=True)
    source = [f"DATA.{key}={value}" for key, value in asdict(setting.images).items() if value != ""]
    source += ["RUN.threads=1", "RUN.accelerator=cpu"]
    encoder, folder = output / "encoder", output / "generator"
    words = [*source, *setting.encoder, f"RUN.save_dir={encoder}"]
    found = features.train(contrastive.load(None, words))
    words = [*source, *setting.generator, f"MODEL.instance_encoder={encoder}", f"RUN.save_dir={folder}"]
    generating.train(gan.load(None, words))
    once(output / "generator.json", {"setting": asdict(setting)}, lambda: judged(folder) | {"knn": found["knn"]})
    return folder


def judged(folder: Path) -> Measures:
    """How good an IC-GAN is, in its features and in those of a classifier of all labels."""
    row = asdict(evaluate.evaluate({"run": folder}).rows["run"])
    _, instances = load_generator(folder)
    assert instances is not None
    training, _ = data.load(gan.load(folder / "config.yaml").DATA)
    labels = data.labels_of(training)
    same = (labels[instances.neighbours] == labels.unsqueeze(1)).double().mean().item()
    return {name: row[name] for name in ("frechet", "coverage", "copies", "nearness")} | {"same_class": same}


def few_of(training: Images, count: int, seed: int) -> Images:
    """As many images of each class, drawn by the seed."""
    labels = data.labels_of(training)
    order = torch.randperm(len(training), generator=generator(seed, "labelled"))
    each = count // training.classes
    chosen = [order[labels[order] == number][:each] for number in range(training.classes)]
    if min(map(len, chosen)) < each:
        raise ConfigError(f"a class has {min(map(len, chosen))} training images, fewer than {each}")
    return training[torch.cat(chosen)]


def table(measured: dict[str, list[Measures]], views: str) -> str:
    """Markdown: accuracies, and how far an arm is from others seed by seed, with Student's 95 % interval.

    Args:
        measured: What the classifiers came to, by arm.
        views: The handcrafted augmentation, with which arms that add to it are compared as well.
    """
    rows = []
    for arm, runs in measured.items():
        cells = [arm, str(len(runs))]
        for name in ("clean", "corrupted"):
            cells.append(spread([run[name] for run in runs]))
            cells.append("" if arm == "plain" else _apart(runs, measured["plain"], name))
        cells.append(_apart(runs, measured[views], "clean") if arm.startswith(f"{views} + ") else "")
        rows.append(cells)
    columns = ("arm", "seeds", "clean %", "− plain, 95 %", "corrupted %", "− plain, 95 %", "clean − crops, 95 %")
    return markdown(columns, rows)


def _apart(runs: list[Measures], others: list[Measures], name: str) -> str:
    apart = [run[name] - other[name] for run, other in zip(runs, others, strict=True)]
    low, high = interval(apart)
    return f"{sum(apart) / len(apart):+.2f} [{low:+.2f}, {high:+.2f}]"


@command
def main(
    output: Annotated[Path, typer.Option(help="Where encoder, generator and results go")],
    path: Annotated[str, typer.Option("--data", help="A folder of sheets; digits without one")] = "",
    seeds: Annotated[int, typer.Option(help="How many, from 0 on")] = 5,
) -> None:
    """Compare generated images with handcrafted augmentation, where few images have labels."""
    torch.set_num_threads(1)
    setting = settings_of(path)
    text = table(compare(setting, output, seeds), setting.views)
    write_text(text, output / "few.md")
    print(text)


if __name__ == "__main__":
    typer.run(main)
