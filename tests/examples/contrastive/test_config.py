from pathlib import Path

import pytest

from examples.common.settings import ConfigError
from examples.contrastive import config

CONFIGS = sorted(Path(config.__file__).parent.glob("configs/*.yaml"))


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_the_configs_that_come_along_are_valid(path: Path) -> None:
    config.load(path, ["DATA.path=somewhere"])


def test_a_saved_config_is_read_back(tmp_path: Path) -> None:
    settings = config.load(None, ["AUG.nda_policy='jigsaw(grid=3),stitch:2'", "RUN.seed=7"])
    settings.save(tmp_path / "config.yaml")
    assert config.load(tmp_path / "config.yaml") == settings


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("MODEL.dims=3", r"unknown key 'MODEL.dims'; the nearest known one is 'MODEL.dim'"),
        ("MODELS.dim=3", r"unknown key 'MODELS.dim'; the nearest known one is 'MODEL.dim'"),
        ("MODEL.dim=wide", r"MODEL.dim"),
        ("MODEL.dim", r"'MODEL.dim' is no override"),
        ("MODEL.method=mocco", r"MODEL.method must be one of moco, simclr, byol, got 'mocco'; did you mean 'moco'"),
        ("MODEL.queue=0", r"MODEL.queue must be at least 1, got 0"),
        ("LOSS.temperature=0", r"LOSS.temperature must be above 0, got 0.0"),
        ("EVAL.knn_temperature=0.01", r"EVAL.knn_temperature must be at least 0.02, got 0.01"),
        ("LOSS.nda_scale=0", r"negative_scale"),
        ("LOSS.nda_scope=all", r"scope must be one of"),
        ("AUG.nda_policy=jigsw", r"jigsaw"),
        ("AUG.min_scale=0", r"AUG.min_scale must be in \(0, 1\], got 0"),
        ("AUG.flip=2", r"AUG.flip must be in \[0, 1\], got 2"),
        ("DATA.name=npz", r"DATA.name=npz needs DATA.path"),
        ("RUN.devices=3", r"OPTIMIZATION.batch_size=128 cannot be divided by RUN.devices=3"),
        ("MODEL.bn_splits=3", r"cannot be divided by RUN.devices · MODEL.bn_splits=3"),
        ("LOSS.mochi_mix=4", r"LOSS: n_hardest must be at least 2 for n_mix=4, got 0"),
        ("LOSS.mochi_hardest=4", r"LOSS: n_mix and n_mix_query must be 0 or more, not both 0"),
        ("OPTIMIZATION.lr=.nan", r"OPTIMIZATION.lr must be above 0, got nan"),
    ],
)
def test_what_cannot_be_is_refused(word: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        config.load(None, [word])


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("MODEL.method=simclr", r"LOSS.mochi_hardest=8 rows are those of MODEL.method=moco"),
        ("MODEL.queue=7", r"MODEL.queue=7 has to hold as many"),
        ("LOSS.nda_scale=2", r"LOSS.mochi_hardest needs LOSS.nda_scale=1"),
        ("LOSS.nda_scope=batch", r"nda_scope=own"),
    ],
)
def test_hard_negatives_need_a_queue_and_queries_of_their_own(word: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        config.load(None, ["LOSS.mochi_hardest=8", "LOSS.mochi_mix_query=2", word])
