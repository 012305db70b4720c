import pytest
import torch
from torch import nn

from examples.translation.models import PatchDiscriminator, UNet


@pytest.mark.parametrize("size", [16, 32, 64])
def test_shapes(size):
    edges = torch.rand(2, 1, size, size)
    photographs = UNet(size, 4)(edges)
    assert photographs.shape == (2, 3, size, size)
    assert photographs.abs().max() <= 1
    assert PatchDiscriminator(4)(edges, photographs).shape == (2, 1, size // 8, size // 8)


def test_the_way_down_ends_at_two_pixels():
    sides = []
    network = UNet(64, 4)
    for down in network.down:
        down.register_forward_hook(lambda *call: sides.append(call[2].shape[-1]))
    network(torch.rand(1, 1, 64, 64))
    assert sides == [32, 16, 8, 4, 2]
    assert max(layer.out_channels for layer in network.modules() if isinstance(layer, nn.Conv2d)) == 4 * 8


def test_every_level_is_passed_on():
    """With the deepest level silenced, the output still depends on the input: the levels above are passed across."""
    network = UNet(32, 4)
    network.down[-1].register_forward_hook(lambda module, given, made: torch.zeros_like(made))
    first, second = network(torch.rand(2, 1, 32, 32)).unbind()
    assert (first - second).abs().max() > 1e-4


def test_images_do_not_meet_in_the_translator():
    network = UNet(16, 4)
    edges = torch.rand(3, 1, 16, 16)
    torch.testing.assert_close(network(edges)[1:2], network(edges[1:2]))


def test_a_patch_sees_its_neighbourhood_only():
    network = PatchDiscriminator(4)
    photographs = torch.zeros(1, 3, 128, 128, requires_grad=True)
    network(torch.zeros(1, 1, 128, 128), photographs)[0, 0, 0, 0].backward()
    touched = photographs.grad.abs().amax(dim=1)[0].nonzero()
    assert 16 < touched.max() < 64
