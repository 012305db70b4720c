"""What can be set, section by section, with its defaults; YAML files and ``SECTION.key=value`` words change them."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import nda_augment as nda
from examples.common import settings
from examples.common.data import Data
from examples.common.settings import ConfigError
from nda_augment.anomaly import BANKS

DIGITS = Path(__file__).parent / "configs" / "digits.yaml"
SOURCES = ("digits", "folder", "npz", "sheets", "cifar10")
DETECTORS = ("density", "classifier", "csi", "uniclr", "discriminator")


@dataclass
class Model:
    """The detector and its networks."""

    detector: str = "csi"  # density (no training), classifier, csi, uniclr or discriminator
    width: int = 16  # channels of the first stage
    dim: int = 64  # csi, uniclr: of the embedding that the loss sees
    z_dim: int = 64  # discriminator: of the generator's latents


@dataclass
class Augmentation:
    """The negatives, and the views that teach what does not matter."""

    # A policy whose members are the negatives: classes (classifier), shifts (csi, uniclr), a mixture (discriminator).
    # Or one word of nda_augment.anomaly.BANKS. "none" leaves csi and discriminator without negatives.
    negatives: str = "rotation"
    fake_weight: float = nda.losses.FAKE_WEIGHT  # discriminator: λ
    patch: float = 0.0  # classifier: side of the windows as a share of the image; 0 is the whole image
    min_scale: float = 0.5  # smallest share of the image in a crop
    flip: bool = False  # mirror images are views
    color: bool = False  # changes of colour are views
    test_views: int = 4  # csi, uniclr: augmented copies that a score looks at


@dataclass
class Optimization:
    """AdamW with a cosine; Adam for the two players of a GAN."""

    batch_size: int = 64
    lr: float = 1e-3
    epochs: int = 20


@dataclass
class Run:
    """Where and how."""

    save_dir: str = "runs/anomaly/digits"
    seed: int = 0
    accelerator: str = "auto"
    threads: int = 0  # of the CPU; 0 leaves the choice to torch


@dataclass
class Config:
    """A detector on a data set."""

    DATA: Data = field(default_factory=Data)
    MODEL: Model = field(default_factory=Model)
    AUG: Augmentation = field(default_factory=Augmentation)
    OPTIMIZATION: Optimization = field(default_factory=Optimization)
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


def negatives(word: str) -> list[nda.NegativeTransform]:
    """The negatives that a word of the banks, a policy, or "none" names."""
    if word == "none":
        return []
    return BANKS[word]() if word in BANKS else nda.from_policy(word).members


def _check(config: Config) -> None:
    values = settings.flat(config)
    settings.check_words(values, {"MODEL.detector": DETECTORS, "DATA.name": SOURCES})
    whole = ("MODEL.width", "MODEL.dim", "MODEL.z_dim", "OPTIMIZATION.batch_size", "OPTIMIZATION.epochs")
    settings.check_smallest(values, dict.fromkeys(whole, 1) | {"AUG.test_views": 0, "RUN.threads": 0})
    settings.check_positive(values, ("OPTIMIZATION.lr", "AUG.min_scale", "AUG.fake_weight"))
    settings.check_shares(values, ("AUG.min_scale", "AUG.fake_weight"))
    settings.check_shares(values, ("AUG.patch", "DATA.holdout"), whole=False)
    if config.DATA.name != "digits" and not config.DATA.path:
        raise ConfigError(f"DATA.name={config.DATA.name} needs DATA.path")
    try:
        given = negatives(config.AUG.negatives)
    except ValueError as error:
        raise ConfigError(f"AUG.negatives is neither none nor one of {', '.join(BANKS)}, and {error}") from error
    if not given and config.MODEL.detector in ("classifier", "uniclr"):
        raise ConfigError(f"MODEL.detector={config.MODEL.detector} needs AUG.negatives, got 'none'")
