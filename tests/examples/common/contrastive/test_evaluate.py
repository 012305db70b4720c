import pytest
import torch
from torch import nn
from torch.nn import functional as F

from examples.common.contrastive.evaluate import embed, knn_labels, linear_labels, spread
from examples.common.contrastive.sections import Evaluation
from examples.common.fitting import quiet
from tests.examples.contrastive.conftest import LIGHTNING_WARNS


def test_embed_uses_the_running_statistics_and_leaves_them_and_the_mode_alone() -> None:
    backbone = nn.Sequential(nn.Flatten(), nn.BatchNorm1d(12))
    before = {name: value.clone() for name, value in backbone.state_dict().items()}
    images = torch.randint(256, (5, 3, 2, 2), dtype=torch.uint8)
    features = embed(backbone, images, batch_size=2)
    expected = (images.float() / 255 - 0.5) / 0.25
    torch.testing.assert_close(features, expected.flatten(1), rtol=1e-4, atol=1e-4)
    assert backbone.training
    assert all(torch.equal(value, before[name]) for name, value in backbone.state_dict().items())


def test_the_nearest_neighbour_votes() -> None:
    generator = torch.Generator().manual_seed(0)
    bank, queries = torch.randn(40, 6, generator=generator), torch.randn(30, 6, generator=generator)
    labels = torch.arange(40) % 3
    nearest = (F.normalize(queries, dim=1) @ F.normalize(bank, dim=1).T).argmax(dim=1)
    assert torch.equal(knn_labels(bank, labels, queries, k=1, temperature=0.1), labels[nearest])


def test_more_neighbours_than_images_are_all_images() -> None:
    bank = torch.eye(4)
    assert knn_labels(bank, torch.arange(4), bank, k=200, temperature=0.05).tolist() == [0, 1, 2, 3]


def test_the_spread_says_how_much_of_a_feature_all_images_share() -> None:
    one = torch.tensor([[3.0, 4.0]])
    assert spread(one * torch.tensor([[1.0], [2.0], [5.0]])) == pytest.approx(0, abs=1e-6)
    assert spread(torch.cat([one, -2 * one])) == pytest.approx(1)
    features = torch.rand(50, 6, generator=torch.Generator().manual_seed(0))
    common = F.normalize(features, dim=1).mean(dim=0)
    assert spread(features) == pytest.approx((1 - common.square().sum()).sqrt().item(), rel=1e-5)


@pytest.mark.filterwarnings(LIGHTNING_WARNS)
def test_a_linear_layer_learns_what_is_linear_and_nothing_else() -> None:
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(400, 2, generator=generator)
    settings = Evaluation(linear_epochs=10, linear_batch_size=50, linear_lr=1.0)
    half, exclusive = (features[:, 0] > 0).long(), (features[:, 0] * features[:, 1] > 0).long()
    with quiet():
        learned, guessed = (
            (linear_labels(features[:200], labels[:200], features[200:], settings, seed=0) == labels[200:])
            .float()
            .mean()
            for labels in (half, exclusive)
        )
    assert learned > 0.95
    assert guessed < 0.7
