import pytest
import torch

from examples.anomaly import detectors, outliers
from examples.anomaly.config import DETECTORS
from examples.anomaly.protocols import corrupted, one_class, out_of_distribution, photographs
from examples.common import data
from examples.common.corruptions import CORRUPTIONS, FIVE_STRENGTHS
from nda_augment.anomaly import DiscriminatorDetector


@pytest.mark.parametrize("detector", DETECTORS)
def test_one_class(tiny, detector) -> None:
    settings = tiny(f"MODEL.detector={detector}")
    training, test = data.load_rgb(settings.DATA)
    result = one_class(settings, training, test, 1)
    assert result.scores.shape == (24,)
    assert torch.equal(result.is_anomaly, test.labels != 1)
    assert 0 <= result.measures["AUROC"] <= 100


@pytest.mark.parametrize("detector", ["density", "csi", "discriminator"])
def test_weights_follow_from_the_seed(tiny, detector) -> None:
    states = []
    for seed, ambient in ((0, 1), (0, 2), (1, 1)):
        torch.manual_seed(ambient)
        states.append(detectors.make(tiny(f"MODEL.detector={detector}", f"RUN.seed={seed}")).state_dict())
    same, other = ([torch.equal(value, state[name]) for name, value in states[0].items()] for state in states[1:])
    assert all(same)
    assert not all(other)


def test_negatives_reach_the_discriminator(tiny) -> None:
    with_negatives = detectors.make(tiny("MODEL.detector=discriminator", "AUG.fake_weight=0.5"))
    without = detectors.make(tiny("MODEL.detector=discriminator", "AUG.negatives=none", "AUG.fake_weight=0.5"))
    assert isinstance(with_negatives, DiscriminatorDetector)
    assert with_negatives.criterion.fake_weight == 0.5
    assert (without.negatives, without.criterion.fake_weight) == (None, 1.0)


def test_images_reach_the_gan_in_its_range(tiny) -> None:
    detector = detectors.make(tiny("MODEL.detector=discriminator"))
    fake = detector.generator(torch.randn(4, 4))
    assert 0 <= fake.min() < fake.max() <= 1
    seen = []
    detector.discriminator[1].register_forward_hook(lambda module, inputs, output: seen.append(inputs[0]))
    detector.discriminator(torch.stack([torch.zeros(3, 8, 8), torch.ones(3, 8, 8)]))
    assert (seen[0].min(), seen[0].max()) == (-1, 1)


def test_too_few_images_are_an_error() -> None:
    with pytest.raises(ValueError, match="3 normal images do not fill a batch of 4"):
        detectors.batches(torch.zeros(3, 3, 8, 8, dtype=torch.uint8), 4)


def test_out_of_distribution_asks_set_by_set() -> None:
    test = torch.zeros(10, 3, 8, 8, dtype=torch.uint8)
    rows = out_of_distribution(lambda x: x.float().mean(dim=(1, 2, 3)), test, {"bright": test + 9, "same": test})
    assert rows["bright"]["AUROC"] == 100
    assert rows["same"]["AUROC"] == 50


def test_corruptions_are_mixed_and_grow_with_their_strength() -> None:
    images = torch.randint(256, (4 * len(CORRUPTIONS), 3, 16, 16), dtype=torch.uint8)
    sets = corrupted(images)
    assert [name[-1] for name in sets] == [str(strength) for strength in FIVE_STRENGTHS]
    weak, strong = ((sets[f"corrupted, strength {n}"].float() - images.float()).abs().mean() for n in (1, 5))
    assert 0 < weak < strong
    for corrupt in sets.values():
        assert (corrupt.shape, corrupt.dtype) == (images.shape, torch.uint8)


def test_photographs_are_cut_into_tiles() -> None:
    tiles = photographs(8)
    assert (tiles.shape, tiles.dtype) == ((384, 3, 8, 8), torch.uint8)
    assert len({tile.numpy().tobytes() for tile in tiles}) > 300


@pytest.mark.parametrize("negatives", ["none", "jigsaw,stitch"])
def test_a_classifier_scores_in_three_ways(tiny, negatives) -> None:
    settings = tiny(f"AUG.negatives='{negatives}'", "OPTIMIZATION.epochs=8", "OPTIMIZATION.lr=0.01")
    training, test = data.load_rgb(settings.DATA)
    model = outliers.train(settings, training)
    assert outliers.accuracy(model, test) > 60  # three classes of different brightness
    ways = outliers.scorers(model, training, 8)
    with torch.no_grad():
        logits = model(test.images.float() / 255)
    torch.testing.assert_close(ways["max-softmax"](test.images), -logits.softmax(dim=1).max(dim=1).values)
    torch.testing.assert_close(ways["energy"](test.images), -logits.exp().sum(dim=1).log())
    assert ways["density"](test.images).shape == (24,)


def test_negatives_lower_the_confidence_in_them(tiny) -> None:
    confidence = {}
    for negatives in ("none", "cutout(side=1.0,fill=1)"):
        settings = tiny(f"AUG.negatives='{negatives}'", "OPTIMIZATION.epochs=6", "OPTIMIZATION.lr=0.01")
        training, _ = data.load_rgb(settings.DATA)
        model = outliers.train(settings, training)
        with torch.no_grad():
            confidence[negatives] = model(torch.ones(1, 3, 8, 8)).softmax(dim=1).max().item()
    plain, exposed = confidence.values()
    assert exposed < plain
