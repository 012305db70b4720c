import pytest

from examples.common.settings import ConfigError
from examples.diffusion import config


@pytest.mark.parametrize("name", ["digits", "cifar10-small"])
def test_the_shipped_ones_are_valid(name):
    path = config.DIGITS.parent / f"{name}.yaml"
    assert config.load(path, ["DATA.path=somewhere"] if name != "digits" else []).LOSS.process == "edm"


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("AUG.nda_share=0", r"AUG.nda_share must be in \(0, 1\), got 0"),
        ("AUG.nda_share=1", r"AUG.nda_share must be in \(0, 1\)"),
        ("AUG.nda_policy=jigsav", "AUG.nda_policy: .*jigsaw"),
        ("SAMPLING.scale=-1", "SAMPLING.scale must be at least 0"),
        ("SAMPLING.scale=1", "learns them with AUG.apply_nda=true"),
        ("SAMPLING.interval=[2,1]", "SAMPLING.interval is .lowest, highest."),
        ("MODEL.widths=[12]", "multiples of MODEL.norm_groups=8, got .12"),
        ("MODEL.widths=[8,8,8,8,8,8]", "DATA.img_size=16 does not bear"),
        ("LOSS.process=ddpm", "LOSS.process must be one of edm, flow"),
        ("LOSS.sigma_min=50", "must be below LOSS.sigma_max"),
        ("RUN.devices=3", "OPTIMIZATION.batch_size=64 cannot be divided by RUN.devices=3"),
        ("RUN.nan_patience=1", "RUN.nan_patience is for RUN.precision=16-mixed"),
    ],
)
def test_what_cannot_be_is_refused_with_what_would_do(word, message):
    with pytest.raises(ConfigError, match=message):
        config.load(None, [word])


def test_negatives_are_not_pushed_off_themselves():
    with pytest.raises(ConfigError, match=r"use it without AUG.apply_nda"):
        config.load(None, ["LOSS.repulsion_weight=1", "AUG.apply_nda=true"])


def test_autoguidance_needs_a_snapshot():
    words = ["SAMPLING.scale=1", "SAMPLING.away_from=snapshot"]
    with pytest.raises(ConfigError, match=r"needs RUN.snapshot_step"):
        config.load(None, words)
    assert config.load(None, [*words, "RUN.snapshot_step=10"]).SAMPLING.scale == 1
