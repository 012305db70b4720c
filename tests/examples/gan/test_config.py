from dataclasses import asdict
from pathlib import Path

import pytest

from examples.common.settings import ConfigError
from examples.gan import config
from examples.gan.config import DIGITS, Config

PROJECTED = ["MODEL.g_cond_mtd=cBN", "MODEL.d_cond_mtd=PD"]


def test_defaults_and_overrides():
    negatives = ["AUG.apply_nda=true", "LOSS.nda_fake_weight=0.5", "AUG.nda_policy=jigsaw,stitch:2"]
    settings = config.load(None, ["RUN.seed=7", *negatives])
    assert (settings.RUN.seed, settings.fake_weight, settings.AUG.nda_policy) == (7, 0.5, "jigsaw,stitch:2")
    expected = asdict(Config())
    expected["RUN"]["seed"], expected["LOSS"]["nda_fake_weight"] = 7, 0.5
    expected["AUG"] |= {"apply_nda": True, "nda_policy": "jigsaw,stitch:2"}
    assert settings.to_dict() == expected


def test_the_default_is_the_plain_gan():
    assert (Config().AUG.apply_nda, Config().fake_weight) == (False, 1)


@pytest.mark.parametrize("word", ["AUG.nda_policy=stitch", "LOSS.nda_fake_weight=0.5"])
def test_what_changes_nothing_is_no_setting(word):
    with pytest.raises(ConfigError, match=f"{word.partition('=')[0]} changes nothing .* add AUG.apply_nda=true"):
        config.load(None, [word])
    assert config.load(None, [word, "AUG.apply_nda=false"]).fake_weight == 1


def test_without_negatives_lambda_is_one():
    assert config.load(None, ["AUG.apply_nda=false", "LOSS.nda_fake_weight=0.25"]).fake_weight == 1


def test_round_trip(tmp_path):
    settings = config.load(None, ["RUN.seed=7", "OPTIMIZATION.g_lr=1e-3"])
    settings.save(tmp_path / "c.yaml")
    assert config.load(tmp_path / "c.yaml") == settings


