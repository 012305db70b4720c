"""What can be set where clips differ from images; all else is in ``examples/common/contrastive/sections.py``."""

from dataclasses import dataclass, field
from pathlib import Path

import torch

import nda_augment as nda
from examples.common.contrastive import sections
from examples.common.settings import ConfigError, Section, at_least, one_of, share

DIGITS = Path(__file__).parent / "configs" / "digits.yaml"


@dataclass
class Data(Section):
    """Which clips, all of them labelled; the labels are used for evaluation only."""

    name: str = one_of("digits", ("digits", "folder"))  # digits move
    path: str = ""  # folder: where the clips are, one sub-folder for each label
    test_path: str = ""  # folder: where the test clips are; without it a part of the others is held out
    frames: int = at_least(8, 2)  # of a clip; of a file, as many at even distances
    img_size: int = at_least(20, 8)  # side of a frame in pixels
    clips: int = at_least(4096, 2)  # digits: how many to make, those for testing included
    holdout: float = share(0.25, whole=False)  # share of the clips, and of their digits, that is held out for testing

    def check(self) -> None:
        """Refuse a path where there is none to read, and none where there is."""
        if self.name == "folder" and not self.path:
            raise ConfigError("DATA.name=folder needs DATA.path")
        if self.name == "digits" and (self.path or self.test_path):
            raise ConfigError("DATA.path and DATA.test_path are of DATA.name=folder; digits are drawn, not read")


@dataclass
class Model(sections.Method):
    """The method and its encoder, a residual network of 3-D convolutions in three stages."""

    method: str = one_of("simclr", ("simclr", "moco", "byol"))  # MoCo is version 2
    backbone: str = one_of("r3d", ("r3d", "r2plus1d"))  # full 3-D kernels; in space, then in time
    width: int = at_least(16, 1)  # channels of the first stage
    blocks: int = at_least(1, 1)  # in each stage


@dataclass
class Augmentation(sections.Views):
    """The views, one draw for all frames of a clip, and the negatives."""

    nda_policy: str = "frameshuffle"
    min_scale: float = share(0.5, zero=False)  # smallest share of the frame in a crop
    flip: float = share(0.0)  # probability of a mirror image; a motion to the left becomes one to the right
    jitter: float = at_least(0.0, 0)  # strength of colour changes; 1 is MoCo-v2's, 0 is none
    grayscale: float = share(0.0)  # probability


@dataclass
class Run(sections.Run):
    """Where and how."""

    save_dir: str = "runs/video/digits"


@dataclass
class Config(sections.Config):
    """A training run."""

    DATA: Data = field(default_factory=Data)
    MODEL: Model = field(default_factory=Model)
    AUG: Augmentation = field(default_factory=Augmentation)
    RUN: Run = field(default_factory=Run)

    def check(self) -> None:
        """Refuse also negatives that clips of this shape cannot have."""
        super().check()
        clips = torch.zeros(2, self.DATA.frames, 3, self.DATA.img_size, self.DATA.img_size)
        try:
            nda.from_policy(self.AUG.nda_policy)(clips, generator=torch.Generator())
        except ValueError as error:
            raise ConfigError(f"AUG: {error}") from error


load = Config.load
