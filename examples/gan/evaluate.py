"""Measure trained runs against held-out images: ``python -m examples.gan.evaluate RUN_FOLDER [RUN_FOLDER ...]``.

Fréchet distance, precision, recall, density and coverage, on the features of a small classifier that is trained on the
same training images. Such numbers compare runs with each other; they are not the FID of papers, whose features come
from Inception. The first row, real training images in the place of generated ones, is about what a perfect generator
scores (the classifier knows these images, which flatters or costs them a little).
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from rich.table import Table
from torch import Tensor, nn
from torch.nn import functional as F
from torchmetrics.image.fid import FrechetInceptionDistance

from examples.gan import checkpoint, config, data
from examples.gan.config import Config
from examples.gan.data import Images
from examples.gan.models import Generator
from examples.gan.randomness import batch_indices
from examples.gan.train import CHECKPOINT, console, sample
from nda_augment.metrics import precision_recall_density_coverage

FEATURES = 64
NEAREST_K = 5
REFERENCE = "real (training)"


@dataclass
class Scores:
    """One line of a report."""

    frechet: float
    precision: float
    recall: float
    density: float
    coverage: float


@dataclass
class Report:
    """Scores of runs, all against the same held-out images and with equally many of their own.

    Attributes:
        n: Images on either side of every comparison.
        feature_dim: Length of a feature vector.
        nearest_k: Of precision, recall, density and coverage.
        classifier_accuracy: Of the classifier that the features come from, on the held-out images.
        rows: Name to scores; the first compares training images with held-out ones.
    """

    n: int
    feature_dim: int
    nearest_k: int
    classifier_accuracy: float
    rows: dict[str, Scores]


class Classifier(nn.Module):
    """A small convolutional classifier of images in [-1, 1]; ``features`` are what its last layer sees."""

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(channels, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(32, 64, 3, padding=1), nn.ReLU(), nn.AdaptiveMaxPool2d(4),
            nn.Flatten(), nn.Linear(64 * 16, FEATURES), nn.ReLU(),
        )  # fmt: skip
        self.head = nn.Linear(FEATURES, classes)

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.head(self.body(images))
        return logits

    @torch.no_grad()
    def features(self, images: Tensor) -> Tensor:
        """Features ``(N, 64)`` of images ``(N, C, H, W)`` in [-1, 1]."""
        return torch.cat([self.body(some) for some in torch.split(images, 512)])


def train_classifier(training: Images, *, epochs: int = 15, batch_size: int = 64, seed: int = 0) -> Classifier:
    """Train a classifier on labelled images; the same images give the same classifier."""
    if training.labels is None:
        raise ValueError(
            "the features come from a classifier, so the images need labels: sub-folders named after the classes, "
            "or an array 'labels' in the .npz"
        )
    images, batch_size = data.normalize(training.images), min(batch_size, len(training))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        classifier = Classifier(images.shape[1], int(training.labels.max()) + 1)
    optimizer = torch.optim.Adam(classifier.parameters(), lr=1e-3)
    for batch in range(epochs * (len(images) // batch_size)):
        indices = batch_indices(len(images), batch_size, seed, batch)
        loss = F.cross_entropy(classifier(images[indices]), training.labels[indices])
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    return classifier.eval().requires_grad_(False)


def generate(folder: Path, count: int) -> Tensor:
    """Images of a run's averaged generator: ``(count, C, H, W)`` in [-1, 1]."""
    settings = _settings(folder)
    state = checkpoint.load(folder / CHECKPOINT)
    channels = state["average"]["end.2.weight"].shape[0]
    network = Generator(settings.DATA.img_size, channels, settings.MODEL.z_dim, settings.MODEL.g_conv_dim)
    network.load_state_dict(state["average"])
    return sample(network.eval(), count, settings.MODEL.z_dim, settings.RUN.seed, "evaluation")


