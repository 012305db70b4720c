import pytest
import torch

import nda_augment as nda
from examples.gan import config
from examples.gan.conditioning import Judgement, multi_hinge
from examples.gan.objective import objective_of


def rand(*shape, seed):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def objective(*words):
    return objective_of(config.load(None, ["AUG.apply_nda=true", *words]))


@pytest.mark.parametrize("kind", ["softplus", "hinge", "least_squares", "wasserstein"])
def test_adversarial_losses_are_those_of_the_package(kind):
    real, fake, negative = (Judgement(rand(6, seed=seed)) for seed in range(3))
    found = objective(f"LOSS.adv_loss={kind}")
    verdict = found.discriminator(real, fake, {"negative": negative}, None, {"fake": 0.3, "negative": 1 - 0.3})
    expected = nda.losses.discriminator_loss(real.logits, fake.logits, negative.logits, kind=kind, fake_weight=0.3)
    assert torch.equal(verdict.total, expected)
    assert list(verdict.terms) == ["real", "fake", "negative"]
    assert verdict.gaps["negative"].item() == pytest.approx((real.logits.mean() - negative.logits.mean()).item())
    assert torch.equal(found.generator(fake, None), nda.losses.generator_loss(fake.logits, kind=kind))
    plain = found.discriminator(real, fake, {}, None, {"fake": 1.0})
    assert list(plain.terms) == ["real", "fake"]
    assert plain.gaps == {}


def test_multi_hinge_counts_negatives_to_the_class_beyond_the_last():
    logits = [rand(6, 4, seed=seed) for seed in range(3)]
    labels, beyond = torch.tensor([0, 1, 2, 0, 1, 2]), torch.full((6,), 3)
    found = objective(
        "LOSS.adv_loss=MH", "LOSS.mh_lambda=0.05", "MODEL.d_cond_mtd=MH", "MODEL.g_cond_mtd=cBN", "DATA.img_size=8"
    )
    real, fake, negative = map(Judgement, logits)
    verdict = found.discriminator(real, fake, {"negative": negative}, labels, {"fake": 0.25, "negative": 0.75})
    expected = multi_hinge(logits[0], labels) + 0.25 * multi_hinge(logits[1], beyond)
    expected += 0.75 * multi_hinge(logits[2], beyond)
    assert verdict.total.item() == pytest.approx(expected.item())
    assert verdict.gaps["negative"].item() == pytest.approx((real.realness.mean() - negative.realness.mean()).item())
    assert found.generator(fake, labels).item() == pytest.approx(0.05 * multi_hinge(logits[1], labels).item())


@pytest.mark.parametrize("kind", ["least_squares", "wasserstein", "softplus"])
def test_rumi_losses_are_those_of_the_package(kind):
    real, fake, negative = (Judgement(rand(6, seed=seed)) for seed in range(3))
    words = ["LOSS.rumi_positive_weight=3", "LOSS.rumi_negative_weight=0.4"]
    found = objective(f"LOSS.adv_loss=rumi_{kind}", *words)
    verdict = found.discriminator(real, fake, {"negative": negative}, None, {"fake": 0.25, "negative": 0.75})
    expected = nda.losses.rumi_discriminator_loss(
        real.logits, fake.logits, negative.logits, kind=kind, positive_weight=3, negative_weight=0.4
    )
    assert torch.equal(verdict.total, expected)
    assert torch.equal(found.generator(fake, None), nda.losses.rumi_generator_loss(fake.logits, kind=kind))
