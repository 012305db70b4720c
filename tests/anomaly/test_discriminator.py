import pytest
import torch
from torch import nn

import nda_augment as nda
from nda_augment.anomaly import DiscriminatorDetector
from tests.anomaly.conftest import QUICK, stripes


class Fixed(nn.Module):
    """A generator that knows one image, and a discriminator that adds up."""

    def __init__(self, value: float = 0.5) -> None:
        super().__init__()
        self.value = nn.Parameter(torch.tensor(value))

    def forward(self, latents):
        return self.value.expand(len(latents), 1, 8, 8)


class Sum(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.linspace(-1, 1, 64))

    def forward(self, images):
        return images.flatten(1) @ self.weight


def build(**options) -> DiscriminatorDetector:
    return DiscriminatorDetector(Fixed(), Sum(), 4, **({"negatives": nda.Flip()} | options))


@pytest.mark.parametrize("kind", ["softplus", "hinge"])
def test_losses_are_those_of_the_gan(kind) -> None:
    images, detector = stripes(5), build(kind=kind, fake_weight=0.4)
    score, fake = detector.discriminator, torch.full((5, 1, 8, 8), 0.5)
    expected = nda.losses.discriminator_loss(
        score(images), score(fake), score(images.flip(2)), kind=kind, fake_weight=0.4
    )
    torch.testing.assert_close(detector.discriminator_loss(images), expected)
    torch.testing.assert_close(detector.generator_loss(images), nda.losses.generator_loss(score(fake), kind=kind))


def test_without_negatives_it_is_the_plain_gan() -> None:
    images, detector = stripes(5), build(negatives=None)
    score, fake = detector.discriminator, torch.full((5, 1, 8, 8), 0.5)
    expected = nda.losses.discriminator_loss(score(images), score(fake), kind="softplus", fake_weight=1.0)
    torch.testing.assert_close(detector.discriminator_loss(images), expected)


def test_each_player_learns_from_its_own_loss() -> None:
    detector = build()
    detector.discriminator_loss(stripes(5)).backward()
    assert detector.generator.value.grad is None
    detector.zero_grad()
    detector.generator_loss(stripes(5)).backward()
    assert detector.discriminator.weight.grad is None
    assert detector.generator.value.grad is not None
    assert detector.discriminator.weight.requires_grad


def test_frozen_weights_stay_frozen() -> None:
    discriminator = nn.Sequential(nn.Flatten(), nn.Linear(64, 8), nn.Linear(8, 1))
    discriminator[1].requires_grad_(False)
    detector = DiscriminatorDetector(Fixed(), discriminator, 4, nda.Flip(), training=QUICK)
    frozen, learned = (discriminator[number].weight.clone() for number in (1, 2))
    detector.fit(stripes(32).split(16))
    assert torch.equal(discriminator[1].weight, frozen)
    assert not torch.equal(discriminator[2].weight, learned)
    assert [weight.requires_grad for weight in discriminator.parameters()] == [False, False, True, True]


@pytest.mark.parametrize("shape", [(-1,), (-1, 1)])
def test_the_score_is_minus_the_logit(shape) -> None:
    detector = DiscriminatorDetector(Fixed(), nn.Sequential(Sum(), nn.Unflatten(0, shape)), 4, None)
    detector.fitted.fill_(True)
    images = stripes(5)
    torch.testing.assert_close(detector.score(images), -(images.flatten(1) @ torch.linspace(-1, 1, 64)))


def test_a_quarter_of_the_weight_is_on_generated_images() -> None:
    assert build().criterion.fake_weight == nda.losses.FAKE_WEIGHT
    assert build(negatives=None).criterion.fake_weight == 1.0
    assert build(negatives=None, fake_weight=1).criterion.fake_weight == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"latent": 0}, "latent must be at least 1, got 0"),
        ({"negatives": None, "fake_weight": 0.5}, "fake_weight=0.5 leaves weight for negatives, but there are none"),
        ({"negatives": nda.Stitch(partner="same_class")}, "needs labels"),
        ({"negatives": nda.Jigsaw(p=0.5)}, "use p=1"),
        ({"fake_weight": 0.0}, "fake_weight"),
        ({"kind": "softpuls"}, "Did you mean 'softplus'"),
    ],
)
def test_arguments_are_checked(options, message) -> None:
    options = {"latent": 4, "negatives": nda.Flip()} | options
    with pytest.raises(ValueError, match=message):
        DiscriminatorDetector(Fixed(), Sum(), **options)
