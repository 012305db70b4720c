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
        ("DATA.name=ucf101", r"DATA.name=ucf101 needs DATA.path and DATA.split_path"),
        ("DATA.length=4", r"DATA.length=4 is below DATA.frames=8; 0 is as many"),
        ("DATA.stride=2", r"DATA.stride is of files"),
        ("DATA.split=4", r"DATA.split must be one of 1, 2, 3"),
        ("MODEL.method=dpc", r"DATA.frames=8 is not a multiple of MODEL.block_frames=5; 5 and 10 are"),
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


def test_clips_that_dense_predictive_coding_cannot_cut_are_refused() -> None:
    words = ["MODEL.method=dpc", "MODEL.block_frames=2", "DATA.frames=6"]
    with pytest.raises(ConfigError, match=r"DATA.frames=6 are 3 blocks .* at least one, 8 frames are needed"):
        config.load(None, words)
    with pytest.raises(ConfigError, match=r"DATA.length=9 is not a multiple of MODEL.block_frames=2; 8 and 10 are"):
        config.load(None, [*words, "DATA.frames=8", "DATA.length=9"])
    config.load(None, [*words, "DATA.frames=8"])


def test_what_is_of_other_data_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"DATA.split_path is not of DATA.name=folder"):
        config.load(None, ["DATA.name=folder", "DATA.path=a", "DATA.split_path=b"])
    with pytest.raises(ConfigError, match=r"DATA.test_path is not of DATA.name=hmdb51"):
        config.load(None, ["DATA.name=hmdb51", "DATA.path=a", "DATA.split_path=b", "DATA.test_path=c"])
