"""Train a small vision transformer with negatives and without, and test it on corrupted images.

``python -m examples.classification.train`` compares five arms on scikit-learn's digits, in minutes on two cores: plain
cross-entropy; the three terms of Qin et al. on shuffled patches; and, since the third is a supervised contrastive loss
that helps by itself, that loss without negatives. Runs take seconds and keep no checkpoints.
"""

import statistics
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, cast

import torch
import typer
from kornia.augmentation import RandomAffine
from rich.console import Console
from rich.progress import track
from torch import Tensor, nn

import nda_augment as nda
from examples.classification.model import VisionTransformer
from examples.common import data
from examples.common.contrastive.views import random_steps
from examples.common.corruptions import CORRUPTIONS, STRENGTHS, corrupt
from examples.common.data import Data, Epoch, Images, labels_of
from examples.common.randomness import generator, seeded
from examples.common.runs import command
from examples.common.settings import ConfigError
from examples.common.tables import markdown, spread
from examples.gan.generation import load_augmentation

ARMS = ("plain", "uniform", "distance", "supcon", "contrastive")
# From the side of the images to what is done to them: nothing, what digits bear, and the usual crops, mirrored or not.
VIEWS: dict[str, Callable[[int], nn.Module]] = {
    "none": lambda _: nn.Identity(),
    "shift": lambda _: RandomAffine(degrees=10.0, translate=(0.1, 0.1), scale=(0.9, 1.1), p=1.0),
    "crop": lambda size: _crops(size, flip=0.0),
    "crop,flip": lambda size: _crops(size, flip=0.5),
}
console = Console()

Measures = dict[str, float]


@dataclass(frozen=True)
class Settings:
    """Of a run."""

    arm: str
    seed: int
    policy: str = "patch_shuffle(grid=4)"
    negative_weight: float = 1.0
    epochs: int = 40
    batch_size: int = 64
    lr: float = 1e-3
    weight_decay: float = 0.05
    views: str = "shift"  # one of VIEWS: what is done to every image
    generator: str = ""  # the folder of an IC-GAN's run
    generated: float = 0.0  # probability that an image gives way to a neighbour of it which that one makes: DA_IC-GAN


