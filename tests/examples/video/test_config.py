from pathlib import Path

import pytest

from examples.common.settings import ConfigError
from examples.video import config

CONFIGS = sorted(Path(config.__file__).parent.glob("configs/*.yaml"))


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_the_configs_that_come_along_are_valid(path: Path) -> None:
    config.load(path)


def test_a_saved_config_is_read_back(tmp_path: Path) -> None:
    settings = config.load(None, ["AUG.nda_policy='jigsaw(grid=4),frameshuffle:2'", "RUN.seed=7"])
    settings.save(tmp_path / "config.yaml")
    assert config.load(tmp_path / "config.yaml") == settings


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("DATA.frame=3", r"unknown key 'DATA.frame'; the nearest known one is 'DATA.frames'"),
        ("DATA.frames=1", r"DATA.frames must be at least 2, got 1"),
        ("DATA.name=folders", r"did you mean 'folder'"),
        ("DATA.name=folder", r"DATA.name=folder needs DATA.path"),
        ("DATA.path=clips", r"digits are drawn, not read"),
        ("DATA.holdout=1", r"DATA.holdout must be in \[0, 1\), got 1"),
        ("MODEL.method=simclear", r"did you mean 'simclr'"),
        ("MODEL.backbone=r2d", r"MODEL.backbone must be one of r3d, r2plus1d"),
        ("AUG.min_scale=0", r"AUG.min_scale must be in \(0, 1\]"),
        ("AUG.flip=2", r"AUG.flip must be in \[0, 1\], got 2"),
        ("AUG.nda_policy=frameshufle", r"frameshuffle"),
        ("AUG.nda_policy=jigsaw(grid=3)", r"AUG: .*20"),
        ("LOSS.nda_scope=all", r"scope must be one of"),
        ("OPTIMIZATION.lr=.nan", r"OPTIMIZATION.lr must be above 0, got nan"),
        ("RUN.devices=3", r"OPTIMIZATION.batch_size=128 cannot be divided by RUN.devices=3"),
    ],
)
def test_what_cannot_be_is_refused(word: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        config.load(None, [word])
