import pytest
import torch

from examples.common.paired import bootstrap, smallest_effect


def test_equal_arms_are_not_apart_and_others_are_by_as_much() -> None:
    assert bootstrap(torch.zeros(3, 50, dtype=torch.float64), draws=50) == (0.0, 0.0)
    low, high = bootstrap(torch.ones(3, 50, dtype=torch.float64), draws=50)
    assert low == pytest.approx(1)
    assert high == pytest.approx(1)


def test_the_interval_is_that_of_the_mean_over_images_and_over_seeds() -> None:
    """Where only images differ it is ±1.96 standard errors over images; where only seeds do, over seeds."""
    values = torch.randn(400, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    values = (values - values.mean()) / values.std()
    for differences, count in ((values.expand(3, -1), 400), (values[:40, None].expand(-1, 2), 40)):
        low, high = bootstrap(differences, draws=4000)
        width = 2 * 1.96 * differences.mean(dim=0 if count == 400 else 1).std().item() / count**0.5
        assert high - low == pytest.approx(width, rel=0.1)


def test_the_smallest_effect_is_half_an_interval() -> None:
    """Of five pairs, Student's quantile is 2.776; of a standard deviation of 1."""
    assert smallest_effect([-1.0, 0.0, 1.0], seeds=5) == pytest.approx(2.776 / 5**0.5, rel=1e-3)
