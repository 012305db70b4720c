"""Outlier exposure: a classifier that learns its classes, and to be uncertain about negatives.

It tells images of its data set from others by its largest probability, by its energy, or by a Gaussian density on its
features. Sources: Hendrycks et al., ICLR 2019 (the loss and the first score); Liu et al., NeurIPS 2020 (the energy).
"""

import torch
from torch import Tensor, nn

import nda_augment as nda
from examples.anomaly.config import Config, negatives
from examples.anomaly.detectors import batches, scores
from examples.anomaly.protocols import Score
from examples.common.data import Epoch, Images, labels_of
from examples.common.randomness import generator, seeded
from nda_augment.anomaly import DensityDetector, Encoder, simclr_views


class Classifier(nn.Module):
    """Images ``(B, 3, H, W)`` in [0, 1] to logits ``(B, classes)``."""

    def __init__(self, classes: int, width: int) -> None:
        super().__init__()
        self.encoder = Encoder(3, width)
        self.head = nn.Linear(self.encoder.features, classes)

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.head(self.encoder(images))
        return logits


def train(settings: Config, training: Images) -> Classifier:
    """Learn the classes of labelled images; with negatives in the config, those as outliers. On the CPU."""
    optimization, aug, seed = settings.OPTIMIZATION, settings.AUG, settings.RUN.seed
    with seeded(seed, "weights"):
        model = Classifier(training.classes, settings.MODEL.width).to(memory_format=torch.channels_last)
    members = negatives(aug.negatives)
    mixture = nda.Mixture(members) if members else None
    size = settings.DATA.img_size
    views = simclr_views((size, size), color=aug.color, flip=aug.flip, min_scale=aug.min_scale)
    optimizer = torch.optim.AdamW(model.parameters(), optimization.lr)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, optimization.epochs)
    for epoch in range(optimization.epochs):
        for place in range(len(order := Epoch(training, optimization.batch_size, seed, epoch))):
            images, labels, number = order[place]
            with seeded(seed, "views", number):
                real = views(images.float() / 255)
            optimizer.zero_grad()
            torch.autograd.backward(_loss(model, real, labels, mixture, generator(seed, "negatives", number)))
            optimizer.step()
        schedule.step()
    return model.eval()


def _loss(
    model: Classifier, images: Tensor, labels: Tensor, mixture: nda.Mixture | None, source: torch.Generator
) -> Tensor:
    if mixture is None:
        return nda.losses.classification_loss(model(images), labels, negative_weight=0)
    # One pass for both: apart, batch norm would tell them from each other by their statistics.
    logits, negative_logits = model(torch.cat([images, mixture(images, generator=source)])).chunk(2)
    return nda.losses.classification_loss(logits, labels, negative_logits=negative_logits, negative_weight=0.5)


def scorers(model: Classifier, training: Images, batch_size: int) -> dict[str, Score]:
    """The three ways to score uint8 images with a classifier; higher is more likely to be from elsewhere."""
    density = DensityDetector(model.encoder, model.encoder.features).fit(batches(training.images, batch_size))

    def logits(images: Tensor) -> Tensor:
        with torch.no_grad():
            return torch.cat([model(some.float() / 255) for some in torch.split(images, 500)])

    return {
        "max-softmax": lambda images: -logits(images).softmax(dim=1).amax(dim=1),
        "energy": lambda images: -logits(images).logsumexp(dim=1),
        "density": lambda images: scores(density, images),
    }


def accuracy(model: Classifier, test: Images) -> float:
    """Share of test images that are classified right, in percent."""
    with torch.no_grad():
        right: Tensor = model(test.images.float() / 255).argmax(dim=1) == labels_of(test)
    return 100 * right.float().mean().item()
