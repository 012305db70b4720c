"""What can be set, section by section, with its defaults; YAML files and ``SECTION.key=value`` words change them."""

from dataclasses import dataclass, field
from pathlib import Path

import nda_augment as nda
from examples.common.data import Data
from examples.common.sections import Run as AnyRun
from examples.common.settings import ConfigError, Section, Settings, at_least, one_of, positive, share
from nda_augment.anomaly import BANKS

DIGITS = Path(__file__).parent / "configs" / "digits.yaml"
DETECTORS = ("density", "classifier", "csi", "uniclr", "discriminator")


@dataclass
class Model(Section):
    """The detector and its networks."""

    detector: str = one_of("csi", DETECTORS)  # density needs no training
    width: int = at_least(16, 1)  # channels of the first stage
    dim: int = at_least(64, 1)  # csi, uniclr: of the embedding that the loss sees
    z_dim: int = at_least(64, 1)  # discriminator: of the generator's latents


@dataclass
class Augmentation(Section):
    """The negatives, and the views that teach what does not matter."""

    # A policy whose members are the negatives: classes (classifier), shifts (csi, uniclr), a mixture (discriminator).
    # Or one word of nda_augment.anomaly.BANKS. "none" leaves csi and discriminator without negatives.
    negatives: str = "rotation"
    fake_weight: float = share(nda.losses.FAKE_WEIGHT, zero=False)  # discriminator: λ
    patch: float = share(0.0, whole=False)  # classifier: side of the windows, a share of the image; 0 is all of it
    min_scale: float = share(0.5, zero=False)  # smallest share of the image in a crop
    flip: bool = False  # mirror images are views
    color: bool = False  # changes of colour are views
    test_views: int = at_least(4, 0)  # csi, uniclr: augmented copies that a score looks at


@dataclass
class Optimization(Section):
    """AdamW with a cosine; Adam for the two players of a GAN."""

    batch_size: int = at_least(64, 1)
    lr: float = positive(1e-3)
    epochs: int = at_least(20, 1)


@dataclass
class Run(AnyRun):
    """Where and how."""

    save_dir: str = "runs/anomaly/digits"


@dataclass
class Config(Settings):
    """A detector on a data set."""

    DATA: Data = field(default_factory=Data)
    MODEL: Model = field(default_factory=Model)
    AUG: Augmentation = field(default_factory=Augmentation)
    OPTIMIZATION: Optimization = field(default_factory=Optimization)
    RUN: Run = field(default_factory=Run)

    def check(self) -> None:
        """Refuse negatives that cannot be read, and none where they are needed."""
        try:
            given = negatives(self.AUG.negatives)
        except ValueError as error:
            raise ConfigError(f"AUG.negatives is neither none nor one of {', '.join(BANKS)}, and {error}") from error
        if not given and self.MODEL.detector in ("classifier", "uniclr"):
            raise ConfigError(f"MODEL.detector={self.MODEL.detector} needs AUG.negatives, got 'none'")


load = Config.load


def negatives(word: str) -> list[nda.NegativeTransform]:
    """The negatives that a word of the banks, a policy, or "none" names."""
    if word == "none":
        return []
    return BANKS[word]() if word in BANKS else nda.from_policy(word).members
