"""What can be set, section by section, with its defaults; YAML files and ``SECTION.key=value`` words change them."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, cast

import torch

import nda_augment as nda
from examples.common import settings
from examples.common.settings import ConfigError
from examples.contrastive import config as contrastive
from examples.contrastive.config import Evaluation, Loss, Optimization

DIGITS = Path(__file__).parent / "configs" / "digits.yaml"


@dataclass
class Data:
    """Which clips, all of them labelled; the labels are used for evaluation only."""

    name: str = "digits"  # digits, which move, or folder
    path: str = ""  # folder: where the clips are, one sub-folder for each label
    test_path: str = ""  # folder: where the test clips are; without it a part of the others is held out
    frames: int = 8  # of a clip; of a file, as many at even distances
    img_size: int = 20  # side of a frame in pixels
    clips: int = 4096  # digits: how many to make, those for testing included
    holdout: float = 0.25  # share of the clips, and of the digits they show, that is held out for testing


@dataclass
class Model:
    """The method and its encoder, a residual network of 3-D convolutions in three stages."""

    method: str = "simclr"  # simclr or moco (version 2)
    backbone: str = "r3d"  # r3d: full 3-D kernels; r2plus1d: in space, then in time
    width: int = 16  # channels of the first stage
    blocks: int = 1  # in each stage
    dim: int = 64  # of the embedding that the loss sees
    queue: int = 1024  # moco: number of earlier keys that serve as candidates
    momentum: float = 0.99  # moco: of the key encoder


@dataclass
class Augmentation:
    """The views, one draw for all frames of a clip, and the negatives."""

    apply_nda: bool = True
    nda_policy: str = "frameshuffle"
    min_scale: float = 0.5  # smallest share of the frame in a crop
    flip: float = 0.0  # probability of a mirror image; a motion to the left becomes one to the right
    jitter: float = 0.0  # strength of colour changes; 1 is MoCo-v2's, 0 is none
    grayscale: float = 0.0  # probability


@dataclass
class Run(contrastive.Run):
    """Where and how."""

    save_dir: str = "runs/video/digits"


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
    values = settings.flat(config)
    settings.check_words(
        values,
        {
            "DATA.name": ("digits", "folder"),
            "MODEL.method": ("simclr", "moco"),
            "MODEL.backbone": ("r3d", "r2plus1d"),
            "RUN.precision": ("32-true", "bf16-mixed", "16-mixed"),
        },
    )
    settings.check_smallest(
        values,
        {
            "DATA.frames": 2,
            "DATA.img_size": 8,
            "DATA.clips": 2,
            "MODEL.width": 1,
            "MODEL.blocks": 1,
            "MODEL.dim": 1,
            "MODEL.queue": 1,
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
        },
    )
    settings.check_positive(values, ("OPTIMIZATION.lr", "LOSS.temperature", "EVAL.linear_lr", "AUG.min_scale"))
    settings.check_shares(
        values, ("MODEL.momentum", "OPTIMIZATION.momentum", "AUG.min_scale", "AUG.flip", "AUG.grayscale")
    )
    settings.check_shares(values, ("DATA.holdout",), whole=False)
    if config.DATA.name == "folder" and not config.DATA.path:
        raise ConfigError("DATA.name=folder needs DATA.path")
    if config.DATA.name == "digits" and (config.DATA.path or config.DATA.test_path):
        raise ConfigError("DATA.path and DATA.test_path are of DATA.name=folder; digits are drawn, not read")
    if config.OPTIMIZATION.batch_size % config.RUN.devices:
        raise ConfigError(
            f"OPTIMIZATION.batch_size={config.OPTIMIZATION.batch_size} cannot be divided by "
            f"RUN.devices={config.RUN.devices}"
        )
    try:
        scope = cast(nda.losses.Scope, config.LOSS.nda_scope)
        nda.losses.InfoNCELoss(negative_scale=config.LOSS.nda_scale, scope=scope)
        clips = torch.zeros(2, config.DATA.frames, 3, config.DATA.img_size, config.DATA.img_size)
        nda.from_policy(config.AUG.nda_policy)(clips, generator=torch.Generator())
    except ValueError as error:
        raise ConfigError(f"LOSS or AUG: {error}") from error
