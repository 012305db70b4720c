"""Files of StudioGAN: those made here, and all of the source that an environment variable names."""

import os
from pathlib import Path

import pytest

from examples.common.settings import ConfigError, flat
from examples.gan import config, studiogan_file

SNGAN = """
DATA: {name: ImageNet, img_size: 32, num_classes: 10, path: photos}
MODEL: {backbone: resnet, g_shared_dim: N/A, attn_g_loc: N/A, z_prior: gaussian, z_dim: 128, g_act_fn: ReLU}
LOSS: {adv_loss: logistic, apply_lecam: False, apply_bcr: False}
OPTIMIZATION: {type_: Adam, g_updates_per_step: 1, d_updates_per_step: 5, beta1: 0.5}
PRE: {apply_rflip: False}
AUG: {apply_diffaug: True, diffaug_type: diffaug}
"""


def test_what_means_the_same_is_read(tmp_path: Path) -> None:
    path = tmp_path / "SNGAN.yaml"
    path.write_text(SNGAN)
    settings = config.load(path)
    assert (settings.DATA.name, settings.DATA.num_classes, settings.MODEL.g_shared_dim) == ("folder", 10, 0)
    assert (settings.LOSS.adv_loss, settings.AUG.diffaug_type) == ("softplus", "color,translation,cutout")
    assert (settings.OPTIMIZATION.d_updates_per_step, settings.OPTIMIZATION.beta1) == (5, 0.5)


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("LOSS.apply_wc=true", "LOSS.apply_wc=True is StudioGAN's, and not here: use MODEL.apply_d_sn=true or"),
        ("OPTIMIZATION.type_=SGD", "OPTIMIZATION.type_=SGD is .* leave it out for Adam"),
        ("PRE.apply_rflip=true", "add mirrored copies"),
        ("MODEL.normalize_d_embed=true", "MODEL.d_cond_mtd=2C and D2DCE do it and no other does"),
        ("OPTIMIZATION.d_first=false", "the discriminator is always first"),
        ("LOSS.apply_sorcery=true", "unknown key 'LOSS.apply_sorcery'"),
        ("STYLEGAN.pl_weight=2", "unknown key 'STYLEGAN.pl_weight'"),
    ],
)
def test_what_there_is_not_is_refused_by_name(word: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        config.load(None, [word])


def test_what_is_said_here_has_no_other_words() -> None:
    known = flat(config.Config())
    assert not studiogan_file._INSTEAD.keys() & known.keys()
    assert not studiogan_file._AS_HERE.keys() & known.keys()
    assert studiogan_file._WORDS.keys() <= known.keys()


@pytest.mark.skipif("STUDIOGAN_SRC" not in os.environ, reason="STUDIOGAN_SRC names no checkout of PyTorch-StudioGAN")
def test_every_file_of_the_real_source_is_read_or_refused() -> None:
    files = sorted(Path(os.environ["STUDIOGAN_SRC"]).glob("src/configs/**/*.yaml"))
    read = 0
    for path in files:
        try:
            config.load(path, ["DATA.path=photos"])
            read += 1
        except ConfigError:
            continue
    assert read > len(files) / 5


@pytest.mark.parametrize(("method", "said"), [("2C", True), ("D2DCE", True), ("PD", False)])
def test_what_is_so_here_anyway_need_not_be_said(tmp_path: Path, method: str, said: bool) -> None:
    path = tmp_path / "embedded.yaml"
    model = f"{{g_cond_mtd: cBN, d_cond_mtd: {method}, normalize_d_embed: {said}}}"
    path.write_text(f"MODEL: {model}\n")
    assert config.load(path).MODEL.d_cond_mtd == method
    path.write_text(f"MODEL: {model.replace(str(said), str(not said))}\n")
    with pytest.raises(ConfigError, match="normalize_d_embed"):
        config.load(path)
