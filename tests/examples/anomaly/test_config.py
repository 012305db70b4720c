import pytest
import torch

import nda_augment as nda
from examples.anomaly import config
from examples.anomaly.config import DIGITS
from examples.common.settings import ConfigError
from nda_augment.anomaly import BANKS


@pytest.mark.parametrize("path", sorted(DIGITS.parent.glob("*.yaml")), ids=lambda path: path.stem)
def test_configs_that_ship_are_valid(path) -> None:
    config.load(path, ["DATA.path=somewhere"])


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("MODEL.detecter=csi", "nearest known one is 'MODEL.detector'"),
        ("MODEL.detector=cis", "did you mean 'csi'"),
        ("DATA.name=mnist", "DATA.name must be one of"),
        ("DATA.name=npz", "DATA.name=npz needs DATA.path"),
        ("MODEL.width=0", "MODEL.width must be at least 1"),
        ("OPTIMIZATION.epochs=0", "OPTIMIZATION.epochs must be at least 1"),
        ("OPTIMIZATION.lr=0", "OPTIMIZATION.lr must be above 0"),
        ("AUG.patch=1.0", r"AUG.patch must be in \[0, 1\)"),
        ("AUG.min_scale=0", r"AUG.min_scale must be in \(0, 1\]"),
        ("AUG.fake_weight=1.5", r"AUG.fake_weight must be in \(0, 1\]"),
        ("AUG.negatives=jigsw", "neither none nor one of rotation, .* did you mean 'jigsaw'"),
    ],
)
def test_what_does_not_fit_is_named(word, message) -> None:
    with pytest.raises(ConfigError, match=message):
        config.load(None, [word])


@pytest.mark.parametrize("detector", ["classifier", "uniclr"])
def test_some_detectors_need_negatives(detector) -> None:
    with pytest.raises(ConfigError, match=f"MODEL.detector={detector} needs AUG.negatives"):
        config.load(None, [f"MODEL.detector={detector}", "AUG.negatives=none"])


def test_negatives_are_banks_or_policies_or_none() -> None:
    assert config.negatives("none") == []
    for word, bank in BANKS.items():
        assert [type(one) for one in config.negatives(word)] == [type(one) for one in bank()]
    assert [type(one) for one in config.negatives("jigsaw,stitch:2")] == [nda.Jigsaw, nda.Stitch]
    assert torch.is_tensor(config.negatives("rotation")[0](torch.rand(2, 3, 8, 8)))
