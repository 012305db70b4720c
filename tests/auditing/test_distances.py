import pytest
import torch
from torch import nn
from torchmetrics.image.fid import FrechetInceptionDistance
from torchmetrics.image.kid import poly_mmd

from nda_augment.auditing.measuring import distances as M
from nda_augment.metrics import precision_recall_density_coverage


def sets(n=60, dimensions=5, shift=0.4):
    return torch.randn(n, dimensions), torch.randn(n, dimensions) * 1.2 + shift


def gaussian(features):
    return M.gaussians(features, torch.zeros(len(features), dtype=torch.long))[0]


def distance(first, second):
    return M.frechet_distance(gaussian(first), gaussian(second))


def test_the_frechet_distance_is_that_of_torchmetrics():
    real, other = sets()
    identity = nn.Identity()
    identity.num_features = 5
    metric = FrechetInceptionDistance(feature=identity).set_dtype(torch.float64)
    metric.update(real.double(), real=True)
    metric.update(other.double(), real=False)
    assert M.frechet_distance(*map(gaussian, (real, other))) == pytest.approx(metric.compute().item(), rel=1e-6)


def test_the_frechet_distance_of_known_gaussians():
    corners = torch.tensor([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]])  # variances 4/3
    assert distance(corners, corners) == pytest.approx(0.0, abs=1e-9)
    assert distance(corners, corners + torch.tensor([3.0, 4.0])) == pytest.approx(25.0)
    assert distance(corners, 3 * corners) == pytest.approx(2 * 4 / 3 * (3 - 1) ** 2)


def kernels(first, second, groups):
    return [M.kernel_sums(x, y, groups) for x, y in ((first, first), (second, second), (first, second))]


@pytest.mark.parametrize("left_out", [None, 2], ids=["all", "without a group"])
def test_the_kernel_distance_is_that_of_torchmetrics(left_out):
    (real, other), groups = sets(), torch.arange(60) % 5
    kept = torch.arange(5) != left_out if left_out is not None else torch.ones(5, dtype=torch.bool)
    distance = M.kernel_distance(*(sums.of(kept) for sums in kernels(real, other, groups)))
    some = kept[groups]
    assert distance == pytest.approx(poly_mmd(real[some].double(), other[some].double()).item(), rel=1e-6)


def test_the_paired_kernel_distance_is_0_for_the_identity_and_unbiased_for_pairs():
    groups = torch.arange(80) % 8
    first = torch.randn(80, 6)
    assert M.paired_kernel_distance(*kernels(first, first, groups)) == 0.0
    paired, plain = [], []
    for _ in range(60):
        first = torch.randn(80, 6)
        second = first.roll(-1, 1)  # each has its own partner, and the distribution is the same
        paired.append(M.paired_kernel_distance(*kernels(first, second, groups)))
        plain.append(M.kernel_distance(*kernels(first, second, groups)))
    paired, plain = torch.tensor(paired), torch.tensor(plain)
    assert abs(float(paired.mean())) < 3 * float(paired.std()) / 60**0.5
    first, second = torch.randn(2000, 6), torch.randn(2000, 6) + 0.5
    sums = kernels(first, second, torch.arange(2000) % 10)
    assert M.paired_kernel_distance(*sums) == pytest.approx(M.kernel_distance(*sums), rel=0.02)


def test_gaussians_without_a_group_are_those_of_the_others():
    features, groups = torch.randn(40, 3), torch.arange(40) % 4
    fitted = M.gaussians(features, groups)
    assert len(fitted) == 5
    for group, gaussian in enumerate(fitted[1:]):
        others = features[groups != group].double()
        torch.testing.assert_close(gaussian.mean, others.mean(0))
        torch.testing.assert_close(gaussian.covariance, torch.cov(others.T))


def test_density_and_coverage_are_those_of_the_metrics():
    real, other = sets()
    expected = precision_recall_density_coverage(real, other, nearest_k=5)
    radii = M.radii(M.pairwise(real, real), 5)
    found = M.density_and_coverage(M.pairwise(real, other), radii, 5)
    assert found == pytest.approx((float(expected.density), float(expected.coverage)))


def test_a_projection_keeps_what_varies_most():
    real = torch.randn(200, 6) * torch.tensor([9.0, 8.0, 7.0, 0.1, 0.1, 0.1]) + 5
    small = M.projection(real, 3)(real)
    assert small.shape == (200, 3)
    assert float(small.var(0).sum() / real.var(0).sum()) > 0.99
    assert M.projection(real, 6)(real).shape == (200, 6)


def test_clusters_are_found():
    centres = torch.tensor([[0.0, 0.0], [10.0, 0.0], [0.0, 10.0]])
    points = centres.repeat_interleave(30, 0) + 0.1 * torch.randn(90, 2)
    found = M.clusters(points, 3, generator=torch.Generator().manual_seed(1))
    nearest = torch.cdist(points, found).argmin(1)
    assert float((points - found[nearest]).square().mean()) < 0.02
    same = M.clusters(torch.zeros(10, 2), 3, generator=torch.Generator())
    assert torch.equal(same, torch.zeros(3, 2))