@pytest.mark.parametrize("path", sorted(DIGITS.parent.glob("*.yaml")), ids=lambda path: path.stem)
def test_shipped_configs_are_valid(path):
    settings = config.load(path, ["DATA.path=somewhere"])
    assert Path(settings.RUN.save_dir).name == path.stem


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
        ("DATA.test_path=test", "DATA.test_path is of folder, npz or sheets; digits has no use for it"),
        ("DATA.img_size=24", "one of 8, 16, 32, 64, 128, 256, got 24"),
        ("DATA.img_size=4", "got 4"),
        ("DATA.holdout=1", r"\[0, 1\), got 1"),
        ("MODEL.g_ema_decay=1", r"\[0, 1\), got 1"),
        ("OPTIMIZATION.batch_size=0", "OPTIMIZATION.batch_size must be at least 1, got 0"),
        ("OPTIMIZATION.g_lr=nan", "OPTIMIZATION.g_lr must be above 0"),
        ("RUN.precision=16", "RUN.precision must be one of"),
        ("RUN.threads=-1", "RUN.threads"),
        ("MODEL.backbone=resnt", "did you mean 'resnet'"),
        ("MODEL.d_cond_mtd=PD", "either both players are told classes or neither"),
        ("MODEL.g_cond_mtd=cBN", "either both players are told classes or neither"),
        ("LOSS.adv_loss=MH", "set both to MH"),
        ("MODEL.g_shared_dim=8", "needs MODEL.g_cond_mtd=cBN"),
        ("LOSS.nda_mode=replaced", "did you mean 'replace'"),
        ("LOSS.nda_schedule=linear", "needs LOSS.nda_schedule_steps"),
        ("LOSS.nda_schedule_start=2", r"LOSS.nda_schedule_start must be in \(0, 1\], got 2"),
        ("LOSS.gp_lambda=0", "LOSS.gp_lambda must be above 0"),
        ("OPTIMIZATION.acml_steps=0", "OPTIMIZATION.acml_steps must be at least 1"),
        ("OPTIMIZATION.beta2=1", r"OPTIMIZATION.beta2 must be in \[0, 1\), got 1"),
        ("AUG.diffaug_type=colour", "did you mean 'color'"),
        ("AUG.ada_target=2", r"target must be in \(-1, 1\)"),
        ("AUG.ada_initial_augment_p=2", "AUG.ada_initial_augment_p"),
        ("AUG.nda_source=images", "needs AUG.nda_path"),
        ("AUG.nda_path=undesired", "needs AUG.nda_path"),
        ("AUG.nda_strength_schedule=constant", "jigsaw has no strength to set"),
        ("AUG.nda_strength_start=2", "AUG.nda_strength_start"),
        ("AUG.nda_policy='jigsaw(p=0.5)'", "use p=1"),
        ("AUG.nda_policy=framereverse", "works on clips"),
        ("LOSS.apply_augself=true", "needs AUG.apply_diffaug=true"),
        ("RUN.devices=3", "OPTIMIZATION.batch_size=64 cannot be divided by RUN.devices=3"),
    ],
)
def test_mistakes_are_named(word, message):
    with pytest.raises(ConfigError, match=message):
        config.load(None, ["AUG.apply_nda=true", word])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["MODEL.hierarchical_z=true"], "MODEL.z_dim=64 cannot be divided, 63 or 66 can"),
        (["MODEL.hierarchical_z=true", "MODEL.z_dim=63", *PROJECTED], "needs MODEL.g_shared_dim"),
        (
            ["MODEL.apply_attn=true", "MODEL.attn_g_loc=[3]"],
            r"attn_g_loc counts blocks, from 1 to 2 at 16 pixels, got \[3",
        ),
        (["MODEL.apply_attn=true", "MODEL.backbone=deep_conv"], "not with deep_conv"),
        (["MODEL.backbone=deep_conv", "MODEL.apply_d_sn=false", "LOSS.apply_gp=true"], "which batch norm mixes"),
        (["LOSS.nda_adaptive=true", "LOSS.nda_schedule_delay=9"], "both say what λ is"),
        (["LOSS.nda_adaptive=true", "LOSS.nda_adaptive_lowest=0.8"], "weights must be in order"),
        (["LOSS.adv_loss=rumi_softplus", "AUG.apply_nda=false"], "needs AUG.apply_nda=true"),
        (["LOSS.adv_loss=rumi_softplus", "LOSS.nda_mode=replace"], "not with λ"),
        (["LOSS.adv_loss=rumi_softplus", "LOSS.nda_start_step=9"], "not with λ"),
        (["RUN.nan_patience=3"], "is for RUN.precision=16-mixed"),
        (["LOSS.adv_loss=rumi_wasserstein", "LOSS.rumi_negative_weight=3"], "must be below positive_weight"),
        (["LOSS.apply_lecam=true", "LOSS.nda_mode=replace"], "LOSS.apply_lecam looks at generated images"),
        (["RUN.precision=16-mixed", "LOSS.apply_r1_reg=true"], "too small for 16-mixed"),
        (["AUG.apply_diffaug=true", "AUG.apply_ada=true"], "augment the same images"),
        (["LOSS.apply_augself=true", "AUG.apply_diffaug=true", "LOSS.nda_mode=replace"], "puts negatives there"),
        (["LOSS.nda_blend_ada=true", "AUG.apply_ada=true"], "it needs LOSS.nda_mode=blend"),
        (["LOSS.nda_blend_ada=true", "LOSS.nda_mode=blend"], "AUG.apply_ada=true"),
        (["LOSS.nda_weights={fake: 0.5, jigsaw: 0.4}"], "LOSS.nda_weights must sum to 1"),
        (["LOSS.nda_weights={jigsaw: 1}"], "LOSS.nda_weights have no 'fake'"),
        (["LOSS.nda_weights={fake: 0.5, jigsw: 0.5}"], "unknown negative.*a kind is history, wrong_label or a policy"),
        (["LOSS.nda_weights={fake: 0.5, wrong_label: 0.5}"], "logits that depend on the class, .*d_cond_mtd=PD or MH"),
        (["LOSS.nda_weights={fake: 0.5, wrong_label: 0.5}", "MODEL.g_cond_mtd=cBN", "MODEL.d_cond_mtd=AC"], "PD or MH"),
        (["LOSS.nda_weights={fake: 0.5, history: 0.5}", "LOSS.nda_fake_weight=0.5"], "LOSS.nda_fake_weight is for"),
        (["LOSS.nda_weights={fake: 0.5, history: 0.5}", "LOSS.nda_mode=blend"], "LOSS.nda_mode is for"),
        (["LOSS.nda_weights={fake: 0.5, history: 0.5}", "LOSS.nda_adaptive=true"], "LOSS.nda_adaptive is for"),
        (["LOSS.nda_weights={fake: 0.5, history: 0.5}", "LOSS.adv_loss=rumi_softplus"], "LOSS.adv_loss is for"),
    ],
)
def test_settings_that_do_not_go_together_are_named(words, message):
    with pytest.raises(ConfigError, match=message):
        config.load(None, ["AUG.apply_nda=true", *words])
