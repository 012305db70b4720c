"""Measure generated images against held-out ones: fidelity, diversity, the artefacts that negatives forbid, copies.

Fréchet and kernel distance, precision, recall, density and coverage compare features of generated images with those of
held-out ones. The features come from Inception where its weights are at hand: these are the FID and KID of papers, at
this number of images. Otherwise they come from a small classifier trained on the same training images, and compare runs
with each other only; every table names its features.

The forbidden share is the share of generated images that a classifier, trained to tell real images from negatives,
calls negative: does the generator make the artefact that the negatives forbid? The share of near-copies says how much a
generator repeats what it has seen.

Beside the runs stand rows of real images and of negatives, in the place of generated ones: what a perfect generator
would get, and what one would that makes negatives only.
"""

import json
import warnings
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from rich.box import SIMPLE_HEAD
from rich.table import Table
from torch import Tensor, nn
from torch.nn import functional as F
from torchmetrics.image.fid import FrechetInceptionDistance
from torchmetrics.image.kid import KernelInceptionDistance

from examples.common import data
from examples.common.data import Images
from examples.common.negatives import Negatives
from examples.common.randomness import batch_indices
from examples.common.settings import ConfigError
from nda_augment._seeding import seeded
from nda_augment.metrics import precision_recall_density_coverage

FEATURES = 64
NEAREST_K = 5
FEW = 1000  # below, a Fréchet distance says more about the sample than about the generator
REFERENCE = "real (training)"
HELD_OUT = "real (held out)"
NEGATIVES = "negatives (held out)"
_KERNEL_SUBSETS = 50
_COLUMNS = {
    "frechet": "Fréchet",
    "kernel": "kernel",
    "precision": "prec.",
    "recall": "recall",
    "density": "dens.",
    "coverage": "cover.",
    "forbidden": "forb.",
    "copies": "copies",
    "logit_gap": "gap",
    "nearness": "near",
}

Extract = Callable[[Tensor], Tensor]


@dataclass
class Scores:
    """One line of a report; ``None`` where a measure makes no sense.

    Attributes:
        frechet: Fréchet distance (FID, where the features are Inception's) to the held-out images.
        kernel: Squared kernel distance (KID) to them, unbiased, a mean over subsets.
        kernel_std: Its standard deviation over the subsets.
        precision: See :class:`nda_augment.metrics.PRDC`, as the next three.
        recall: Share of held-out images within reach of a generated one.
        density: How crowded with real images the places of generated ones are.
        coverage: Share of held-out images near which there is a generated one.
        forbidden: Share of images that the real-versus-negative classifier calls negative.
        copies: See :func:`near_copies`.
        logit_gap: Mean real minus mean negative logit of a GAN's discriminator, over its last logged rows.
        nearness: Of a GAN with instances: how often an image is nearer to its own instance's neighbours than to those
            of another, in the encoder's features.
    """

    frechet: float | None = None
    kernel: float | None = None
    kernel_std: float | None = None
    precision: float | None = None
    recall: float | None = None
    density: float | None = None
    coverage: float | None = None
    forbidden: float | None = None
    copies: float | None = None
    logit_gap: float | None = None
    nearness: float | None = None


@dataclass
class Report:
    """Scores of runs, all against the same held-out images and with equally many of their own.

    Attributes:
        n: Images on either side of every comparison.
        features: What the features are of.
        feature_dim: Length of a feature vector.
        nearest_k: Of precision, recall, density and coverage.
        classifier_accuracy: Of the classifier that the features come from, on the held-out images; ``None`` with
            Inception.
        negatives: What the real-versus-negative classifier was trained to find.
        rows: Name to scores; the first three are the references.
    """

    n: int
    features: str
    feature_dim: int
    nearest_k: int
    classifier_accuracy: float | None
    negatives: str
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

    @torch.no_grad()
    def predict(self, images: Tensor) -> Tensor:
        """The likeliest class of each image, ``(N,)``."""
        return torch.cat([self(some).argmax(dim=1) for some in torch.split(images, 512)])


