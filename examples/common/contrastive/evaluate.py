"""How good features are: nearest neighbours and a linear classifier, both with Lightly's helpers."""

from typing import cast

import torch
from lightly.utils.benchmarking import LinearClassifier, knn_predict
from pytorch_lightning import Callback, LightningModule, Trainer
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import BatchSampler, DataLoader, RandomSampler, TensorDataset

from examples.common.contrastive.sections import Evaluation
from examples.common.contrastive.views import plain
from examples.common.data import Images, labels_of
from examples.common.fitting import quiet
from examples.common.randomness import generator, seeded


@torch.no_grad()
def embed(backbone: nn.Module, images: Tensor, batch_size: int = 256) -> Tensor:
    """Features ``(N, D)`` of uint8 images, as they are, with the backbone in eval mode; on the CPU.

    Args:
        backbone: Images or clips to features.
        images: ``(N, ...)``.
        batch_size: How many at a time.
    """
    device, training = next(backbone.parameters()).device, backbone.training
    backbone.eval()
    features = [backbone(plain(some.to(device))).float().cpu() for some in torch.split(images, batch_size)]
    backbone.train(training)
    return torch.cat(features)


def measures(backbone: nn.Module, training: Images, test: Images, settings: Evaluation, seed: int) -> dict[str, float]:
    """Measures of features of test images: accuracies ``knn`` and ``linear``, in [0, 1], and ``spread``."""
    truth, features = labels_of(test), embed(backbone, test.images)
    found = _labels(embed(backbone, training.images), labels_of(training), features, settings, seed)
    accuracies = {measure: (labels == truth).float().mean().item() for measure, labels in found.items()}
    return {**accuracies, "spread": spread(features)}


def found_labels(
    backbone: nn.Module, training: Images, test: Images, settings: Evaluation, seed: int
) -> dict[str, Tensor]:
    """The labels ``(N,)`` that nearest neighbours and a linear layer give to test images."""
    bank, features = embed(backbone, training.images), embed(backbone, test.images)
    return _labels(bank, labels_of(training), features, settings, seed)


def spread(features: Tensor) -> float:
    """How far features ``(N, D)`` spread: 0 where they collapsed to one direction, 1 where they have no common one.

    The root of the variance of unit-length features, summed over dimensions; Chen & He (2021) look at it per dimension.
    """
    return F.normalize(features, dim=1).var(dim=0, correction=0).sum().sqrt().item()


def _labels(bank: Tensor, labels: Tensor, features: Tensor, settings: Evaluation, seed: int) -> dict[str, Tensor]:
    knn = knn_labels(bank, labels, features, settings.knn_k, settings.knn_temperature)
    return {"knn": knn, "linear": linear_labels(bank, labels, features, settings, seed)}


def knn_labels(bank: Tensor, bank_labels: Tensor, features: Tensor, k: int, temperature: float) -> Tensor:
    """The labels that the ``k`` nearest neighbours of features ``(M, D)`` in the bank ``(N, D)`` vote for."""
    keys, queries = F.normalize(bank, dim=1).T.contiguous(), F.normalize(features, dim=1)
    classes = int(bank_labels.max()) + 1
    k = min(k, len(bank))
    votes = [knn_predict(some, keys, bank_labels, classes, k, temperature)[:, 0] for some in torch.split(queries, 500)]
    return torch.cat(votes)


def linear_labels(training: Tensor, training_labels: Tensor, test: Tensor, settings: Evaluation, seed: int) -> Tensor:
    """The labels that a linear layer gives to features ``(M, D)``, trained on others ``(N, D)``.

    The features are those of the images as they are, computed once: the layer sees no crops, unlike in the papers.
    """
    with seeded(seed, "linear"):
        classifier = LinearClassifier(
            nn.Identity(),
            batch_size_per_device=settings.linear_batch_size,
            lr=settings.linear_lr,
            feature_dim=training.shape[1],
            num_classes=int(training_labels.max()) + 1,
            topk=(1,),
        )
    images = TensorDataset(training, training_labels)
    shuffle = RandomSampler(images, generator=generator(seed, "linear order"))
    batches = BatchSampler(shuffle, settings.linear_batch_size, drop_last=False)
    trainer = Trainer(
        max_epochs=settings.linear_epochs,
        accelerator="cpu",
        devices=1,
        logger=False,
        enable_checkpointing=False,
        enable_model_summary=False,
        enable_progress_bar=False,
    )
    with quiet():
        trainer.fit(classifier, DataLoader(images, sampler=batches, batch_size=None))
    with torch.no_grad():
        return cast(Tensor, classifier.classification_head(test)).argmax(dim=1)


class KNNAccuracy(Callback):
    """Logs the accuracy of nearest neighbours every few epochs, on the first process."""

    def __init__(self, training: Images, test: Images, settings: Evaluation) -> None:
        self.training, self.test, self.settings = training, test, settings

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        done = trainer.current_epoch + 1
        if not trainer.is_global_zero or (done % self.settings.knn_every and done != trainer.max_epochs):
            return
        accuracy = self.measure(cast(nn.Module, pl_module.backbone))
        pl_module.log("knn", accuracy, prog_bar=True, rank_zero_only=True)

    def measure(self, backbone: nn.Module) -> float:
        """The accuracy of a backbone."""
        bank, queries = (embed(backbone, part.images) for part in (self.training, self.test))
        settings = self.settings
        found = knn_labels(bank, labels_of(self.training), queries, settings.knn_k, settings.knn_temperature)
        return (found == labels_of(self.test)).float().mean().item()
