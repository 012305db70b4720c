"""How good features of clips are, with the nearest neighbours and the linear layer of ``examples.contrastive``."""

import torch
from torch import Tensor, nn

from examples.common.data import Images, labels_of
from examples.contrastive import evaluate as of_features
from examples.contrastive.config import Evaluation
from examples.video.views import plain


@torch.no_grad()
def embed(backbone: nn.Module, clips: Tensor, batch_size: int = 256) -> Tensor:
    """Features ``(N, D)`` of uint8 clips, as they are, with the backbone in eval mode; on the CPU."""
    device, training = next(backbone.parameters()).device, backbone.training
    backbone.eval()
    features = [backbone(plain(some.to(device))).float().cpu() for some in torch.split(clips, batch_size)]
    backbone.train(training)
    return torch.cat(features)


def accuracies(
    backbone: nn.Module, training: Images, test: Images, settings: Evaluation, seed: int
) -> dict[str, float]:
    """Accuracy of the labels of test clips, in [0, 1], by nearest neighbours and by a linear layer."""
    bank, features = embed(backbone, training.images), embed(backbone, test.images)
    labels, test_labels = labels_of(training), labels_of(test)
    knn = of_features.knn_accuracy(bank, labels, features, test_labels, settings.knn_k, settings.knn_temperature)
    return {"knn": knn, "linear": of_features.linear_accuracy(bank, labels, features, test_labels, settings, seed)}


class KNNAccuracy(of_features.KNNAccuracy):
    """Logs the accuracy of nearest neighbours every few epochs, on the first process."""

    def measure(self, backbone: nn.Module) -> float:
        """The accuracy of a backbone."""
        bank, features = embed(backbone, self.training.images), embed(backbone, self.test.images)
        labels, test_labels, settings = labels_of(self.training), labels_of(self.test), self.settings
        return of_features.knn_accuracy(bank, labels, features, test_labels, settings.knn_k, settings.knn_temperature)
