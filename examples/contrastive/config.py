"""What can be set, section by section, with its defaults; YAML files and ``SECTION.key=value`` words change them."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, cast

import nda_augment as nda
from examples.common import settings
from examples.common.data import Data
from examples.common.settings import ConfigError

DIGITS = Path(__file__).parent / "configs" / "digits.yaml"


@dataclass
class Model:
    """The method and its encoder, a ResNet."""

    method: str = "moco"  # moco (version 2), simclr or byol
    backbone: str = "resnet-9"  # resnet-9, resnet-18, resnet-34 or resnet-50
    stem: str = "small"  # small: 3x3 without max-pool; large: 7x7, stride 2 and max-pool, for images from 128 pixels on
    width: float = 0.25  # 1 is the usual 64 channels in the first stage
    bn_splits: int = 0  # statistics of batch norm from this many parts of a batch, as on as many devices; 0 is off
    dim: int = 64  # of the embedding that the loss sees
    queue: int = 1024  # moco: number of earlier keys that serve as candidates
    momentum: float = 0.99  # moco, byol: of the key or target encoder


@dataclass
class Loss:
    """InfoNCE with a queue (moco), NT-Xent (simclr), cosine similarity (byol)."""

    temperature: float = 0.2
    nda_scale: float = 1.0  # α: multiplies the similarity to negatives
    nda_scope: str = "own"  # own: an image meets its own negative; batch: it meets all
    nda_repulsion: float = 1.0  # byol: weight of the similarity to the negative
    nda_floor: float = -1.0  # byol: similarity below which a negative is left alone


@dataclass
class Optimization:
    """SGD with a cosine schedule."""

    batch_size: int = 128  # of all devices together
    lr: float = 0.1
    momentum: float = 0.9
    weight_decay: float = 5e-4
    epochs: int = 30
    warmup_epochs: int = 0


@dataclass
class Augmentation:
    """The views, which teach what does not matter, and the negatives."""

    apply_nda: bool = True
    nda_policy: str = "jigsaw"
    min_scale: float = 0.2  # smallest share of the image in a crop
    flip: float = 0.5  # probability of a mirror image
    jitter: float = 1.0  # strength of colour changes; 1 is MoCo-v2's, 0 is none
    grayscale: float = 0.2  # probability
    blur: float = 0.0  # probability; MoCo-v2 has 0.5 on large images


@dataclass
class Evaluation:
    """On features of the frozen backbone."""

    knn_every: int = 5  # epochs
    knn_k: int = 200
    knn_temperature: float = 0.1
    linear_lr: float = 1.0  # for a batch of 256
    linear_epochs: int = 50
    linear_batch_size: int = 256


@dataclass
class Run:
    """Where and how."""

    save_dir: str = "runs/contrastive/digits"
    seed: int = 0
    accelerator: str = "auto"
    devices: int = 1
    precision: str = "32-true"  # or bf16-mixed, 16-mixed
    threads: int = 0  # of the CPU; 0 leaves the choice to torch
    print_freq: int = 10  # steps between two logged losses
    progress: bool = True


@dataclass
class Config:
    """A training run."""

    DATA: Data = field(default_factory=Data)
    MODEL: Model = field(default_factory=Model)
    LOSS: Loss = field(default_factory=Loss)
    OPTIMIZATION: Optimization = field(default_factory=Optimization)
    AUG: Augmentation = field(default_factory=Augmentation)
    EVAL: Evaluation = field(default_factory=Evaluation)
    RUN: Run = field(default_factory=Run)

    def to_dict(self) -> dict[str, dict[str, Any]]:
        """Sections of plain values."""
        return asdict(self)


def load(path: Path | None = None, overrides: Sequence[str] = ()) -> Config:
    """Read a config: the defaults, changed by a YAML file, changed by words such as ``RUN.seed=1``.

    Raises:
        ConfigError: If a key is unknown (the nearest known one is named), a value has the wrong type or is out of
            range, or the file cannot be read.
    """
    config = settings.load(Config, path, overrides)
    _check(config)
    return config


def _check(config: Config) -> None:
    words = {
        "DATA.name": ("digits", "folder", "npz", "sheets", "cifar10"),
        "MODEL.method": ("moco", "simclr", "byol"),
        "MODEL.backbone": ("resnet-9", "resnet-18", "resnet-34", "resnet-50"),
        "MODEL.stem": ("small", "large"),
        "RUN.precision": ("32-true", "bf16-mixed", "16-mixed"),
    }
    smallest = {
        "DATA.img_size": 8,
        "DATA.limit": 0,
        "MODEL.bn_splits": 0,
        "MODEL.dim": 1,
        "MODEL.queue": 1,
        "LOSS.nda_repulsion": 0,
        "OPTIMIZATION.batch_size": 2,
        "OPTIMIZATION.weight_decay": 0,
        "OPTIMIZATION.epochs": 1,
        "OPTIMIZATION.warmup_epochs": 0,
        "AUG.jitter": 0,
        "EVAL.knn_every": 1,
        "EVAL.knn_k": 1,
        "EVAL.knn_temperature": 0.02,  # below, exp(1/τ) leaves float32
        "EVAL.linear_epochs": 1,
        "EVAL.linear_batch_size": 1,
        "RUN.devices": 1,
        "RUN.print_freq": 1,
        "RUN.threads": 0,
    }
    positive = ("MODEL.width", "OPTIMIZATION.lr", "LOSS.temperature", "EVAL.linear_lr")
    shares = ("DATA.holdout", "MODEL.momentum", "OPTIMIZATION.momentum", "AUG.flip", "AUG.grayscale", "AUG.blur")
    values = settings.flat(config)
    settings.check_words(values, words)
    settings.check_smallest(values, smallest)
    settings.check_positive(values, positive)
    settings.check_shares(values, shares)
    if not 0 < config.AUG.min_scale <= 1:
        raise ConfigError(f"AUG.min_scale must be in (0, 1], got {config.AUG.min_scale}")
    if config.DATA.name != "digits" and not config.DATA.path:
        raise ConfigError(f"DATA.name={config.DATA.name} needs DATA.path")
    _check_batch(config)
    try:
        scope = cast(nda.losses.Scope, config.LOSS.nda_scope)
        nda.losses.InfoNCELoss(negative_scale=config.LOSS.nda_scale, scope=scope)
        nda.losses.RepulsionLoss(config.LOSS.nda_floor)
        nda.from_policy(config.AUG.nda_policy)
    except ValueError as error:
        raise ConfigError(f"LOSS or AUG: {error}") from error


def _check_batch(config: Config) -> None:
    batch, devices, splits = config.OPTIMIZATION.batch_size, config.RUN.devices, config.MODEL.bn_splits
    for key, parts in {"RUN.devices": devices, "RUN.devices · MODEL.bn_splits": devices * max(splits, 1)}.items():
        if batch % parts:
            raise ConfigError(f"OPTIMIZATION.batch_size={batch} cannot be divided by {key}={parts}")