def evaluate(runs: dict[str, Path], *, classifier_epochs: int = 15) -> Report:
    """Score the runs, which must be on the same data, and real training images beside them.

    Args:
        runs: Name to folder.
        classifier_epochs: How long the classifier trains.

    Raises:
        ValueError: If the runs are on different data, or the data have no labels or no held-out images.
    """
    sources = {name: _settings(folder).DATA for name, folder in runs.items()}
    source, *others = sources.values()
    if any(other != source for other in others):
        raise ValueError(f"runs on different data cannot be compared: {sources}")
    training, held_out = data.load(source)
    n = min(len(training), len(held_out))
    if n <= NEAREST_K:
        raise ValueError(f"only {n} images to compare; raise DATA.holdout (it is {source.holdout}) or add images")
    classifier = train_classifier(training, epochs=classifier_epochs)

    real = classifier.features(data.normalize(held_out.images[:n]))
    rivals = {REFERENCE: data.normalize(training.images[:n])}
    rivals |= {name: generate(folder, n) for name, folder in runs.items()}
    rows = {name: compare(real, classifier.features(images)) for name, images in rivals.items()}
    return Report(n, FEATURES, NEAREST_K, _accuracy(classifier, held_out), rows)


def compare(real: Tensor, fake: Tensor) -> Scores:
    """Score generated features ``(N, D)`` against real ones ``(M, D)``."""
    prdc = precision_recall_density_coverage(real, fake, nearest_k=NEAREST_K)
    return Scores(frechet_distance(real, fake), *(value.item() for value in prdc))


def frechet_distance(real: Tensor, fake: Tensor) -> float:
    """Fréchet distance between Gaussians fitted to two sets of features, by torchmetrics.

    torchmetrics takes a network for the features; these are computed already (the other scores need them too), so the
    network it gets hands them through. It has no weights, no train mode and no random input to get wrong.
    """
    features = nn.Identity()
    features.num_features = real.shape[1]  # type: ignore[assignment]  # else torchmetrics would guess it by a uint8 image
    metric = FrechetInceptionDistance(feature=features).set_dtype(torch.float64)
    metric.update(real.double(), real=True)
    metric.update(fake.double(), real=False)
    distance: float = metric.compute().item()
    return max(distance, 0.0)  # equal sets come out some 1e-16 below zero


def save_report(report: Report, path: Path, **more: Any) -> None:
    """Write a report as JSON, with further entries beside it."""
    path.write_text(json.dumps({**more, **asdict(report)}, indent=2) + "\n")


def table(report: Report, title: str) -> Table:
    """A report for the terminal."""
    caption = (
        f"Against as many held-out images, n = {report.n}; {report.feature_dim} features of a classifier that is right "
        f"on {report.classifier_accuracy:.1%} of them; k = {report.nearest_k}. Fréchet distance: lower is better; "
        "the others: higher. The first row is about what a perfect generator would get."
    )
    drawn = Table(title=title, caption=caption, caption_justify="left")
    drawn.add_column("images", no_wrap=True)
    for name in ("Fréchet", "precision", "recall", "density", "coverage"):
        drawn.add_column(name, justify="right")
    for name, scores in report.rows.items():
        drawn.add_row(name, *(f"{value:.3f}" for value in asdict(scores).values()))
    return drawn


def _settings(folder: Path) -> Config:
    return config.load(folder / "config.yaml")


def _accuracy(classifier: Classifier, images: Images) -> float:
    assert images.labels is not None  # train_classifier has seen to it
    with torch.no_grad():
        predictions = classifier(data.normalize(images.images)).argmax(dim=1)
    accuracy: float = (predictions == images.labels).double().mean().item()
    return accuracy


def main(
    folders: Annotated[list[Path], typer.Argument(help="Folders of runs on the same data")],
    output: Annotated[Path | None, typer.Option(help="Write the numbers there, as JSON")] = None,
) -> None:
    """Score trained runs against held-out images."""
    report = evaluate({str(folder): folder for folder in folders})
    console.print(table(report, "Generated images"))
    if output:
        save_report(report, output)
        console.print(f"Numbers are in {output}")


if __name__ == "__main__":
    typer.run(main)
