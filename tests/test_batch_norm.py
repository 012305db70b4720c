import pytest
import torch
from torch import nn

from nda_augment.batch_norm import frozen_batch_norm_stats

NORMS = {
    "1d": lambda: nn.BatchNorm1d(6),
    "2d": lambda: nn.BatchNorm2d(6),
    "cumulative": lambda: nn.BatchNorm2d(6, momentum=None),
    "split": lambda: pytest.importorskip("lightly.models.batchnorm").SplitBatchNorm(6, 2),
}


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("training", [True, False])
def test_batch_norm_uses_the_batch_and_keeps_its_running_statistics(norm: str, training: bool) -> None:
    images = torch.randn(8, 6) + 3 if norm == "1d" else torch.randn(8, 6, 2, 2) + 3
    layer, twin = NORMS[norm](), NORMS[norm]()
    expected = twin.train(training)(images)
    layer.train(training)
    before = {name: value.clone() for name, value in layer.state_dict().items()}
    with frozen_batch_norm_stats(nn.Sequential(layer)):
        output = layer(images)
    assert torch.equal(output, expected)
    after = layer.state_dict()
    assert all(torch.equal(after[name], value) for name, value in before.items())
    assert (layer.track_running_stats, layer.momentum) == (True, twin.momentum)
    layer(images)
    assert all(torch.equal(after[name], value) for name, value in twin.state_dict().items())


def test_batch_norm_is_restored_after_an_error() -> None:
    layer = nn.BatchNorm1d(6)
    with pytest.raises(ZeroDivisionError), frozen_batch_norm_stats(layer):
        _ = 1 / 0
    assert (layer.track_running_stats, layer.momentum) == (True, 0.1)
