"""How good features are: nearest neighbours and a linear classifier, both with Lightly's helpers."""

from typing import cast

import torch
from lightly.utils.benchmarking import LinearClassifier, knn_predict
from pytorch_lightning import Callback, LightningModule, Trainer
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import BatchSampler, DataLoader, RandomSampler, SequentialSampler, TensorDataset

from examples.common.contrastive.sections import Evaluation
from examples.common.contrastive.views import plain
from examples.common.data import Images, labels_of
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


def accuracies(
    backbone: nn.Module, training: Images, test: Images, settings: Evaluation, seed: int
) -> dict[str, float]:
    """Accuracy of the labels of test images, in [0, 1], by nearest neighbours and by a linear layer."""
    bank, features = embed(backbone, training.images), embed(backbone, test.images)
    labels, test_labels = labels_of(training), labels_of(test)
    knn = knn_accuracy(bank, labels, features, test_labels, settings.knn_k, settings.knn_temperature)
    return {"knn": knn, "linear": linear_accuracy(bank, labels, features, test_labels, settings, seed)}


def knn_accuracy(
    bank: Tensor, bank_labels: Tensor, features: Tensor, labels: Tensor, k: int, temperature: float
) -> float:
    """Share of ``(M, D)`` features whose ``k`` nearest neighbours in the bank ``(N, D)`` vote for their label."""
    keys, queries = F.normalize(bank, dim=1).T.contiguous(), F.normalize(features, dim=1)
    classes = int(bank_labels.max()) + 1
    k = min(k, len(bank))
    votes = [knn_predict(some, keys, bank_labels, classes, k, temperature)[:, 0] for some in torch.split(queries, 500)]
    return (torch.cat(votes) == labels).float().mean().item()


def linear_accuracy(
    training: Tensor, training_labels: Tensor, test: Tensor, test_labels: Tensor, settings: Evaluation, seed: int
) -> float:
    """Test accuracy of a linear layer trained on features ``(N, D)``.

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
    images, held_out = TensorDataset(training, training_labels), TensorDataset(test, test_labels)
    shuffle = RandomSampler(images, generator=generator(seed, "linear order"))
    batches = BatchSampler(shuffle, settings.linear_batch_size, drop_last=False)
    test_batches = BatchSampler(SequentialSampler(held_out), 1000, drop_last=False)
    trainer = Trainer(
        max_epochs=settings.linear_epochs,
        accelerator="cpu",
        devices=1,
        logger=False,
        enable_checkpointing=False,
        enable_model_summary=False,
        enable_progress_bar=False,
        num_sanity_val_steps=0,
        check_val_every_n_epoch=settings.linear_epochs,
    )
    trainer.fit(
        classifier,
        DataLoader(images, sampler=batches, batch_size=None),
        DataLoader(held_out, sampler=test_batches, batch_size=None),
    )
    return trainer.callback_metrics["val_top1"].item()


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
        return knn_accuracy(
            bank, labels_of(self.training), queries, labels_of(self.test), settings.knn_k, settings.knn_temperature
        )
