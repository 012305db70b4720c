import pytest
import torch

from examples.theory import discrete, tables
from examples.theory.discrete import DATA, FAKE_WEIGHTS, NEGATIVES, OF_LOSS
from nda_augment import losses

UNIFORM = torch.tensor([0.25, 0.25, 0.25, 0.25, 0.0, 0.0], dtype=torch.float64)


@pytest.mark.parametrize("kind", ["softplus", "hinge", "least_squares", "wasserstein"])
def test_the_loss_is_that_of_the_package(kind):
    """Probabilities in twentieths, each logit repeated so often."""
    logits = torch.randn(6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    samples = [logits.repeat_interleave((20 * p).round().long()) for p in (DATA, UNIFORM, NEGATIVES)]
    expected = losses.discriminator_loss(*samples, kind=kind, fake_weight=0.3)
    found = tables.discriminator_loss(logits, DATA, UNIFORM, NEGATIVES, kind, 0.3)
    torch.testing.assert_close(found, expected)
    cost = (UNIFORM * tables.penalties(logits, kind).generator).sum()
    torch.testing.assert_close(cost, losses.generator_loss(samples[1], kind=kind))


@pytest.mark.parametrize("fake_weight", FAKE_WEIGHTS)
@pytest.mark.parametrize("kind", list(OF_LOSS))
def test_the_best_logits_cannot_be_improved(kind, fake_weight):
    generator = discrete.random_generators(1, 6, torch.Generator().manual_seed(0))[0]
    best = tables.best_logits(DATA, discrete.mix(generator, NEGATIVES, fake_weight), kind)

    def loss(logits):
        return tables.discriminator_loss(logits, DATA, generator, NEGATIVES, kind, fake_weight).item()

    noise = torch.randn(50, 6, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    assert all(loss(best + by) >= loss(best) - 1e-12 for by in 0.1 * noise)


@pytest.mark.parametrize("kind", ["softplus", "least_squares", "hinge"])
def test_the_best_loss_is_the_divergence(kind):
    """Softplus: 2 log 2 − JS; least squares: 1/4 − triangular / 8; hinge: 2 (1 − TV)."""
    generator = discrete.random_generators(1, 6, torch.Generator().manual_seed(0))[0]
    mixed = discrete.mix(generator, NEGATIVES, 0.5)
    loss = tables.discriminator_loss(tables.best_logits(DATA, mixed, kind), DATA, generator, NEGATIVES, kind, 0.5)
    divergence = discrete.divergence(OF_LOSS[kind], DATA, mixed)
    expected = {
        "softplus": 2 * torch.tensor(2.0).double().log() - divergence,
        "least_squares": 0.25 - divergence / 8,
        "hinge": 2 * (1 - divergence),
    }
    torch.testing.assert_close(loss, expected[kind])


@pytest.mark.parametrize("kind", ["softplus", "least_squares"])
def test_strictly_convex_games_end_at_the_data(kind):
    starts = discrete.random_generators(5, 6, torch.Generator().manual_seed(0))
    ends = tables.play(DATA, NEGATIVES, starts, kind, 0.5, steps=1000)
    torch.testing.assert_close(ends, DATA.expand(5, -1), atol=1e-5, rtol=0)


def test_hinge_games_end_anywhere_among_the_optima():
    starts = discrete.random_generators(20, 6, torch.Generator().manual_seed(0))
    ends = tables.play(DATA, NEGATIVES, starts, "hinge", 0.25, steps=500)
    assert discrete.is_hinge_optimal(ends, DATA, 0.25).all()
    assert ((ends - DATA).abs().sum(dim=1) / 2).mean() > 0.2


def test_without_a_bound_on_slopes_there_is_no_best_critic():
    with pytest.raises(ValueError, match="'wasserstein' has no best discriminator"):
        tables.best_logits(DATA, UNIFORM, "wasserstein")