def train(training: Images, settings: Settings) -> VisionTransformer:
    """Train one arm: all start from the same weights and see the same batches and positive augmentation."""
    classes = int(labels_of(training).max()) + 1
    with seeded(settings.seed, "weights"):
        model = VisionTransformer(training.images.shape[-1], classes)
    optimizer = torch.optim.AdamW(model.parameters(), settings.lr, weight_decay=settings.weight_decay)
    steps = settings.epochs * (len(training) // settings.batch_size)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    views = VIEWS[settings.views](training.images.shape[-1])
    swap = load_augmentation(Path(settings.generator), settings.generated, 3) if settings.generated else None
    negative = nda.from_policy(settings.policy)
    for images, labels, number in _batches(training, settings):
        pixels = images.float() / 255
        if swap is not None:
            pixels = _swapped(swap, pixels, labels, generator(settings.seed, "generated", number))
        with seeded(settings.seed, "shift", number):
            pixels = normalize(views(pixels))
        negatives = negative(pixels, generator=generator(settings.seed, "negatives", number))
        optimizer.zero_grad()
        torch.autograd.backward(loss(model, pixels, negatives, labels, settings))
        optimizer.step()
        schedule.step()
    return model.eval()


def _swapped(swap: nda.Generated, pixels: Tensor, labels: Tensor, source: torch.Generator) -> Tensor:
    told = {"labels": labels} if swap.needs_labels else {}
    swapped: Tensor = swap(normalize(pixels), generator=source, **told)
    return (swapped + 1) / 2


def loss(model: VisionTransformer, images: Tensor, negatives: Tensor, labels: Tensor, settings: Settings) -> Tensor:
    """The loss of an arm on images ``(B, C, H, W)`` and their negatives; plain and supcon do not look at negatives."""
    weight = settings.negative_weight
    logits, features = model(images)
    if settings.arm == "plain":
        return nda.losses.classification_loss(logits, labels, negative_weight=0)
    if settings.arm == "supcon":
        plain = nda.losses.classification_loss(logits, labels, negative_weight=0)
        return plain + weight * nda.losses.sup_con(features, labels)
    kind = cast(nda.losses.NegativeTerm, settings.arm)
    negative_logits, negative_features = model(negatives)
    given = (
        {"features": features, "negative_features": negative_features}
        if kind == "contrastive"
        else {"negative_logits": negative_logits}
    )
    return nda.losses.classification_loss(logits, labels, kind=kind, negative_weight=weight, **given)


@torch.no_grad()
def measure(model: VisionTransformer, test: Images, policy: str) -> Measures:
    """Accuracies on test images, corrupted ones and negatives, and the confidence on negatives, in percent."""
    pixels, labels = test.images.float() / 255, labels_of(test)

    def accuracy(images: Tensor) -> float:
        right: Tensor = model(normalize(images))[0].argmax(dim=1) == labels
        return 100 * right.float().mean().item()

    corrupted: dict[str, float] = {
        name: statistics.mean(accuracy(corrupt(pixels, name, strength)) for strength in STRENGTHS)
        for name in CORRUPTIONS
    }
    negatives = nda.from_policy(policy)(pixels, generator=generator(0, "test negatives"))
    confidence = model(normalize(negatives))[0].softmax(dim=1).amax(dim=1).mean().item()
    return {
        "clean": accuracy(pixels),
        "corrupted": statistics.mean(corrupted.values()),
        **corrupted,
        "negatives": accuracy(negatives),
        "confidence on negatives": 100 * confidence,
    }


def normalize(images: Tensor) -> Tensor:
    """Bring images in [0, 1] to [-1, 1]."""
    return images * 2 - 1


def table(measured: dict[str, list[Measures]]) -> str:
    """Markdown: mean and standard deviation over the seeds, a row for each measure."""
    names = next(iter(measured.values()))[0]
    rows = [[name, *(spread([measures[name] for measures in runs]) for runs in measured.values())] for name in names]
    return markdown(["accuracy in %", *measured], rows)


def _crops(size: int, flip: float) -> nn.Module:
    return nn.Sequential(*random_steps(size, min_scale=0.5, flip=flip, jitter=0.0, grayscale=0.0))


def _batches(training: Images, settings: Settings) -> Iterator[tuple[Tensor, Tensor, int]]:
    for epoch in range(settings.epochs):
        batches = Epoch(training, settings.batch_size, settings.seed, epoch)
        yield from (batches[place] for place in range(len(batches)))


@command
def main(
    path: Annotated[Path | None, typer.Option("--data", help="An .npz with labels; digits without one")] = None,
    size: Annotated[int, typer.Option(help="Side of the images")] = 16,
    arm: Annotated[list[str] | None, typer.Option(help=f"{', '.join(ARMS)}; may be repeated, all without")] = None,
    seeds: Annotated[int, typer.Option(help="How many, from 0 on")] = 5,
    policy: Annotated[str, typer.Option(help="The negatives")] = Settings.policy,
    weight: Annotated[float, typer.Option(help="Of the term on negatives")] = Settings.negative_weight,
    epochs: Annotated[int, typer.Option()] = Settings.epochs,
    views: Annotated[str, typer.Option(help=f"What is done to every image: {', '.join(VIEWS)}")] = Settings.views,
    ic_gan: Annotated[str, typer.Option("--generator", help="The folder of an IC-GAN's run")] = "",
    generated: Annotated[float, typer.Option(help="Share of images that give way to its neighbours of them")] = 0.0,
) -> None:
    """Compare a classifier with negatives and without."""
    unknown = [name for name in arm or () if name not in ARMS]
    if unknown:
        raise typer.BadParameter(f"unknown arm {unknown[0]!r}; there are {', '.join(ARMS)}")
    if views not in VIEWS:
        raise typer.BadParameter(f"unknown views {views!r}; there are {', '.join(VIEWS)}")
    if bool(ic_gan) != bool(generated):
        raise ConfigError("--generator and --generated go together: whose images, and how many")
    source = Data(img_size=size) if path is None else Data(name="npz", path=str(path), img_size=size)
    training, test = data.load_rgb(source)
    measured: dict[str, list[Measures]] = {name: [] for name in arm or ARMS}
    runs = [(name, seed) for seed in range(seeds) for name in measured]
    for name, seed in track(runs, console=console):
        settings = Settings(name, seed, policy, weight, epochs, views=views, generator=ic_gan, generated=generated)
        model = train(training, settings)
        measured[name].append(measure(model, test, policy))
    print(table(measured))


if __name__ == "__main__":
    typer.run(main)