class Judge:
    """Scores images of one data set: the classifiers are trained once, and used for any number of generators.

    Args:
        training: The images that the generators learned from, or of which they each learned from a part.
        held_out: Images that they did not see.
        negatives: Whose artefact is looked for; of a seed that all runs have in common, so that the same judges all.
        classifier_epochs: How long the classifiers train.
        inception: File with Inception's weights, for the FID and KID of papers.

    Raises:
        ConfigError: If there are too few held-out images, for a comparison.
        FileNotFoundError: If there is no file of weights at ``inception``.
        ImportError: If what runs Inception is missing.
    """

    def __init__(
        self,
        training: Images,
        held_out: Images,
        negatives: Negatives,
        *,
        classifier_epochs: int = 15,
        inception: Path | None = None,
    ) -> None:
        self.n = min(len(training), len(held_out))
        if self.n <= NEAREST_K:
            raise ConfigError(f"only {self.n} images to compare; raise DATA.holdout or add images")
        self.accuracy: float | None = None
        self.extract: Extract
        if inception is None:
            known, unknown, of = training, held_out, "the training images"
            if training.labels is None:
                known, unknown = turned(training), turned(held_out)
                of = "how the training images, which have no labels, were turned"
            classifier = train_classifier(known, epochs=classifier_epochs)
            self.accuracy = _accuracy(classifier, unknown)
            self.features, self.extract = f"an own classifier of {of}", classifier.features
        else:
            self.features, self.extract = "Inception (torch-fidelity's weights)", inception_features(inception)
        self.negatives = str(negatives)
        self.artefacts = train_artefact_classifier(training, negatives, epochs=classifier_epochs)
        self._training = data.normalize(training.images[: self.n])
        held_out = held_out[torch.arange(self.n)]
        self.held_out = data.normalize(held_out.images)
        self._negatives = negatives.of(replace(held_out, images=self.held_out), number=-1)
        self._real = self.extract(self.held_out)

    def references(self) -> dict[str, Scores]:
        """Rows of real images and of negatives, in the place of generated ones.

        Training images are what a perfect generator makes; the classifiers know them, so their forbidden share is taken
        from the held-out images, which in turn cannot be compared with themselves.
        """
        return {
            REFERENCE: replace(self.score(self._training), forbidden=None),
            HELD_OUT: Scores(forbidden=self.forbidden_share(self.held_out)),
            NEGATIVES: self.score(self._negatives),
        }

    def score(self, images: Tensor, seen: Tensor | None = None) -> Scores:
        """Score images for a fair comparison.

        Args:
            images: ``(n, C, H, W)`` in [-1, 1].
            seen: What their generator learned from, ``(N, C, H, W)``, where it was not all training images.
        """
        features = self.extract(images)
        kernel, kernel_std = kernel_distance(self._real, features)
        prdc = precision_recall_density_coverage(self._real, features, nearest_k=NEAREST_K)
        return Scores(
            frechet=frechet_distance(self._real, features),
            kernel=kernel,
            kernel_std=kernel_std,
            **{name: value.item() for name, value in prdc._asdict().items()},
            forbidden=self.forbidden_share(images),
            copies=near_copies(images, self._training if seen is None else seen, self.held_out),
        )

    def forbidden_share(self, images: Tensor) -> float:
        """Share of images that the real-versus-negative classifier calls negative."""
        return self.artefacts.predict(images).double().mean().item()

    def report(self, rows: dict[str, Scores]) -> Report:
        """A report of rows, under the references."""
        dim = self._real.shape[1]
        rows = self.references() | rows
        return Report(self.n, self.features, dim, NEAREST_K, self.accuracy, self.negatives, rows)


