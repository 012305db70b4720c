from pathlib import Path

import pytest
import timm
import torch
import torchvision
from torch import Tensor, nn

from examples.common.settings import ConfigError
from examples.contrastive import export
from examples.contrastive.backbone import make_backbone, weights_of
from nda_augment._files import load_checkpoint, save_checkpoint
from tests.examples.contrastive.conftest import Tiny


def own() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(3 * 64, 5))


def images(size: int = 32) -> Tensor:
    return torch.randn(4, 3, size, size, generator=torch.Generator().manual_seed(0))


def used(network: nn.Module) -> nn.Module:
    """A network whose running statistics are no longer those of the start."""
    with torch.no_grad():
        for _ in range(2):
            network.train()(images())
    return network


@pytest.mark.parametrize("splits", [0, 2])
def test_a_usual_resnet_is_exported_with_the_names_of_torchvision(tiny: Tiny, splits: int) -> None:
    settings = tiny("run", "MODEL.backbone=resnet-18", "MODEL.width=1", "MODEL.stem=large", f"MODEL.bn_splits={splits}")
    network, features = make_backbone(settings.MODEL, 32)
    assert features == 512
    theirs = torchvision.models.resnet18(weights=None)
    missing = theirs.load_state_dict(weights_of(used(network), settings.MODEL), strict=False)
    assert set(missing.missing_keys) == {"fc.weight", "fc.bias"}
    assert {key.split(".")[-1] for key in missing.unexpected_keys} == set()
    theirs.fc = nn.Identity()
    with torch.no_grad():
        torch.testing.assert_close(theirs.eval()(images()), network.eval()(images()))


@pytest.mark.parametrize(
    ("stem", "before", "after"), [("small", 0, 0), ("large", 0, 0), ("small", 2, 4), ("large", 0, 2)]
)
def test_what_was_exported_is_taken_up_again(tiny: Tiny, tmp_path: Path, stem: str, before: int, after: int) -> None:
    settings = tiny("run", f"MODEL.stem={stem}", f"MODEL.bn_splits={before}")
    network = used(make_backbone(settings.MODEL, 8)[0])
    save_checkpoint({"backbone": weights_of(network, settings.MODEL)}, tmp_path / "b.pt")
    words = (f"MODEL.stem={stem}", f"MODEL.bn_splits={after}", f"MODEL.weights={tmp_path / 'b.pt'}")
    begun, _ = make_backbone(tiny("next", *words).MODEL, 8)
    with torch.no_grad():
        assert torch.equal(begun.eval()(images()), network.eval()(images()))


def test_a_run_is_exported(tiny: Tiny, tmp_path: Path) -> None:
    settings = tiny("run")
    folder = Path(settings.RUN.save_dir)
    folder.mkdir()
    settings.save(folder / "config.yaml")
    network = used(make_backbone(settings.MODEL, 8)[0])
    state = {f"backbone.{name}": value for name, value in network.state_dict().items()} | {"head.weight": torch.ones(1)}
    state = {"state_dict": state, "optimizer_states": [], "epoch": 0, "global_step": 1, "images": ""}
    save_checkpoint(state, folder / "checkpoint.ckpt")
    export.export(folder, tmp_path / "b.pt")
    written = load_checkpoint(tmp_path / "b.pt", {"backbone": dict, "of": str})
    assert torch.equal(written["backbone"]["conv1.weight"], network[0].weight)  # type: ignore[index]
    with pytest.raises(ConfigError, match="is no folder of a run"):
        export.export(tmp_path / "none", tmp_path / "b.pt")


@pytest.mark.parametrize(
    ("word", "features"), [("torchvision:resnet18", 512), (f"{__name__}:own", 5)], ids=["torchvision", "own"]
)
def test_other_networks_serve_too(tiny: Tiny, word: str, features: int) -> None:
    settings = tiny("run", f"MODEL.backbone={word}", "MODEL.width=0.25")
    network, count = make_backbone(settings.MODEL, 8)
    assert count == features
    assert weights_of(network, settings.MODEL).keys() == network.state_dict().keys()


@pytest.mark.parametrize("word", ["timm:resnet10t", "torchvision:resnet18"])
def test_networks_of_others_go_back_to_where_they_came_from(tiny: Tiny, tmp_path: Path, word: str) -> None:
    words = (f"MODEL.backbone={word}", "MODEL.width=0.25")  # the default, as it is of Lightly's only
    settings = tiny("run", *words)
    network, features = make_backbone(settings.MODEL, 32)
    weights = weights_of(used(network), settings.MODEL)
    if word.startswith("timm"):
        theirs = timm.create_model("resnet10t", num_classes=0)
        theirs.load_state_dict(weights)
    else:
        theirs = torchvision.models.resnet18(weights=None)
        assert set(theirs.load_state_dict(weights, strict=False).missing_keys) == {"fc.weight", "fc.bias"}
        theirs.fc = nn.Identity()
    save_checkpoint({"backbone": weights}, tmp_path / "b.pt")
    begun, _ = make_backbone(tiny("next", *words, f"MODEL.weights={tmp_path / 'b.pt'}").MODEL, 32)
    with torch.no_grad():
        expected = network.eval()(images())
        assert expected.shape == (4, features)
        assert torch.equal(theirs.eval()(images()), expected)
        assert torch.equal(begun.eval()(images()), expected)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["MODEL.backbone=resnet18"], "did you mean 'resnet-18'"),
        (["MODEL.backbone=torchvision:resnet18", "MODEL.stem=large"], "stem, width and bn_splits are of resnet-9"),
    ],
)
def test_what_cannot_be_is_refused(tiny: Tiny, words: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        tiny("run", "MODEL.width=0.25", *words)


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("torchvision:resnet19", "cannot be made: ValueError"),
        ("timm:vit_tiny_patch16_224", "does not take images of DATA.img_size=8: AssertionError"),
    ],
)
def test_a_network_that_cannot_serve_is_told(tiny: Tiny, word: str, message: str) -> None:
    settings = tiny("run", f"MODEL.backbone={word}", "MODEL.width=0.25")
    with pytest.raises(ConfigError, match=f"{word} {message}"):
        make_backbone(settings.MODEL, 8)


def test_a_network_with_outputs_beside_features_is_told(tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    network = own()
    network.aux_logits = True  # as GoogLeNet has it, which takes long to make
    monkeypatch.setattr(torchvision.models, "get_model", lambda name, weights: network)
    settings = tiny("run", "MODEL.backbone=torchvision:googlenet", "MODEL.width=0.25")
    with pytest.raises(ConfigError, match="googlenet cannot be made: ValueError: it returns more than features"):
        make_backbone(settings.MODEL, 8)
