import pytest
import torch

from nda_augment.anomaly import usual_map


def test_it_is_the_mean_map_shrunk_by_the_share_of_its_spread_that_chance_explains() -> None:
    torch.manual_seed(0)
    maps = torch.randn(7, 1, 4, 5) + torch.randn(1, 1, 4, 5)
    level = [float(each.double().mean()) for each in maps]
    columns = [[float(maps[n, 0, row, column]) - level[n] for n in range(7)] for row in range(4) for column in range(5)]
    means = [sum(column) / 7 for column in columns]
    errors = [float(torch.tensor(column, dtype=torch.float64).var()) / 7 for column in columns]
    kept = 1 - (sum(errors) / 20) / (sum(mean**2 for mean in means) / 19)
    assert 0 < kept < 1
    expected = torch.tensor([kept * mean for mean in means]).view(1, 1, 4, 5)
    torch.testing.assert_close(usual_map([maps]), expected)
    torch.testing.assert_close(usual_map(maps.split(3)), expected)


def test_the_level_of_a_map_does_not_count() -> None:
    """In another light all of an image looks more or less damaged."""
    torch.manual_seed(0)
    maps = 0.3 * torch.randn(50, 1, 6, 6) + torch.linspace(-1, 1, 6)
    levels = 100 * torch.randn(50, 1, 1, 1).round()
    torch.testing.assert_close(usual_map([maps + levels]), usual_map([maps]), rtol=1e-3, atol=1e-3)
    assert usual_map([maps])[..., 5].mean() > 0.9


def test_what_comes_of_chance_is_not_usual() -> None:
    torch.manual_seed(0)
    maps = torch.randn(50, 1, 20, 20)
    assert usual_map([maps]).std() < 0.3 * maps.mean(0).std()
    opposed = torch.tensor([1.0, -1.0]).view(2, 1, 1, 1) * torch.tensor([1.0, 2.0]) + torch.tensor([0.0, 0.1])
    assert usual_map([opposed]).abs().max() == 0


def test_outside_of_a_region_nothing_counts_and_nothing_is_usual() -> None:
    torch.manual_seed(0)
    maps = 0.1 * torch.randn(30, 1, 4, 6)
    maps[..., 1] += 3
    region = torch.tensor([True] * 4 + [False] * 2).expand(4, 6)
    cluttered = torch.where(region, maps, 50 * torch.randn_like(maps))
    found = usual_map([cluttered], region)
    torch.testing.assert_close(found[..., :4], usual_map([maps[..., :4]]))
    assert found[..., 4:].abs().max() == 0


@pytest.mark.parametrize("maps", [torch.rand(1, 1, 3, 4), torch.ones(5, 1, 3, 4), torch.rand(5, 1, 1, 1)])
def test_a_single_map_and_flat_ones_tell_nothing(maps: torch.Tensor) -> None:
    assert torch.equal(usual_map([maps]), torch.zeros(1, *maps.shape[1:]))


@pytest.mark.parametrize(
    ("maps", "message"),
    [
        ([], "no heat maps"),
        (torch.rand(4, 1, 3, 3), r"must be \(B, 1, H, W\), all of one size, got \(1, 3, 3\)"),
        ([torch.rand(4, 1, 3, 3), torch.rand(4, 1, 3, 1)], r"got \(4, 1, 3, 1\)"),
        ([torch.rand(4, 2, 3, 3)], r"got \(4, 2, 3, 3\)"),
    ],
)
def test_what_is_no_maps_is_an_error(maps, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        usual_map(maps)