def turned(images: Images) -> Images:
    """Images turned by 0, 90, 180 and 270 degrees, labelled with which: what an encoder learns without labels.

    Source: Gidaris et al., "Unsupervised Representation Learning by Predicting Image Rotations", ICLR 2018.
    """
    views = torch.cat([images.images.rot90(turn, (2, 3)) for turn in range(4)])
    return Images(views, torch.arange(4).repeat_interleave(len(images)))


def train_classifier(training: Images, *, epochs: int = 15, batch_size: int = 64, seed: int = 0) -> Classifier:
    """Train a classifier on labelled images; the same images give the same classifier.

    Raises:
        ConfigError: If the images have no labels.
    """
    if training.labels is None:
        raise ConfigError("a classifier needs labels: sub-folders named after the classes, or an array in the .npz")
    images, labels = data.normalize(training.images), training.labels
    batches = ((images[chosen], labels[chosen]) for chosen, _ in _batches(len(images), batch_size, epochs, seed))
    return _trained(_new_classifier(images.shape[1], training.classes, seed), batches)


def train_artefact_classifier(
    training: Images, negatives: Negatives, *, epochs: int = 15, batch_size: int = 64, seed: int = 0
) -> Classifier:
    """Train a classifier to tell real images (class 0) from negatives made of them (class 1), anew in every batch."""

    def batches() -> Iterator[tuple[Tensor, Tensor]]:
        for chosen, number in _batches(len(training), batch_size, epochs, seed):
            batch = training[chosen]
            batch = replace(batch, images=data.normalize(batch.images))
            both = torch.cat([batch.images, negatives.of(batch, number)])
            yield both, torch.arange(2).repeat_interleave(len(batch))

    return _trained(_new_classifier(training.images.shape[1], 2, seed), batches())


def inception_features(weights: Path) -> Extract:
    """Return what makes Inception features ``(N, 2048)`` of images ``(N, C, H, W)`` in [-1, 1].

    The network is the one of torch-fidelity, in eval mode and frozen, which FID and KID of papers are compared with.

    Args:
        weights: The file ``weights-inception-2015-12-05-6726825d.pth`` of torch-fidelity. It is not downloaded here.

    Raises:
        FileNotFoundError: If there is no such file.
        ImportError: If torch-fidelity is missing.
    """
    if not weights.is_file():
        raise FileNotFoundError(
            f"no Inception weights at {weights}; get weights-inception-2015-12-05-6726825d.pth from the releases of "
            "github.com/toshas/torch-fidelity, or leave --inception out for features of an own classifier"
        )
    try:
        metric = FrechetInceptionDistance(feature=2048, feature_extractor_weights_path=str(weights))
    except ModuleNotFoundError as error:
        raise ImportError("Inception's features need torch-fidelity: pip install torch-fidelity") from error
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    network = metric.inception.to(device).eval().requires_grad_(False)

    @torch.no_grad()
    def extract(images: Tensor) -> Tensor:
        pixels = ((images + 1) * 127.5).round().clamp(0, 255).to(torch.uint8).expand(-1, 3, -1, -1)
        return torch.cat([network(some.to(device)).cpu() for some in torch.split(pixels, 64)])

    return extract


def near_copies(images: Tensor, seen: Tensor, held_out: Tensor) -> float:
    """Share of images that are nearer to one that their generator has seen than to any of as many held-out ones.

    Pixels are compared. 0.5 is no copying at all, 1 nothing but copies.
    """
    few = min(len(seen), len(held_out))
    own, other = (torch.cdist(images.flatten(1), pool[:few].flatten(1)).amin(1) for pool in (seen, held_out))
    return (own < other).double().mean().item()


def frechet_distance(real: Tensor, fake: Tensor) -> float:
    """Fréchet distance between Gaussians fitted to two sets of features, by torchmetrics."""
    metric = FrechetInceptionDistance(feature=_handed_through(real)).set_dtype(torch.float64)
    metric.update(real.double(), real=True)
    metric.update(fake.double(), real=False)
    distance: float = metric.compute().item()
    return max(distance, 0.0)  # equal sets come out some 1e-16 below zero


