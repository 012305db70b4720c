import pytest
import torch

from examples.theory import dots
from examples.theory.adversary import Settings


def draws():
    return torch.Generator().manual_seed(0)


@pytest.mark.parametrize("number", range(17))
def test_what_is_drawn_is_counted(number):
    images = dots.draw_dots(torch.full((30,), number), draws())
    assert images.shape == (30, 1, 16, 16)
    assert dots.count_dots(images) == [number] * 30
    # Each dot is a square of two pixels a side.
    assert ((images == 1).sum(dim=(1, 2, 3)) == 4 * number).all()
    assert ((images == 1) | (images == -1)).all()


def test_data_have_six_and_negatives_four_five_or_seven():
    assert set(dots.count_dots(dots.draw_data(50, draws()))) == {6}
    counts = dots.count_dots(dots.draw_negatives(300, draws()))
    assert set(counts) == {4, 5, 7}
    assert min(counts.count(number) for number in (4, 5, 7)) > 70


def test_dots_are_everywhere():
    mean = ((dots.draw_dots(torch.full((2000,), 6), draws()) + 1) / 2).mean(dim=0)[0]
    cells = mean.view(4, 4, 4, 4).mean(dim=(1, 3))
    torch.testing.assert_close(cells, torch.full((4, 4), 6 / 16 / 4), atol=0.015, rtol=0)


def test_shares():
    counts = {"6": 30, "5": 10, "9": 60}
    assert dots.share(counts, [6]) == 30
    assert dots.share(counts, dots.NOT_SO_MANY) == 10
    assert dots.share(counts, [1, 2]) == 0


@pytest.mark.parametrize("kind", ["wasserstein", "softplus"])
def test_a_run_counts_its_samples(kind):
    result = dots.run(Settings(kind, 0.25, steps=2, batch_size=4, latent=4, gradient_penalty=10.0))
    assert sum(result["counts"].values()) == dots.SAMPLES
    assert torch.tensor(result["pixels"]).shape == (36, 16, 16)
