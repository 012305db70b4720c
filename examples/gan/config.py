"""What can be set, section by section, with its defaults; YAML files and ``SECTION.key=value`` words change them.

Sections and keys are named as in PyTorch-StudioGAN where it has them.
"""

import difflib
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, cast

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError  # type: ignore[import-untyped]

import nda_augment as nda

DIGITS = Path(__file__).parent / "configs" / "digits.yaml"


@dataclass
class Data:
    """Which images. Every source ends as ``(N, C, img_size, img_size)`` uint8, held in memory."""

    name: str = "digits"  # digits, folder, npz or cifar10
    path: str = ""  # of the folder, the .npz, or where CIFAR-10 lies or is downloaded to
    img_size: int = 16
    holdout: float = 0.5  # share of the images that is kept out of training, for evaluation
    skip_unreadable: bool = False  # folder: leave files out that cannot be read, and say which; else they are an error


@dataclass
class Model:
    """Sizes of the two players."""

    z_dim: int = 64
    g_conv_dim: int = 16  # channels at full resolution; deeper layers have up to four times as many
    d_conv_dim: int = 16
    g_ema_decay: float = 0.99
    g_ema_start: int = 100  # until this step the average is the generator itself


@dataclass
class Loss:
    """The adversarial loss."""

    adv_loss: str = "softplus"  # softplus, hinge, least_squares or wasserstein
    nda_fake_weight: float = 0.25  # λ: weight of generated images; negatives have 1 - λ


@dataclass
class Optimization:
    """Adam for both players."""

    batch_size: int = 64
    g_lr: float = 2e-4
    d_lr: float = 4e-4
    beta1: float = 0.0
    beta2: float = 0.9
    d_updates_per_step: int = 1
    total_steps: int = 1500


@dataclass
class Augmentation:
    """The negatives."""

    apply_nda: bool = True
    nda_policy: str = "jigsaw"  # also without apply_nda it says which negatives the logged gap is measured on


@dataclass
class Run:
    """Where and how."""

    save_dir: str = "runs/gan/digits"
    seed: int = 0
    accelerator: str = "auto"
    precision: str = "32-true"  # or bf16-mixed
    threads: int = 0  # of the CPU; 0 leaves the choice to torch
    print_freq: int = 20  # steps between two logged rows
    sample_freq: int = 500  # steps between two sample grids
    save_freq: int = 500  # steps between two checkpoints


@dataclass
class Config:
    """A training run."""

    DATA: Data = field(default_factory=Data)
    MODEL: Model = field(default_factory=Model)
    LOSS: Loss = field(default_factory=Loss)
    OPTIMIZATION: Optimization = field(default_factory=Optimization)
    AUG: Augmentation = field(default_factory=Augmentation)
    RUN: Run = field(default_factory=Run)

    @property
    def fake_weight(self) -> float:
        """λ as the loss sees it: without negatives it is 1, the plain GAN."""
        return self.LOSS.nda_fake_weight if self.AUG.apply_nda else 1.0

    def to_dict(self) -> dict[str, dict[str, Any]]:
        """Sections of plain values."""
        return asdict(self)


class ConfigError(ValueError):
    """A config names something that does not exist, or gives it a value that cannot be."""


def load(path: Path | None = None, overrides: Sequence[str] = ()) -> Config:
    """Read a config: the defaults, changed by a YAML file, changed by words such as ``RUN.seed=1``.

    Raises:
        ConfigError: If a key is unknown (the nearest known one is named), a value has the wrong type or is out of
            range, or the file cannot be read.
    """
    merged = OmegaConf.structured(Config)
    try:
        changes = [OmegaConf.load(path)] if path else []
        for word in overrides:
            if "=" not in word:
                raise ConfigError(f"{word!r} is no override; write SECTION.key=value, such as RUN.seed=1")
            changes.append(OmegaConf.from_dotlist([word]))
        for change in changes:
            _check_keys(OmegaConf.to_container(change))
            merged = OmegaConf.merge(merged, change)
        config = cast(Config, OmegaConf.to_object(merged))
    except (OSError, YAMLError, OmegaConfBaseException) as error:
        raise ConfigError(str(error)) from error
    _check_values(config)
    return config


def save(config: Config, path: Path) -> None:
    """Write a config as the YAML file that :func:`load` reads."""
    path.write_text(OmegaConf.to_yaml(OmegaConf.create(config.to_dict())))


def _known_keys() -> list[str]:
    return [f"{section}.{key}" for section, values in Config().to_dict().items() for key in values]


def _check_keys(change: Any) -> None:
    sections = list(Config().to_dict())
    if not isinstance(change, dict) or not all(isinstance(v, dict) for k, v in change.items() if k in sections):
        raise ConfigError(f"a config is made of the sections {', '.join(sections)}, each with keys and values")
    known = _known_keys()
    for key in _keys(change):
        if key not in known:
            near = _nearest(key, known)
            raise ConfigError(f"unknown key {key!r}; the nearest known one is {near!r}")


def _keys(change: dict[Any, Any]) -> Iterator[str]:
    for section, values in change.items():
        if isinstance(values, dict) and values:
            yield from (f"{section}.{key}" for key in values)
        else:
            yield str(section)


def _check_values(config: Config) -> None:
    data, model, optimization, run = config.DATA, config.MODEL, config.OPTIMIZATION, config.RUN
    sources = ("digits", "folder", "npz", "cifar10")
    _check_word("DATA.name", data.name, sources)
    _check_word("RUN.precision", run.precision, ("32-true", "bf16-mixed"))
    if data.name != "digits" and not data.path:
        raise ConfigError(f"DATA.name={data.name} needs DATA.path")
    if data.img_size < 8 or data.img_size & (data.img_size - 1):
        raise ConfigError(f"DATA.img_size must be a power of two from 8 on, got {data.img_size}")
    if not 0 <= data.holdout < 1:
        raise ConfigError(f"DATA.holdout must be in [0, 1), got {data.holdout}")
    if not 0 <= model.g_ema_decay < 1:
        raise ConfigError(f"MODEL.g_ema_decay must be in [0, 1), got {model.g_ema_decay}")
    counts = {
        "MODEL": ("z_dim", "g_conv_dim", "d_conv_dim"),
        "OPTIMIZATION": ("batch_size", "d_updates_per_step", "total_steps"),
        "RUN": ("print_freq", "sample_freq", "save_freq"),
    }
    for section, keys in counts.items():
        for key in keys:
            value = getattr(getattr(config, section), key)
            if value < 1:
                raise ConfigError(f"{section}.{key} must be at least 1, got {value}")
    if run.threads < 0:
        raise ConfigError(f"RUN.threads must be 0 or more, got {run.threads}")
    for key in ("g_lr", "d_lr"):
        if not getattr(optimization, key) > 0:
            raise ConfigError(f"OPTIMIZATION.{key} must be above 0, got {getattr(optimization, key)}")
    try:
        nda.losses.DiscriminatorLoss(cast(nda.losses.GANKind, config.LOSS.adv_loss), config.LOSS.nda_fake_weight)
        nda.from_policy(config.AUG.nda_policy)
    except ValueError as error:
        raise ConfigError(f"LOSS or AUG: {error}") from error


def _check_word(key: str, word: str, known: Sequence[str]) -> None:
    if word not in known:
        near = _nearest(word, known)
        raise ConfigError(f"{key} must be one of {', '.join(known)}, got {word!r}; did you mean {near!r}?")


def _nearest(word: str, known: Sequence[str]) -> str:
    return max(known, key=lambda other: difflib.SequenceMatcher(None, word.lower(), other.lower()).ratio())
