import pytest
import torch
from torch import nn

from nda_augment._networks import Encoder, evaluating


def test_modes_are_given_back_part_by_part_even_after_an_error():
    first, second = nn.Sequential(nn.Dropout(), nn.BatchNorm1d(2)), nn.Linear(2, 2)
    first[1].eval()

    def fail():
        assert not any(part.training for module in (first, second) for part in module.modules())
        raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"), evaluating(first, second):
        fail()
    assert [part.training for module in (first, second) for part in module.modules()] == [True, True, False, True]


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("places", [1, 4])
def test_the_encoder_takes_any_size_and_says_how_many_features_it_has(stride, places):
    encoder = Encoder(channels=1, width=2, stride=stride, places=places)
    assert encoder(torch.rand(2, 1, 20, 33)).shape == (2, encoder.features)


def test_places_are_kept_apart_on_request_alone():
    """A mean cannot tell a picture from one in which its parts have changed places."""
    plain, placed = Encoder(1, 2).eval(), Encoder(1, 2, places=4).eval()
    placed.load_state_dict(plain.state_dict())
    features = placed(images := torch.rand(3, 1, 16, 16))
    torch.testing.assert_close(features.view(3, -1, 16).mean(2), plain(images))
    assert features.view(3, -1, 16).std(2).min() > 0


def test_a_hook_on_its_layers_is_called():
    encoder, seen = Encoder(1, 2), []
    encoder.layers.register_forward_hook(lambda module, given, maps: seen.append(maps.shape))
    encoder(torch.rand(2, 1, 8, 8))
    assert seen == [(2, 8, 2, 2)]


@pytest.mark.parametrize("channels", [1, 3])
def test_lines_of_channels_are_an_affair_of_its_own(channels):
    """Weights and gradients lie as others expect, and gradients of each image can be asked for."""
    encoder, images = Encoder(channels, 2).eval(), torch.rand(3, channels, 8, 8)
    assert encoder.layers(images).is_contiguous(memory_format=torch.channels_last)
    weights = dict(encoder.named_parameters())
    assert all(weight.is_contiguous() for weight in weights.values())

    def loss(weights, image):
        return torch.func.functional_call(encoder, weights, image[None]).sum()

    each = torch.func.vmap(torch.func.grad(loss), (None, 0))(weights, images)
    encoder(images).sum().backward()
    for name, weight in weights.items():
        torch.testing.assert_close(each[name].sum(0), weight.grad, rtol=1e-4, atol=1e-4)
        assert weight.grad.is_contiguous(), name


@pytest.mark.parametrize("name", ["channels", "width", "stride", "places"])
def test_numbers_below_one_are_refused(name):
    with pytest.raises(ValueError, match=f"{name} must be at least 1, got 0"):
        Encoder(**{name: 0})
