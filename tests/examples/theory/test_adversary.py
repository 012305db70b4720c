from dataclasses import replace

import pytest
import torch
from torch import nn

from examples.theory import adversary, ring
from examples.theory.adversary import Settings, train

SETTINGS = Settings("softplus", 0.25, steps=3, batch_size=8, latent=2)


def trained(settings, real=ring.draw_data, negative=ring.draw_negatives):
    generator, discriminator = ring.networks(settings.seed, settings.latent, width=4)
    assert list(train(generator, discriminator, real, negative, settings)) == list(range(1, settings.steps + 1))
    return torch.cat([p.detach().flatten() for p in (*generator.parameters(), *discriminator.parameters())])


def test_the_same_seed_is_the_same_run_and_another_is_not():
    torch.manual_seed(0)
    first = trained(SETTINGS)
    torch.manual_seed(1)
    assert torch.equal(trained(SETTINGS), first)
    assert not torch.equal(trained(replace(SETTINGS, seed=1)), first)


def test_at_weight_one_negatives_are_not_even_drawn():
    def refuse(count, draws):
        raise AssertionError("drawn")

    trained(replace(SETTINGS, fake_weight=1.0), negative=refuse)
    with pytest.raises(AssertionError, match="drawn"):
        trained(SETTINGS, negative=refuse)


def test_every_batch_is_drawn_anew():
    drawn = []

    def spy(count, draws):
        points = ring.draw_data(count, draws)
        drawn.append(points)
        return points

    trained(replace(SETTINGS, discriminator_steps=2), real=spy)
    assert len(drawn) == 6
    assert torch.stack(drawn).unique(dim=0).shape[0] == 6


def test_blended_negatives_are_a_part_of_some_generated_images_and_no_samples_of_their_own():
    class Spy(nn.Linear):
        def forward(self, points):
            seen.append(points.detach())
            return super().forward(points).flatten()

    seen, settings = [], replace(SETTINGS, steps=1, batch_size=500, fake_weight=0.7, blend=0.2)
    generator = nn.Linear(2, 2)
    nn.init.zeros_(generator.weight)
    nn.init.zeros_(generator.bias)
    negatives = lambda count, draws: torch.full((count, 2), 10.0)  # noqa: E731
    list(train(generator, Spy(2, 1), ring.draw_data, negatives, settings))
    _, shown, whole = seen  # data, what stands for generated images, and those the generator learns from
    assert set(shown.flatten().tolist()) == {0.0, 2.0}
    assert torch.equal(shown[:, 0], shown[:, 1])
    assert 0.25 < (shown[:, 0] > 0).float().mean() < 0.35
    assert not whole.any()


@pytest.mark.parametrize(
    "change",
    [{"kind": "hinge"}, {"fake_weight": 0.5}, {"r1": 1.0}, {"discriminator_steps": 2}, {"blend": 0.2}],
)
def test_every_setting_counts(change):
    assert not torch.equal(trained(replace(SETTINGS, **change)), trained(SETTINGS))


def test_slopes_are_bounded_towards_fakes_and_negatives(monkeypatch):
    """Of what the penalty sees, λ is generated and the rest negative; without negatives all of it is generated."""
    seen = []

    def spy(discriminator, real, fake, *, generator):
        seen.append(fake)
        return torch.zeros(())

    monkeypatch.setattr(adversary, "gradient_penalty", spy)
    settings = Settings("wasserstein", 0.25, steps=1, batch_size=4000, latent=1, gradient_penalty=10.0)
    generator, discriminator = (
        nn.Sequential(nn.Linear(1, 2), nn.Hardtanh(0, 1)),
        nn.Sequential(nn.Linear(2, 1), nn.Flatten(0)),
    )

    def negative(count, draws):
        return torch.full((count, 2), 7.0)

    for weight in (0.25, 1.0):
        list(train(generator, discriminator, ring.draw_data, negative, replace(settings, fake_weight=weight)))
    assert (seen[0] == 7).all(dim=1).double().mean().item() == pytest.approx(0.75, abs=0.03)
    assert (seen[1] <= 1).all()