def kernel_distance(real: Tensor, fake: Tensor) -> tuple[float, float]:
    """Kernel distance between two sets of features by torchmetrics: mean and standard deviation over subsets.

    Unbiased, so it may be below zero. The subsets are the same in every call, and torch's random state stays as it was.
    """
    size = max(min(1000, len(real) // 2, len(fake) // 2), 2)  # subsets of all would all be the same
    with warnings.catch_warnings():  # that it keeps all features, which are there already
        warnings.filterwarnings("ignore", message="Metric `Kernel Inception Distance` will save", category=UserWarning)
        metric = KernelInceptionDistance(feature=_handed_through(real), subsets=_KERNEL_SUBSETS, subset_size=size)
    metric.set_dtype(torch.float64)
    metric.update(real.double(), real=True)
    metric.update(fake.double(), real=False)
    with seeded(0):
        mean, deviation = metric.compute()
    return mean.item(), deviation.item()


def save_report(report: Report, path: Path, **more: Any) -> None:
    """Write a report as JSON, with further entries beside it."""
    path.write_text(json.dumps({**more, **asdict(report)}, indent=2) + "\n")


def table(report: Report, title: str) -> Table:
    """A report for the terminal; measures that no row has are left out."""
    features = f"{report.feature_dim} features of {report.features}"
    if report.classifier_accuracy is not None:
        features += f", which is right on {report.classifier_accuracy:.1%} of the held-out images"
    caption = (
        f"Against as many held-out images, n = {report.n}; {features}; k = {report.nearest_k}. Fréchet and kernel "
        "distance: lower is better; precision, recall, density, coverage: higher. Forbidden: share of images that a "
        f"classifier takes for negatives ({report.negatives}); copies: share that is nearer to training images than to "
        "held-out ones, 0.5 without copying; gap: real minus negative logit at the end of the run; near: how often an "
        "image is nearer to its own instance's neighbours than to those of another, 0.5 by chance. The first row is "
        "about what a perfect generator would get, but for the copies."
    )
    if report.n <= FEW:
        caption += " These are few images: differences that the first row also has between seeds mean nothing."
    drawn = Table(title=title, caption=caption, caption_justify="left", box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    drawn.add_column("images")
    shown = [name for name in _COLUMNS if any(getattr(row, name) is not None for row in report.rows.values())]
    for name in shown:
        drawn.add_column(_COLUMNS[name], justify="right", no_wrap=True)
    for name, row in report.rows.items():
        drawn.add_row(name, *(_cell(getattr(row, measure)) for measure in shown))
    return drawn


def _cell(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def _handed_through(features: Tensor) -> nn.Module:
    """What torchmetrics gets as its network: the features are computed already, since the other scores need them too.

    It has no weights, no train mode and no random input to get wrong.
    """
    network = nn.Identity()
    network.num_features = features.shape[1]  # type: ignore[assignment]  # else a uint8 image is sent through
    return network


def _new_classifier(channels: int, classes: int, seed: int) -> Classifier:
    with seeded(seed):
        return Classifier(channels, classes)


def _batches(images: int, batch_size: int, epochs: int, seed: int) -> Iterator[tuple[Tensor, int]]:
    """Which images make up each batch, and its number."""
    batch_size = min(batch_size, images)
    for number in range(epochs * (images // batch_size)):
        yield batch_indices(images, batch_size, seed, number), number


def _trained(classifier: Classifier, batches: Iterator[tuple[Tensor, Tensor]]) -> Classifier:
    optimizer = torch.optim.Adam(classifier.parameters(), lr=1e-3)
    for images, labels in batches:
        loss = F.cross_entropy(classifier(images), labels)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    return classifier.eval().requires_grad_(False)


def _accuracy(classifier: Classifier, images: Images) -> float:
    assert images.labels is not None  # train_classifier has seen to it
    predictions = classifier.predict(data.normalize(images.images))
    return (predictions == images.labels).double().mean().item()
