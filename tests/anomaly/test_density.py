import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn import covariance
from torch import nn
from torch.nn import functional as F

from nda_augment.anomaly import DensityDetector, GaussianDensity, ledoit_wolf


def correlated(count: int, size: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    mixing = torch.randn(size, size, generator=generator, dtype=torch.float64)
    return torch.randn(count, size, generator=generator, dtype=torch.float64) @ mixing + 3


@given(st.integers(2, 40), st.integers(2, 12), st.integers(0, 3))
def test_shrinkage_is_that_of_scikit_learn(count: int, size: int, seed: int) -> None:
    features = correlated(count, size, seed)
    ours, shrinkage = ledoit_wolf(features)
    theirs, expected = covariance.ledoit_wolf(features.numpy())
    np.testing.assert_allclose(ours.numpy(), theirs, rtol=1e-9, atol=1e-12)
    assert shrinkage == pytest.approx(expected)


@pytest.mark.parametrize("seed", range(5))
def test_shrinkage_of_features_without_structure(seed: int) -> None:
    features = torch.randn(20, 30, generator=torch.Generator().manual_seed(seed))
    ours, shrinkage = ledoit_wolf(features)
    theirs, expected = covariance.ledoit_wolf(features.double().numpy())
    assert shrinkage == pytest.approx(expected)
    np.testing.assert_allclose(ours.numpy(), theirs, rtol=1e-9, atol=1e-12)


def test_few_samples_are_shrunk_more_than_many() -> None:
    few, many = (ledoit_wolf(correlated(count, 8))[1] for count in (4, 4000))
    assert many < 0.05 < few <= 1


def test_fewer_samples_than_features_can_be_inverted() -> None:
    shrunk, _ = ledoit_wolf(correlated(5, 20))
    assert torch.linalg.eigvalsh(shrunk).min() > 0


def test_features_that_do_not_vary_have_no_covariance() -> None:
    shrunk, shrinkage = ledoit_wolf(torch.ones(5, 3))
    assert (shrunk, shrinkage) == (pytest.approx(torch.zeros(3, 3)), 1.0)


@pytest.mark.parametrize("features", [torch.zeros(3), torch.zeros(1, 3), torch.zeros(2, 3, 4)])
def test_shapes_are_checked(features) -> None:
    with pytest.raises(ValueError, match=r"\(N, D\) with two rows at least"):
        ledoit_wolf(features)


def test_values_are_checked() -> None:
    with pytest.raises(ValueError, match="2 values of the features are not finite"):
        ledoit_wolf(torch.tensor([[0.0, float("nan")], [float("inf"), 1.0]]))


def test_score_is_the_squared_mahalanobis_distance() -> None:
    features, others = correlated(50, 4), correlated(7, 4, seed=1)
    density = GaussianDensity(4, normalize=False).fit(features)
    fitted = covariance.LedoitWolf().fit(features.numpy())
    np.testing.assert_allclose(density.score(others).numpy(), fitted.mahalanobis(others.numpy()), rtol=1e-8)


def test_normalized_features_have_directions_only() -> None:
    features, others = correlated(50, 4), correlated(7, 4, seed=1)
    density = GaussianDensity(4).fit(features)
    torch.testing.assert_close(density.score(others), density.score(5 * others))
    plain = GaussianDensity(4, normalize=False).fit(features)
    assert not torch.allclose(plain.score(others), plain.score(5 * others))
    directions = GaussianDensity(4, normalize=False).fit(F.normalize(features, dim=1))
    torch.testing.assert_close(density.score(others), directions.score(F.normalize(others, dim=1)))


def test_half_precision_features_are_taken_in_full() -> None:
    features = correlated(50, 4).bfloat16()
    assert GaussianDensity(4).fit(features).score(features).dtype == torch.float64


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["float32", "bfloat16"])
def test_a_cast_of_the_whole_detector_leaves_it_working(dtype) -> None:
    features = correlated(50, 4)
    density = GaussianDensity(4).fit(features)
    expected = density.score(features)
    scores = density.to(dtype).score(features)
    assert scores.dtype == torch.float64
    torch.testing.assert_close(scores, expected, rtol=100 * torch.finfo(dtype).eps, atol=0.1)


def test_a_dead_network_is_named() -> None:
    with pytest.raises(ValueError, match="all normal features are alike"):
        GaussianDensity(3).fit(torch.ones(5, 3))


def test_state_is_two_buffers() -> None:
    density = GaussianDensity(4).fit(correlated(50, 4))
    assert {name: value.shape for name, value in density.state_dict().items()} == {"mean": (4,), "precision": (4, 4)}


def test_the_detector_is_the_density_of_the_backbones_features() -> None:
    images = torch.rand(40, 1, 2, 2)
    detector = DensityDetector(nn.Flatten(), 4).fit(images.split(10))
    expected = GaussianDensity(4).fit(images.flatten(1)).score(images.flatten(1))
    torch.testing.assert_close(detector.score(images), expected)


def test_the_backbone_is_not_trained() -> None:
    backbone = nn.Sequential(nn.Flatten(), nn.Linear(4, 3), nn.BatchNorm1d(3))
    before = {name: value.clone() for name, value in backbone.state_dict().items()}
    DensityDetector(backbone, 3).fit(torch.rand(40, 1, 2, 2).split(10))
    assert all(torch.equal(value, before[name]) for name, value in backbone.state_dict().items())
