"""What can be set, section by section, with its defaults; YAML files and ``SECTION.key=value`` words change them.

Keys are named as in ``examples.gan.config`` where it has them.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, cast

import nda_augment as nda
from examples.common import settings
from examples.common.settings import ConfigError
from nda_augment._negatives import check_negative

SIZES = (16, 32, 64, 128, 256)


@dataclass
class Data:
    """Which photographs; their edges are found by Canny's method."""

    name: str = "photographs"  # those that ship with scikit-image, cropped; or folder
    path: str = ""  # of the folder
    img_size: int = 64
    holdout: float = 0.25  # folder: share of the images that is kept out of training
    low_threshold: float = 0.1  # Canny's: weaker slopes are no edges
    high_threshold: float = 0.2  # stronger ones are; those between are if they touch one


@dataclass
class Model:
    """Sizes of the two players: channels of their first layer; deeper ones have up to eight times as many."""

    g_conv_dim: int = 16
    d_conv_dim: int = 16


@dataclass
class Loss:
    """What the players want."""

    adv_loss: str = "softplus"  # softplus, hinge, least_squares or wasserstein
    nda_fake_weight: float = nda.losses.FAKE_WEIGHT  # λ: weight of generated images; negatives have 1 - λ
    l1_lambda: float = 100.0  # weight of the distance to the true photograph; 0 leaves the adversarial loss alone


@dataclass
class Optimization:
    """Adam for both players."""

    batch_size: int = 8
    g_lr: float = 2e-4
    d_lr: float = 2e-4
    beta1: float = 0.5
    beta2: float = 0.999
    total_steps: int = 2000


@dataclass
class Augmentation:
    """The negatives: made of the true photograph, and judged beside the edges it really has."""

    apply_nda: bool = True
    nda_policy: str = "jigsaw"


@dataclass
class Run:
    """Where and how."""

    save_dir: str = "runs/translation/edges"
    seed: int = 0
    accelerator: str = "auto"
    precision: str = "32-true"  # or bf16-mixed
    threads: int = 0  # of the CPU; 0 leaves the choice to torch
    print_freq: int = 50  # steps between two logged rows
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
        """λ as the loss sees it: without negatives it is 1, plain pix2pix."""
        return self.LOSS.nda_fake_weight if self.AUG.apply_nda else 1.0

    def to_dict(self) -> dict[str, dict[str, Any]]:
        """Sections of plain values."""
        return asdict(self)


def load(path: Path | None = None, overrides: Sequence[str] = ()) -> Config:
    """Read a config: the defaults, changed by a YAML file, changed by words such as ``RUN.seed=1``.

    Raises:
        ConfigError: If a key is unknown, a value has the wrong type or is out of range, or the file cannot be read.
    """
    config = settings.load(Config, path, overrides)
    _check(config)
    return config


def save(config: Config, path: Path) -> None:
    """Write a config as the YAML file that :func:`load` reads."""
    path.write_text(settings.to_yaml(config))


def _check(config: Config) -> None:
    values = settings.flat(config)
    settings.check_words(values, {"DATA.name": ("photographs", "folder"), "RUN.precision": ("32-true", "bf16-mixed")})
    if config.DATA.name == "folder" and not config.DATA.path:
        raise ConfigError("DATA.name=folder needs DATA.path")
    if config.DATA.img_size not in SIZES:
        raise ConfigError(f"DATA.img_size must be one of {', '.join(map(str, SIZES))}, got {config.DATA.img_size}")
    if not 0 < config.DATA.low_threshold < config.DATA.high_threshold < 1:
        raise ConfigError(
            "Canny's thresholds must be in order, 0 < DATA.low_threshold < DATA.high_threshold < 1, got "
            f"{config.DATA.low_threshold} and {config.DATA.high_threshold}"
        )
    counts = ["OPTIMIZATION.batch_size", "OPTIMIZATION.total_steps", "MODEL.g_conv_dim", "MODEL.d_conv_dim"]
    counts += ["RUN.print_freq", "RUN.sample_freq", "RUN.save_freq"]
    settings.check_smallest(values, dict.fromkeys(counts, 1) | {"RUN.threads": 0, "LOSS.l1_lambda": 0})
    settings.check_positive(values, ("OPTIMIZATION.g_lr", "OPTIMIZATION.d_lr"))
    settings.check_shares(values, ("DATA.holdout", "OPTIMIZATION.beta1", "OPTIMIZATION.beta2"), whole=False)
    try:
        nda.losses.DiscriminatorLoss(cast(nda.losses.GANKind, config.LOSS.adv_loss), config.LOSS.nda_fake_weight)
        check_negative(nda.from_policy(config.AUG.nda_policy))
    except ValueError as error:
        raise ConfigError(f"LOSS or AUG: {error}") from error
