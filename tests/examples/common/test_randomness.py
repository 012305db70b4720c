import pytest
import torch

from examples.common.randomness import batch_indices, generator, seeded


def draw(*name):
    return torch.rand(4, generator=generator(*name)).tolist()


def test_a_draw_is_a_function_of_its_name():
    assert draw(0, "latent", 3) == draw(0, "latent", 3)
    names = [
        (0, "latent", 3),
        (1, "latent", 3),
        (0, "negatives", 3),
        (0, "latent", 4),
        (0, "latent", 3, 0),
        (0, "latent"),
    ]
    assert len({tuple(draw(*name)) for name in names}) == len(names)


def test_a_draw_touches_no_global_state():
    torch.manual_seed(5)
    before = torch.get_rng_state()
    draw(0, "latent", 3)
    batch_indices(20, 4, 0, 2)
    assert torch.equal(torch.get_rng_state(), before)


def test_an_epoch_shows_each_image_at_most_once_and_epochs_differ():
    epochs = [torch.cat([batch_indices(22, 5, 0, batch) for batch in range(first, first + 4)]) for first in (0, 4, 8)]
    for epoch in epochs:
        assert len(epoch.unique()) == len(epoch) == 20
        assert 0 <= epoch.min() <= epoch.max() < 22
    assert not torch.equal(epochs[0], epochs[1])


def test_batches_do_not_depend_on_the_order_they_are_asked_for():
    forwards = [batch_indices(22, 5, 0, batch).tolist() for batch in range(9)]
    backwards = [batch_indices(22, 5, 0, batch).tolist() for batch in reversed(range(9))]
    assert forwards == backwards[::-1]


def test_seeded_draws_are_those_of_its_name_and_nothing_stays_seeded(monkeypatch):
    monkeypatch.setattr(torch.cuda, "manual_seed_all", lambda seed: pytest.fail("other devices are nobody's business"))
    before = torch.get_rng_state()
    with seeded(0, "weights", 3):
        assert torch.rand(4).tolist() == draw(0, "weights", 3)
    assert torch.equal(torch.get_rng_state(), before)
