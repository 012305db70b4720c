import pytest
import torch

from nda_augment.anomaly import usual_map


def test_it_is_the_mean_map_shrunk_by_the_share_of_its_spread_that_chance_explains() -> None:
    torch.manual_seed(0)
    maps = torch.randn(7, 1, 4, 5) + torch.randn(1, 1, 4, 5)
    means = [float(maps[:, 0, row, column].double().mean()) for row in range(4) for column in range(5)]
    errors = [float(maps[:, 0, row, column].double().var()) / 7 for row in range(4) for column in range(5)]
    middle = sum(means) / 20
    spread = sum((mean - middle) ** 2 for mean in means) / 19
    kept = 1 - sum(errors) / 20 / spread
    assert 0 < kept < 1
    expected = torch.tensor([kept * (mean - middle) for mean in means]).view(1, 1, 4, 5)
    torch.testing.assert_close(usual_map([maps]), expected)
    torch.testing.assert_close(usual_map(maps.split(3)), expected)


def test_what_comes_of_chance_is_not_usual() -> None:
    torch.manual_seed(0)
    assert usual_map([torch.randn(50, 1, 20, 20)]).abs().max() < 0.5 * torch.randn(50, 1, 20, 20).mean(0).abs().max()
    opposed = torch.tensor([1.0, -1.0]).view(2, 1, 1, 1) * torch.tensor([1.0, 2.0]) + torch.tensor([0.0, 0.1])
    assert usual_map([opposed]).abs().max() == 0


@pytest.mark.parametrize("maps", [torch.rand(1, 1, 3, 4), torch.ones(5, 1, 3, 4), torch.rand(5, 1, 1, 1)])
def test_a_single_map_and_flat_ones_tell_nothing(maps: torch.Tensor) -> None:
    assert torch.equal(usual_map([maps]), torch.zeros(1, *maps.shape[1:]))


def test_no_maps_are_an_error() -> None:
    with pytest.raises(ValueError, match="no heat maps"):
        usual_map([])
