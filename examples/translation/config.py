"""What can be set, section by section, with its defaults; YAML files and ``SECTION.key=value`` words change them.

Keys are named as in ``examples.gan.config`` where it has them.
"""

from dataclasses import dataclass, field
from typing import get_args

import nda_augment as nda
from examples.common.sections import Players, StepRun
from examples.common.settings import ConfigError, Section, Settings, at_least, one_of, positive, share
from nda_augment._negatives import check_negative

SIZES = (16, 32, 64, 128, 256)


@dataclass
class Data(Section):
    """Which photographs; their edges are found by Canny's method."""

    name: str = one_of("photographs", ("photographs", "folder"))  # those that ship with scikit-image, cropped
    path: str = ""  # of the folder
    img_size: int = one_of(64, SIZES)
    holdout: float = share(0.25, whole=False)  # folder: share of the images that is kept out of training
    skip_unreadable: bool = False  # folder: leave files out that cannot be read, and say which; else they are an error
    low_threshold: float = 0.1  # Canny's: weaker slopes are no edges
    high_threshold: float = 0.2  # stronger ones are; those between are if they touch one

    def check(self) -> None:
        """Refuse what Canny's method cannot use, and a folder without a path."""
        if self.name == "folder" and not self.path:
            raise ConfigError("DATA.name=folder needs DATA.path")
        if not 0 < self.low_threshold < self.high_threshold < 1:
            raise ConfigError(
                "Canny's thresholds must be in order, 0 < DATA.low_threshold < DATA.high_threshold < 1, got "
                f"{self.low_threshold} and {self.high_threshold}"
            )


@dataclass
class Model(Section):
    """Sizes of the two players: channels of their first layer; deeper ones have up to eight times as many."""

    g_conv_dim: int = at_least(16, 1)
    d_conv_dim: int = at_least(16, 1)


@dataclass
class Loss(Section):
    """What the players want."""

    adv_loss: str = one_of("softplus", get_args(nda.losses.GANKind))
    nda_fake_weight: float = share(nda.losses.FAKE_WEIGHT, zero=False)  # λ: of generated images; negatives have 1 - λ
    l1_lambda: float = at_least(100.0, 0)  # weight of the distance to the true photograph; 0 leaves it out


@dataclass
class Optimization(Players):
    """Adam for both players."""

    batch_size: int = at_least(8, 1)
    d_lr: float = positive(2e-4)
    beta1: float = share(0.5, whole=False)
    beta2: float = share(0.999, whole=False)
    total_steps: int = at_least(2000, 1)


@dataclass
class Augmentation(Section):
    """The negatives: made of the true photograph, and judged beside the edges it really has."""

    apply_nda: bool = True
    nda_policy: str = "jigsaw"

    def check(self) -> None:
        """Refuse a policy that cannot be read, and one that needs more than images."""
        try:
            check_negative(nda.from_policy(self.nda_policy))
        except ValueError as error:
            raise ConfigError(f"AUG.nda_policy: {error}") from error


@dataclass
class Run(StepRun):
    """Where and how."""

    save_dir: str = "runs/translation/edges"
    precision: str = one_of("32-true", ("32-true", "bf16-mixed"))
    print_freq: int = at_least(50, 1)  # steps between two logged rows


@dataclass
class Config(Settings):
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


load = Config.load
