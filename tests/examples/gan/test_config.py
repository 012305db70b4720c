from dataclasses import asdict

import pytest

from examples.gan import config
from examples.gan.config import DIGITS, Config, ConfigError


def test_defaults_and_overrides():
    settings = config.load(None, ["RUN.seed=7", "LOSS.nda_fake_weight=0.5", "AUG.nda_policy=jigsaw,stitch:2"])
    assert (settings.RUN.seed, settings.fake_weight, settings.AUG.nda_policy) == (7, 0.5, "jigsaw,stitch:2")
    expected = asdict(Config())
    expected["RUN"]["seed"], expected["LOSS"]["nda_fake_weight"] = 7, 0.5
    expected["AUG"]["nda_policy"] = "jigsaw,stitch:2"
    assert settings.to_dict() == expected


def test_without_negatives_lambda_is_one():
    assert config.load(None, ["AUG.apply_nda=false", "LOSS.nda_fake_weight=0.25"]).fake_weight == 1


def test_words_change_the_file_and_the_file_the_defaults(tmp_path):
    path = tmp_path / "c.yaml"
    path.write_text("RUN:\n  seed: 3\n  print_freq: 5\n")
    settings = config.load(path, ["RUN.seed=4"])
    assert (settings.RUN.seed, settings.RUN.print_freq, settings.RUN.save_freq) == (4, 5, Config().RUN.save_freq)


def test_round_trip(tmp_path):
    settings = config.load(None, ["RUN.seed=7", "OPTIMIZATION.g_lr=1e-3"])
    config.save(settings, tmp_path / "c.yaml")
    assert config.load(tmp_path / "c.yaml") == settings


@pytest.mark.parametrize("path", sorted(DIGITS.parent.glob("*.yaml")), ids=lambda path: path.stem)
def test_shipped_configs_are_valid(path):
    settings = config.load(path, ["DATA.path=somewhere"])
    assert settings.DATA.name == path.stem


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("AUG.nda_polcy=jigsaw", "unknown key 'AUG.nda_polcy'; the nearest known one is 'AUG.nda_policy'"),
        ("run.seed=1", "unknown key 'run.seed'; the nearest known one is 'RUN.seed'"),
        ("LOS.adv_loss=hinge", "nearest known one is 'LOSS.adv_loss'"),
        ("seed=1", "nearest known one is 'RUN.seed'"),
        ("RUN.seed.x=1", "RUN.seed"),
        ("RUN=1", "sections DATA, MODEL"),
        ("RUN.seed", "'RUN.seed' is no override"),
        ("RUN.seed=many", "many"),
        ("RUN.seed=null", "seed"),
        ("LOSS.nda_fake_weight=1.5", r"\(0, 1\], got 1.5"),
        ("LOSS.nda_fake_weight=0", r"\(0, 1\], got 0"),
        ("LOSS.nda_fake_weight=nan", "got nan"),
        ("LOSS.adv_loss=hnge", "hinge"),
        ("AUG.nda_policy=jigsw", "jigsaw"),
        ("AUG.nda_policy=", "polic"),
        ("DATA.name=didgits", "got 'didgits'; did you mean 'digits'"),
        ("DATA.name=folder", "needs DATA.path"),
        ("DATA.img_size=24", "power of two from 8 on, got 24"),
        ("DATA.img_size=4", "got 4"),
        ("DATA.holdout=1", r"\[0, 1\), got 1"),
        ("MODEL.g_ema_decay=1", r"\[0, 1\), got 1"),
        ("OPTIMIZATION.batch_size=0", "OPTIMIZATION.batch_size must be at least 1, got 0"),
        ("OPTIMIZATION.g_lr=nan", "OPTIMIZATION.g_lr must be above 0"),
        ("RUN.precision=16", "RUN.precision must be one of"),
        ("RUN.threads=-1", "RUN.threads"),
    ],
)
def test_mistakes_are_named(word, message):
    with pytest.raises(ConfigError, match=message):
        config.load(None, [word])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("RUN:\n  sed: 1\n", "unknown key 'RUN.sed'; the nearest known one is 'RUN.seed'"),
        ("RUNS:\n  seed: 1\n", "nearest known one is 'RUN.seed'"),
        ("- 1\n- 2\n", "made of the sections"),
        ("RUN:\n", "made of the sections"),
        ("RUN: [1\n", "c.yaml"),
    ],
)
def test_mistakes_in_files_are_named(tmp_path, text, message):
    path = tmp_path / "c.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=message):
        config.load(path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"none\.yaml"):
        config.load(tmp_path / "none.yaml")
