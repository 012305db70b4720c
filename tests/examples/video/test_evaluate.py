import pytest
import torch
from torch import Tensor, nn

from examples.common.contrastive.evaluate import KNNAccuracy, embed, measures
from examples.common.contrastive.sections import Evaluation
from examples.common.contrastive.views import plain
from examples.common.data import Images
from tests.examples.contrastive.conftest import LIGHTNING_WARNS

pytestmark = pytest.mark.filterwarnings(LIGHTNING_WARNS, "ignore:.*does not have many workers")


class Order(nn.Module):
    """Tells the first half of a clip from the second."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(2, affine=True)

    def forward(self, clips: Tensor) -> Tensor:
        light = clips.mean(dim=(2, 3, 4))
        halves = torch.stack([half.mean(1) for half in light.chunk(2, dim=1)], dim=1)
        normed: Tensor = self.norm(halves)
        return normed


def brightening(count: int, seed: int) -> Images:
    """Clips that get brighter (0) or darker (1)."""
    ramp = torch.linspace(0, 150, 4).view(1, 4, 1, 1, 1)
    labels = torch.arange(count) % 2
    clips = torch.where(labels.view(-1, 1, 1, 1, 1) == 0, ramp, ramp.flip(1)).expand(-1, -1, 3, 8, 8)
    noise = 50 * torch.rand(clips.shape, generator=torch.Generator().manual_seed(seed))
    return Images((clips + noise).to(torch.uint8), labels)


def test_features_are_those_of_plain_clips_in_eval_mode() -> None:
    backbone, clips = Order(), brightening(7, 0).images
    features = embed(backbone, clips, batch_size=3)
    assert backbone.training
    assert backbone.norm.num_batches_tracked == 0
    torch.testing.assert_close(features, backbone.eval()(plain(clips)))


def test_what_can_be_told_apart_is() -> None:
    training, test = brightening(32, 0), brightening(16, 1)
    settings = Evaluation(knn_k=5, linear_epochs=5, linear_batch_size=8)
    found = measures(Order(), training, test, settings, 0)
    assert (found["knn"], found["linear"]) == (1.0, 1.0)
    wrong = Images(test.images, 1 - test.labels)
    found = measures(Order(), training, wrong, settings, 0)
    assert (found["knn"], found["linear"]) == (0.0, 0.0)
    assert KNNAccuracy(training, wrong, settings).measure(Order()) == 0
    assert KNNAccuracy(training, test, settings).measure(Order()) == 1
