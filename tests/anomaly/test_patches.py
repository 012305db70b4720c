import pytest
import torch
from torch import nn

from nda_augment.anomaly import Encoder, Features, PatchDetector, backbone, k_center_greedy, load
from tests.anomaly.conftest import stripes


class Pixels(nn.Module):
    """Every pixel is its own feature vector."""

    def forward(self, images):
        return images


def test_nearest_is_the_distance_to_the_nearest_normal_vector() -> None:
    torch.manual_seed(0)
    normal, images = torch.rand(4, 3, 5, 6), torch.rand(2, 3, 5, 6)
    detector = PatchDetector(Pixels(), coreset=10_000, smoothing=0.0).fit([normal])
    vectors = normal.movedim(1, -1).reshape(-1, 3)
    deviation = vectors.std(dim=0)
    expected = torch.stack(
        [((vectors - pixel) / deviation).norm(dim=1).min() for pixel in images.movedim(1, -1).reshape(-1, 3)]
    )
    torch.testing.assert_close(detector.heatmap(images).flatten(), expected, rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(detector.score(images), detector.heatmap(images).amax(dim=(1, 2, 3)))


def test_gaussian_is_the_mahalanobis_distance_at_each_place() -> None:
    torch.manual_seed(0)
    normal, images = torch.rand(50, 2, 3, 4), torch.rand(2, 2, 3, 4)
    detector = PatchDetector(Pixels(), "gaussian", smoothing=0.0).fit(normal.split(10))
    heat = detector.heatmap(images)
    from sklearn.covariance import LedoitWolf

    for row in range(3):
        for column in range(4):
            estimate = LedoitWolf().fit(normal[:, :, row, column].double().numpy())
            expected = estimate.mahalanobis(images[:, :, row, column].double().numpy()) ** 0.5
            assert heat[:, 0, row, column].tolist() == pytest.approx(expected.tolist(), rel=1e-3)


@pytest.mark.parametrize("method", ["nearest", "gaussian"])
def test_a_fit_is_a_function_of_its_seed_and_survives_a_file(method, tmp_path) -> None:
    torch.manual_seed(0)
    encoder = Encoder(channels=1, width=4)
    options = {"coreset": 20, "features": 6}

    def fitted(seed: int) -> PatchDetector:
        return PatchDetector(Features(encoder, ["layers.4"]), method, seed=seed, **options).fit(stripes(32).split(16))

    first, second, other = fitted(0), fitted(0), fitted(1)
    images = stripes(3, seed=1)
    assert torch.equal(first.score(images), second.score(images))
    assert not torch.equal(first.score(images), other.score(images))
    first.save(tmp_path / "patches.pt")
    assert torch.equal(load(tmp_path / "patches.pt").score(images), first.score(images))


def test_it_finds_what_is_not_there_in_normal_images() -> None:
    detector = PatchDetector(Pixels(), "gaussian").fit(stripes(32).split(16))
    images = stripes(4, seed=1)
    images[:, :, 5:8, 5:8] = 0.9
    heat = detector.heatmap(images)
    assert (heat.flatten(1).argmax(dim=1) // 8 >= 4).all()
    assert detector.score(images).min() > detector.score(stripes(16, seed=2)).max()


def test_normal_features_that_do_not_vary_are_errors() -> None:
    class Dead(nn.Module):
        def forward(self, images):
            return torch.zeros(len(images), 2, 4, 4)

    with pytest.raises(ValueError, match="all normal features are alike"):
        PatchDetector(Dead()).fit(stripes(8).split(4))
    with pytest.raises(ValueError, match="a Gaussian needs two normal images at least, got 1"):
        PatchDetector(Pixels(), "gaussian").fit([stripes(1)])


@pytest.mark.parametrize(
    ("options", "message"), [({"method": "near"}, "nearest"), ({"coreset": 0}, "at least 1, got 0")]
)
def test_arguments_are_checked(options, message) -> None:
    with pytest.raises(ValueError, match=message):
        PatchDetector(Pixels(), **options)


def test_a_coreset_leaves_no_point_far_away() -> None:
    points = torch.rand(200, 3, generator=torch.Generator().manual_seed(0))
    chosen = k_center_greedy(points, 12, generator=torch.Generator().manual_seed(1))
    assert len(set(chosen.tolist())) == 12
    # Slowly: each is the farthest from those before.
    for place in range(1, 12):
        apart = torch.cdist(points, points[chosen[:place]]).amin(dim=1)
        assert apart[chosen[place]] == pytest.approx(apart.max().item(), abs=1e-3)
    with pytest.raises(ValueError, match="got 201 of"):
        k_center_greedy(points, 201)


def test_features_are_smoothed_stages_at_the_resolution_of_the_first() -> None:
    network = nn.Sequential(nn.Conv2d(1, 2, 1), nn.Conv2d(2, 3, 2, stride=2), nn.Conv2d(3, 1, 1)).eval()
    images = torch.rand(2, 1, 6, 8)
    maps = Features(network, ["0", "1"])(images)
    assert maps.shape == (2, 5, 6, 8)
    first = network[0](images)
    torch.testing.assert_close(maps[0, :2, 2, 3], first[0, :, 1:4, 2:5].mean(dim=(1, 2)))
    assert not network[0]._forward_hooks


def test_stages_that_are_not_there_are_named() -> None:
    with pytest.raises(ValueError, match=r"got \['layer9'\]; there are layers"):
        Features(Encoder(width=2), ["layer9"])
    flat = Features(nn.Sequential(nn.Flatten(), nn.Linear(4, 2)), ["1"])
    with pytest.raises(ValueError, match="'1' yields"):
        flat(torch.rand(1, 1, 2, 2))


def test_a_network_of_torchvision_with_weights_from_a_file(tmp_path) -> None:
    torch.manual_seed(0)
    network = backbone("resnet18")
    torch.save(network.state_dict(), tmp_path / "weights.pth")
    other = backbone("resnet18", tmp_path / "weights.pth")
    images = torch.rand(1, 3, 32, 32)
    assert torch.equal(network(images), other(images))
    assert not network.training
    torch.save({"conv1.weight": torch.zeros(1)}, tmp_path / "other.pth")
    with pytest.raises(ValueError, match=r"other\.pth holds no weights of torchvision's resnet18"):
        backbone("resnet18", tmp_path / "other.pth")
    with pytest.raises(ValueError, match="library must be one of"):
        backbone("resnet18", library="keras")


def test_a_missing_library_is_named() -> None:
    pytest.importorskip("torchvision")
    try:
        import timm  # noqa: F401
    except ImportError:
        with pytest.raises(ImportError, match="pip install timm"):
            backbone("resnet18", library="timm")
    else:
        assert backbone("resnet18", library="timm")(torch.rand(1, 3, 32, 32)).shape == (1, 1000)
