import builtins
from typing import Any

import pytest
import torch
from torch import nn

from examples.video.config import Model
from examples.video.encoder import make_encoder, make_trunk

BACKBONES = ["r3d", "r2plus1d", "r2d3d"]


@pytest.mark.parametrize("backbone", BACKBONES)
@pytest.mark.parametrize("blocks", [1, 2])
def test_clips_of_any_length_and_size_become_features(backbone: str, blocks: int) -> None:
    network, features = make_encoder(Model(backbone=backbone, width=2, blocks=blocks))
    assert features == 8
    for frames, height, width in ((4, 8, 8), (7, 12, 10)):
        assert network(torch.randn(2, frames, 3, height, width)).shape == (2, features)
    residual = [layer for layer in network.modules() if type(layer).__name__ == "BasicBlock"]
    assert len(residual) == 3 * blocks


@pytest.mark.parametrize("backbone", BACKBONES)
def test_features_depend_on_the_order_of_frames(backbone: str) -> None:
    torch.manual_seed(0)
    network = make_encoder(Model(backbone=backbone, width=2))[0].eval()
    clips = torch.randn(2, 8, 3, 8, 8)
    assert not torch.allclose(network(clips), network(clips.flip(1)), atol=1e-3)


def test_the_layout_in_memory_changes_no_value() -> None:
    torch.manual_seed(0)
    network = make_encoder(Model(width=2))[0].eval()
    clips = torch.randn(2, 4, 3, 8, 8)
    with_layout = network(clips)
    usual = nn.Sequential(*list(network.children())[1:]).to(memory_format=torch.contiguous_format)
    torch.testing.assert_close(usual(clips.transpose(1, 2).contiguous()), with_layout)


def test_without_torchvision_the_error_names_the_fix(monkeypatch: pytest.MonkeyPatch) -> None:
    original = builtins.__import__

    def without(name: str, *rest: Any, **named: Any) -> Any:
        if name.startswith("torchvision"):
            raise RuntimeError("operator torchvision::nms does not exist")
        return original(name, *rest, **named)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ImportError, match=r'pip install "nda-augment\[torchvision\]"'):
        make_encoder(Model())


def test_the_first_two_stages_of_r2d3d_see_frames_one_by_one() -> None:
    torch.manual_seed(0)
    trunk, _ = make_trunk(Model(backbone="r2d3d", width=2))
    clips = torch.randn(2, 4, 3, 8, 8)
    flat = trunk.eval()[:-1]
    torch.testing.assert_close(flat(clips.flip(1)), flat(clips).flip(2))
    assert not torch.allclose(trunk(clips.flip(1)), trunk(clips).flip(2), atol=1e-3)


def test_a_large_stem_and_four_stages_have_the_sizes_of_the_paper() -> None:
    """Eight blocks of five frames of 128 pixels: 4x4 places of 256 features."""
    trunk, channels = make_trunk(Model(backbone="r2d3d", stem="large", stages=4, width=8), final_relu=False)
    maps = trunk(torch.randn(1, 5, 3, 128, 128))
    assert channels == 32
    assert maps.shape == (1, 32, 2, 4, 4)
    assert (maps < 0).any()
