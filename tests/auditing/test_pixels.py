import pytest
import torch

import nda_augment as nda
from nda_augment.auditing.measuring import pixels as P
from nda_augment.auditing.measuring.probes import told_apart


def test_patches_are_cut_where_they_are_asked_for():
    images = torch.arange(2 * 3 * 5 * 6.0).view(2, 3, 5, 6)
    places = torch.tensor([[[0, 0], [2, 3]], [[1, 2], [2, 0]]])
    cut = P.patches(images, places, 3)
    assert cut.shape == (4, 27)
    assert torch.equal(cut[1], images[0, :, 2:5, 3:6].flatten())
    assert torch.equal(cut[2], images[1, :, 1:4, 2:5].flatten())


def test_statistics_of_pixels():
    images = torch.rand(50, 2, 12, 10)
    plain = P.statistics(images)
    assert torch.allclose(plain.histograms.sum(2), torch.ones(50, 2))
    shuffled = P.statistics(images.flatten(2)[..., torch.randperm(120)].view_as(images))
    for measure in (P.mean_shift, P.histogram_distance, P.spectrum_distance):
        assert measure(plain, plain) == 0.0
    assert P.variance_ratio(plain, plain) == pytest.approx(1.0)
    assert P.histogram_distance(plain, shuffled) == pytest.approx(0.0, abs=1e-6)
    assert P.variance_ratio(plain, P.statistics(0.5 * images)) == pytest.approx(0.25, rel=1e-4)
    brighter = P.statistics(torch.stack([images[:, 0] + 0.3, images[:, 1]], 1))
    assert P.mean_shift(plain, brighter) == pytest.approx(0.3 * 12**0.5, rel=0.05)
    assert P.histogram_distance(P.statistics(torch.zeros(3, 1, 8, 8)), P.statistics(torch.ones(3, 1, 8, 8))) == 1.0
    assert P.spectrum_distance(plain, P.statistics(10 * images)) == pytest.approx(20.0, rel=1e-4)


def test_the_spectrum_knows_frequencies():
    waves = torch.cos(2 * torch.pi * torch.arange(16) / 16 * torch.tensor([[1.0], [4.0]]))
    spectra = P.statistics(waves.view(2, 1, 1, 16).expand(2, 1, 16, 16)).spectra
    assert spectra.argmax(1).tolist() == [0, 3]


def test_large_images_are_reduced_and_small_ones_are_not():
    assert P.at_most(torch.rand(1, 3, 64, 128), 32).shape == (1, 3, 32, 64)
    assert P.at_most(torch.rand(1, 3, 20, 64), 32).shape == (1, 3, 20, 64)


def test_change_is_relative():
    images = torch.zeros(2, 1, 4, 4)
    others = images.clone()
    others[1] += 0.5
    assert P.relative_change(images, others, torch.tensor(0.25)).tolist() == [0.0, 2.0]


def test_edges_are_measured_where_they_are_whatever_the_image_shows():
    """A seam in the middle is told from smooth images, a flip and a change of contrast are not."""
    images = torch.rand(200, 3, 16, 16).cumsum(2).cumsum(3) / 256
    images = torch.where((torch.arange(200) % 2 == 0).view(-1, 1, 1, 1), images, images.flip(2, 3))
    edges, groups = P.edges_of(images), torch.arange(200) % 10

    def told(others):
        return float(told_apart(edges(images), edges(others), groups, ridge=0.01).mean())

    assert told(nda.Jigsaw()(images)) > 0.95
    assert told(images.flip(2, 3)) < 0.6
    assert told(0.3 + 0.1 * images) == pytest.approx(0.5, abs=0.1)


def test_seams_that_move_are_not_told_by_their_places():
    images = torch.nn.functional.avg_pool2d(torch.rand(400, 1, 18, 18), 3, 1)
    edges, groups = P.edges_of(images), torch.arange(400) % 10
    places = torch.randint(1, 16, (400,)).tolist()
    fixed = torch.stack([torch.cat([image[..., 8:], image[..., :8]], -1) for image in images])
    moved = torch.stack([image.roll(place, -1) for image, place in zip(images, places, strict=True)])
    told = [float(told_apart(edges(images), edges(x), groups, ridge=0.01).mean()) for x in (fixed, moved)]
    assert told[0] > 0.7 > 0.57 > told[1]


@pytest.mark.parametrize("value", [3.0, 0.0], ids=["far", "too smooth"])
def test_strangeness_is_that_of_the_most_unusual_patch(value):
    strangeness = P.strangeness_of(torch.randn(5000, 2 * 9), 3)
    images = torch.randn(4, 2, 9, 10)
    images[2, :, 3:6, 6:9] = value
    assert strangeness(images).argmax() == 2
    # The logarithm of a χ² of 18 degrees of freedom has a mean of 2.83 and a deviation of 0.34.
    expected = {3.0: (torch.tensor(9.0 * 18).log() - 2.834) / 0.343, 0.0: None}[value]
    if expected is not None:
        assert float(strangeness(images)[2]) == pytest.approx(float(expected), rel=0.1)


def test_constant_patches_have_a_strangeness_too():
    assert P.strangeness_of(torch.full((50, 9), 0.5), 3)(torch.full((2, 1, 9, 9), 0.5)).isfinite().all()
