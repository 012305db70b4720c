import pytest
import torch
from torch.nn import functional as F

from nda_augment.auditing.measuring.encoder import FEATURES, SmallEncoder, train_encoder


def blobs(n=96, side=16):
    """One bright blob per image, anywhere."""
    grid = torch.arange(side).float()
    x, y = torch.rand(2, n, 1) * side
    rows, columns = (-(grid - x).square() / 8).exp(), (-(grid - y).square() / 8).exp()
    return (rows.unsqueeze(2) * columns.unsqueeze(1)).unsqueeze(1)


def test_it_learns_to_know_an_image_again():
    images = blobs()
    torch.manual_seed(5)
    views = F.interpolate(images[:, :, 1:-1, 1:-1], size=(16, 16), mode="bilinear")
    views = 0.5 * views + 0.3

    def found(encoder):
        features = [F.normalize(encoder(x)) for x in (images, views)]
        return float(((features[0] @ features[1].T).argmax(1) == torch.arange(96)).float().mean())

    assert found(train_encoder(images, steps=60, seed=0)) > found(SmallEncoder(1, 16).eval()) + 0.1


def test_the_same_seed_gives_the_same_encoder_and_leaves_the_generator_alone():
    images = blobs(32)
    state = torch.get_rng_state()
    first, second, third = (train_encoder(images, steps=3, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(first(images), second(images))
    assert not torch.equal(first(images), third(images))
    assert not first.training
    assert not any(parameter.requires_grad for parameter in first.parameters())


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 32, 32), (4, 40, 24)], ids=str)
def test_it_takes_images_of_any_size_and_channels(shape):
    told = []
    encoder = train_encoder(torch.rand(32, *shape), steps=2, seed=0, progress=lambda *step: told.append(step))
    assert encoder(torch.rand(5, *shape)).shape == (5, FEATURES)
    assert told == [(1, 2), (2, 2)]
