import pytest
import torch
from torch import nn
from torchmetrics.image.fid import FrechetInceptionDistance
from torchmetrics.image.kid import poly_mmd

from nda_augment.auditing import measures as M


def sets(n=60, dimensions=5, shift=0.4):
    return torch.randn(n, dimensions), torch.randn(n, dimensions) * 1.2 + shift


@pytest.mark.parametrize("shape", [(40, 6), (24, 50)], ids=["more examples", "more features"])
def test_leaving_groups_out_is_what_training_on_the_others_gives(shape):
    features, targets = torch.randn(shape, dtype=torch.float64), torch.randn(shape[0], 2, dtype=torch.float64)
    groups = torch.arange(shape[0]) % 4
    x, y = features - features.mean(0), targets - targets.mean(0)
    expected = torch.empty_like(targets)
    for group in range(4):
        kept = groups != group
        gram = x[kept].T @ x[kept] + 0.1 * shape[0] * torch.eye(shape[1], dtype=torch.float64)
        expected[~kept] = x[~kept] @ torch.linalg.inv(gram) @ x[kept].T @ y[kept] + targets.mean(0)
    torch.testing.assert_close(M.leave_groups_out(features, targets, groups, ridge=0.1), expected)


def test_a_ridge_regression_minimises_its_loss():
    features, targets = torch.randn(30, 4, dtype=torch.float64), torch.randn(30, 2, dtype=torch.float64)
    weights = M.ridge_regression(features, targets, ridge=0.2).requires_grad_()
    loss = (M.with_one(features) @ weights - targets).square().sum() + 0.2 * 30 * weights[:-1].square().sum()
    loss.backward()
    assert weights.grad.abs().max() < 1e-9


def test_sets_of_one_distribution_are_not_told_apart_and_others_are():
    groups = torch.arange(400) % 10
    same = M.told_apart(torch.randn(400, 8), torch.randn(400, 8), groups, ridge=0.01)
    other = M.told_apart(torch.randn(400, 8), torch.randn(400, 8) + 3, groups, ridge=0.01)
    assert abs(float(same.mean()) - 0.5) < 0.06
    assert float(other.mean()) > 0.98
    assert set(same.tolist()) <= {0.0, 0.5, 1.0}


def test_copies_are_told_apart_by_chance_only():
    """A test set that held copies of what the other half was trained on would be told wrong, not by chance."""
    first = torch.randn(100, 300)
    told = M.told_apart(first, first.clone(), torch.arange(100) % 10, ridge=1.0)
    assert torch.equal(told, torch.full((100,), 0.5))


def test_the_frechet_distance_is_that_of_torchmetrics():
    real, other = sets()
    identity = nn.Identity()
    identity.num_features = 5
    metric = FrechetInceptionDistance(feature=identity).set_dtype(torch.float64)
    metric.update(real.double(), real=True)
    metric.update(other.double(), real=False)
    assert M.frechet_distance(real, other) == pytest.approx(metric.compute().item(), rel=1e-6)


def test_the_frechet_distance_of_known_gaussians():
    corners = torch.tensor([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]])  # variances 4/3
    assert M.frechet_distance(corners, corners) == pytest.approx(0.0, abs=1e-9)
    assert M.frechet_distance(corners, corners + torch.tensor([3.0, 4.0])) == pytest.approx(25.0)
    assert M.frechet_distance(corners, 3 * corners) == pytest.approx(2 * 4 / 3 * (3 - 1) ** 2)


def test_the_kernel_distance_is_that_of_torchmetrics():
    real, other = sets()
    among = [M.kernel(x, x) for x in (real, other)]
    distance = M.kernel_distance(*among, M.kernel(real, other))
    assert distance == pytest.approx(poly_mmd(real.double(), other.double()).item(), rel=1e-6)


def kernels(first, second):
    return M.kernel(first, first), M.kernel(second, second), M.kernel(first, second)


def test_the_paired_kernel_distance_is_0_for_the_identity_and_unbiased_for_pairs():
    groups = torch.arange(80) % 8
    first = torch.randn(80, 6)
    assert M.paired_kernel_distance(*kernels(first, first), groups) == 0.0
    paired, plain = [], []
    for _ in range(60):
        first = torch.randn(80, 6)
        second = first.roll(-1, 1)  # each has its own partner, and the distribution is the same
        paired.append(M.paired_kernel_distance(*kernels(first, second), groups))
        plain.append(M.kernel_distance(*kernels(first, second)))
    paired, plain = torch.tensor(paired), torch.tensor(plain)
    assert abs(float(paired.mean())) < 3 * float(paired.std()) / 60**0.5
    first, second = torch.randn(2000, 6), torch.randn(2000, 6) + 0.5
    far = M.paired_kernel_distance(*kernels(first, second), torch.arange(2000) % 10)
    assert far == pytest.approx(M.kernel_distance(*kernels(first, second)), rel=0.02)


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


def test_patches_are_cut_where_they_are_asked_for():
    images = torch.arange(2 * 3 * 5 * 6.0).view(2, 3, 5, 6)
    places = torch.tensor([[[0, 0], [2, 3]], [[1, 2], [2, 0]]])
    cut = M.patches(images, places, 3)
    assert cut.shape == (4, 27)
    assert torch.equal(cut[1], images[0, :, 2:5, 3:6].flatten())
    assert torch.equal(cut[2], images[1, :, 1:4, 2:5].flatten())


def test_statistics_of_pixels():
    images = torch.rand(50, 2, 12, 10)
    plain = M.statistics(images)
    assert torch.allclose(plain.histograms.sum(2), torch.ones(50, 2))
    shuffled = M.statistics(images.flatten(2)[..., torch.randperm(120)].view_as(images))
    for measure in (M.mean_shift, M.histogram_distance, M.spectrum_distance):
        assert measure(plain, plain) == 0.0
    assert M.variance_ratio(plain, plain) == pytest.approx(1.0)
    assert M.histogram_distance(plain, shuffled) == pytest.approx(0.0, abs=1e-6)
    assert M.variance_ratio(plain, M.statistics(0.5 * images)) == pytest.approx(0.25, rel=1e-4)
    brighter = M.statistics(torch.stack([images[:, 0] + 0.3, images[:, 1]], 1))
    assert M.mean_shift(plain, brighter) == pytest.approx(0.3 * 12**0.5, rel=0.05)
    assert M.histogram_distance(M.statistics(torch.zeros(3, 1, 8, 8)), M.statistics(torch.ones(3, 1, 8, 8))) == 1.0
    assert M.spectrum_distance(plain, M.statistics(10 * images)) == pytest.approx(20.0, rel=1e-4)


def test_the_spectrum_knows_frequencies():
    waves = torch.cos(2 * torch.pi * torch.arange(16) / 16 * torch.tensor([[1.0], [4.0]]))
    spectra = M.statistics(waves.view(2, 1, 1, 16).expand(2, 1, 16, 16)).spectra
    assert spectra.argmax(1).tolist() == [0, 3]


def test_large_images_are_reduced_and_small_ones_are_not():
    assert M.at_most(torch.rand(1, 3, 64, 128), 32).shape == (1, 3, 32, 64)
    assert M.at_most(torch.rand(1, 3, 20, 64), 32).shape == (1, 3, 20, 64)


def test_change_is_relative():
    images = torch.zeros(2, 1, 4, 4)
    others = images.clone()
    others[1] += 0.5
    assert M.relative_change(images, others, torch.tensor(0.25)).tolist() == [0.0, 2.0]
