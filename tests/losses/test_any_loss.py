import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from nda_augment.losses import FAKE_WEIGHT, discriminator_loss, with_negatives


def normal(seed: int, *shape: int) -> Tensor:
    return 2 * torch.randn(shape or (6,), generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def _bce(real: Tensor, fake: Tensor) -> Tensor:
    return F.binary_cross_entropy(real.sigmoid(), torch.ones_like(real)) + F.binary_cross_entropy(
        fake.sigmoid(), torch.zeros_like(fake)
    )


def _smoothed(real: Tensor, fake: Tensor) -> Tensor:
    on_real = F.binary_cross_entropy_with_logits(real, torch.full_like(real, 0.9))
    return (on_real + F.binary_cross_entropy_with_logits(fake, torch.zeros_like(fake))) / 2


def _real_is_low(real: Tensor, fake: Tensor) -> Tensor:
    return (F.relu(1 + real) + F.relu(1 - fake)).mean()


def _relativistic(real: Tensor, fake: Tensor) -> Tensor:
    return F.softplus(fake - real).mean()


def _average_relativistic(real: Tensor, fake: Tensor) -> Tensor:
    return F.softplus(-(real - fake.mean())).mean() + F.softplus(fake - real.mean()).mean()


def _dual_contrastive(real: Tensor, fake: Tensor) -> Tensor:
    def half(one: Tensor, other: Tensor) -> Tensor:
        candidates = torch.cat([one[:, None], other.expand(len(one), -1)], 1)
        return F.cross_entropy(candidates, torch.zeros(len(one), dtype=torch.long))

    return half(real, fake) + half(-fake, -real)


OWN = {loss.__name__: loss for loss in (_bce, _smoothed, _real_is_low, _relativistic, _average_relativistic)} | {
    _dual_contrastive.__name__: _dual_contrastive
}


@pytest.mark.parametrize("loss", OWN.values(), ids=OWN)
class TestAnyLoss:
    def test_is_between_the_loss_on_fakes_and_on_negatives(self, loss):
        real, fake, negative = (normal(seed) for seed in range(3))
        expected = 0.3 * loss(real, fake) + 0.7 * loss(real, negative)
        assert torch.equal(with_negatives(loss, real, fake, negative, 0.3), expected)
        assert torch.equal(with_negatives(loss, real, fake, lambda: negative, 0.3), expected)
        default = FAKE_WEIGHT * loss(real, fake) + (1 - FAKE_WEIGHT) * loss(real, negative)
        assert torch.equal(with_negatives(loss, real, fake, negative), default)

    def test_at_one_it_is_the_loss_alone(self, loss):
        calls = []

        def counted(*logits):
            calls.append(logits)
            return loss(*logits)

        real, fake = (normal(seed).requires_grad_() for seed in range(2))
        result = with_negatives(counted, real, fake, lambda: pytest.fail("negatives were asked for"), 1)
        assert calls == [(real, fake)]
        assert torch.equal(result, loss(real, fake))
        assert torch.equal(with_negatives(loss, real, fake, None, 1), result)

    def test_gradients_reach_all_three(self, loss):
        logits = [normal(seed).requires_grad_() for seed in range(3)]
        assert torch.autograd.gradcheck(lambda *given: with_negatives(loss, *given, 0.4), logits)


@pytest.mark.parametrize("kind", ["softplus", "hinge", "least_squares", "wasserstein"])
def test_of_our_own_kinds_it_is_the_discriminator_loss(kind):
    real, fake, negative = normal(0, 5, 2), normal(1, 3, 2), normal(2, 4, 2)

    def plain(real, fake):
        return discriminator_loss(real, fake, kind=kind, fake_weight=1)

    expected = discriminator_loss(real, fake, negative, kind=kind, fake_weight=0.6)
    torch.testing.assert_close(with_negatives(plain, real, fake, negative, 0.6), expected)


def test_outputs_may_have_any_structure():
    """A projected discriminator's list, an auxiliary classifier's pair."""

    def own(real, fake):
        return sum(F.relu(1 - r).mean() + F.relu(1 + f).mean() for r, f in zip(real["adv"], fake["adv"], strict=True))

    real, fake, negative = ({"adv": [normal(seed), normal(seed + 9)]} for seed in range(3))
    expected = sum(
        discriminator_loss(*(output["adv"][number] for output in (real, fake, negative)), kind="hinge")
        for number in range(2)
    )
    torch.testing.assert_close(with_negatives(own, real, fake, negative), expected)


def test_what_cannot_be_weighed():
    logits = torch.zeros(2)
    with pytest.raises(ValueError, match=r"fake_weight=0.75 leaves 0.25 .* to negatives.*or fake_weight=1"):
        with_negatives(_bce, logits, logits, None)
    with pytest.raises(TypeError, match="loss must return one tensor, got tuple; of several terms return their sum"):
        with_negatives(lambda real, fake: (real.mean(), fake.mean()), logits, logits, logits)
    for weight in (0, 1.5, math.nan):
        with pytest.raises(ValueError, match=rf"\(0, 1\], got {weight}"):
            with_negatives(_bce, logits, logits, logits, weight)
