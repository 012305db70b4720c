"""Configuration files of StudioGAN: what they say in other words is read, what there is not is refused by name."""

from collections.abc import Mapping
from typing import Any

from examples.common.settings import ConfigError

_FOLDERS = (
    "AFHQv2",
    "Baby_ImageNet",
    "CUB200",
    "FFHQ",
    "Grandpa_ImageNet",
    "ImageNet",
    "Papa_ImageNet",
    "Tiny_ImageNet",
)
_WORDS: dict[str, dict[Any, str]] = {
    "AUG.cr_aug_type": {"cr": "translation"},
    "AUG.diffaug_type": {"diffaug": "color,translation,cutout"},
    "DATA.name": {"CIFAR10": "cifar10", **dict.fromkeys(_FOLDERS, "folder")},
    "LOSS.adv_loss": {"vanilla": "softplus", "logistic": "softplus", "least_square": "least_squares"},
}
# A key with one of these values says what is so here anyway, as does one that is off.
_AS_HERE: dict[str, Any] = {
    "MODEL.aux_cls_type": "W/O",
    "MODEL.d_act_fn": "ReLU",
    "MODEL.g_act_fn": "ReLU",
    "MODEL.z_prior": "gaussian",
    "OPTIMIZATION.d_first": True,
    "OPTIMIZATION.g_updates_per_step": 1,
    "OPTIMIZATION.type_": "Adam",
}
_INSTEAD = {
    "AUG.apply_apa": "use AUG.apply_ada=true",
    "LOSS.apply_bcr": "use LOSS.apply_cr=true, the consistency of real images alone",
    "LOSS.apply_dra": "use LOSS.apply_gp=true",
    "LOSS.apply_fm": "leave it out",
    "LOSS.apply_maxgp": "use LOSS.apply_gp=true",
    "LOSS.apply_wc": "use MODEL.apply_d_sn=true or LOSS.apply_gp=true",
    "LOSS.apply_zcr": "use LOSS.apply_cr=true, the consistency of real images alone",
    "MODEL.aux_cls_type": "use MODEL.d_cond_mtd=AC or D2DCE alone",
    "MODEL.d_act_fn": "leave it out for ReLU, the one there is",
    "MODEL.d_depth": "use MODEL.backbone=big_resnet, without depth",
    "MODEL.g_act_fn": "leave it out for ReLU, the one there is",
    "MODEL.g_depth": "use MODEL.backbone=big_resnet, without depth",
    "MODEL.info_type": "use the labels: MODEL.g_cond_mtd=cBN",
    "MODEL.normalize_d_embed": "leave it out, MODEL.d_cond_mtd=2C and D2DCE do it and no other does",
    "MODEL.z_prior": "leave it out for gaussian, the one there is",
    "OPTIMIZATION.d_first": "leave it out, the discriminator is always first",
    "OPTIMIZATION.g_updates_per_step": "use OPTIMIZATION.d_updates_per_step, or other learning rates",
    "OPTIMIZATION.type_": "leave it out for Adam, the one there is",
    "PRE.apply_rflip": "add mirrored copies to the images",
    "RUN.mixed_precision": "use RUN.precision=bf16-mixed",
}


def read(change: Mapping[str, Any], known: Mapping[str, Any]) -> dict[str, Any]:
    """Say in the words of :mod:`examples.gan.config` what sections say in StudioGAN's.

    Args:
        change: Sections of a file or of an override.
        known: Keys that there are here, in full.

    Returns:
        The sections, without what is so here anyway. A key that neither knows stays.

    Raises:
        ConfigError: If a key of StudioGAN asks for what there is not; it names what comes nearest.
    """
    normalizes = (change.get("MODEL") or {}).get("d_cond_mtd") in ("2C", "D2DCE")
    as_here = _AS_HERE | {"MODEL.normalize_d_embed": normalizes}
    read: dict[str, Any] = {}
    for section, values in change.items():
        if isinstance(values, Mapping):
            kept = {name: _word(f"{section}.{name}", value) for name, value in values.items()}
            values = {
                name: value
                for name, value in kept.items()
                if not _goes_without(f"{section}.{name}", value, known, as_here)
            }
            if kept and not values:
                continue
        read[section] = values
    return read


def _word(key: str, value: Any) -> Any:
    return _WORDS.get(key, {}).get(value, value) if isinstance(value, str) else value


def _goes_without(key: str, value: Any, known: Mapping[str, Any], as_here: Mapping[str, Any]) -> bool:
    """Whether a key need not be said, since nothing else would be so without it."""
    if value == "N/A":
        return True
    if key in known:
        return False
    if key in as_here and value == as_here[key]:
        return True
    if key in _INSTEAD and (value is not False or key in as_here):
        raise ConfigError(f"{key}={value} is StudioGAN's, and not here: {_INSTEAD[key]}")
    return value is False and (key in _INSTEAD or key.split(".")[1].startswith("apply_"))
