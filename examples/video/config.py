"""What can be set where clips differ from images; all else is in ``examples/common/contrastive/sections.py``."""

from dataclasses import dataclass, field
from pathlib import Path

import torch

import nda_augment as nda
from examples.common.contrastive import sections
from examples.common.sections import EpochRun
from examples.common.settings import ConfigError, Section, at_least, one_of, share

DIGITS = Path(__file__).parent / "configs" / "digits.yaml"


@dataclass
class Data(Section):
    """Which clips, all of them labelled; self-supervised methods use the labels for evaluation only."""

    name: str = one_of("digits", ("digits", "folder", "ucf101", "hmdb51"))  # digits move
    path: str = ""  # of files: where they are, one sub-folder for each label
    test_path: str = ""  # folder: where the test clips are; without it a part of the others is held out
    split_path: str = ""  # ucf101, hmdb51: the folder of the official split files
    split: int = one_of(1, (1, 2, 3))  # ucf101, hmdb51
    frames: int = at_least(8, 2)  # of a clip
    length: int = at_least(0, 0)  # frames kept of a video, of which a clip is a window; 0 for as many as a clip has
    stride: int = at_least(0, 0)  # files: distance of two frames kept; 0 spreads them over the video
    img_size: int = at_least(20, 8)  # side of a frame in pixels
    clips: int = at_least(4096, 2)  # digits: how many to make, those for testing included
    holdout: float = share(0.25, whole=False)  # share of the clips, and of their digits, that is held out for testing

    @property
    def held(self) -> int:
        """How many frames of a video are kept."""
        return self.length or self.frames

    def check(self) -> None:
        """Refuse paths where there are none to read, and none where there are."""
        given = [key for key in ("path", "test_path", "split_path") if getattr(self, key)]
        taken = {"digits": [], "folder": ["path", "test_path"]}.get(self.name, ["path", "split_path"])
        if self.name == "digits" and given:
            raise ConfigError(f"DATA.{given[0]} is not of DATA.name=digits; digits are drawn, not read")
        missing = [key for key in taken if key not in given and key != "test_path"]
        if missing:
            raise ConfigError(f"DATA.name={self.name} needs {' and '.join(f'DATA.{key}' for key in missing)}")
        foreign = [key for key in given if key not in taken]
        if foreign:
            raise ConfigError(f"DATA.{foreign[0]} is not of DATA.name={self.name}")
        if self.held < self.frames:
            raise ConfigError(f"DATA.length={self.length} is below DATA.frames={self.frames}; 0 is as many")
        if self.name == "digits" and self.stride:
            raise ConfigError("DATA.stride is of files; digits are drawn as long as they are asked for")


@dataclass
class Model(sections.Method):
    """The method and its encoder, a residual network of 3-D convolutions."""

    method: str = one_of("simclr", ("simclr", "moco", "byol", "dpc"))  # MoCo is version 2; dense predictive coding
    # Full 3-D kernels; in space, then in time; two stages in space alone, and then full kernels
    backbone: str = one_of("r3d", ("r3d", "r2plus1d", "r2d3d"))
    stem: str = one_of("small", ("small", "large"))  # 3x3; 7x7 and max-pool, for frames from about 100 pixels on
    width: int = at_least(16, 1)  # channels of the first stage; from the third on there are four times as many
    stages: int = at_least(3, 1)
    blocks: int = at_least(1, 1)  # residual ones in each stage
    block_frames: int = at_least(5, 1)  # dpc: length of what is encoded, and predicted, at a time
    predicted: int = at_least(3, 1)  # dpc: how many of the last ones


@dataclass
class Augmentation(sections.Views):
    """The views, one draw for all frames of a clip, and the negatives."""

    nda_policy: str = "frameshuffle"
    min_scale: float = share(0.5, zero=False)  # smallest share of the frame in a crop
    flip: float = share(0.0)  # probability of a mirror image; a motion to the left becomes one to the right
    jitter: float = at_least(0.0, 0)  # strength of colour changes; 1 is MoCo-v2's, 0 is none
    grayscale: float = share(0.0)  # probability


@dataclass
class Run(EpochRun):
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
        """Refuse also what clips of this shape cannot be cut into, and negatives that they cannot have."""
        super().check()
        check_clips(self.DATA, self.MODEL)
        clips = torch.zeros(2, self.DATA.frames, 3, self.DATA.img_size, self.DATA.img_size)
        try:
            nda.from_policy(self.AUG.nda_policy)(clips, generator=torch.Generator())
        except ValueError as error:
            raise ConfigError(f"AUG: {error}") from error


def check_clips(data: Data, model: Model) -> None:
    """Refuse clips that cannot be divided into the blocks of dense predictive coding.

    Raises:
        ConfigError: If they cannot.
    """
    if model.method != "dpc":
        return
    frames, least = model.block_frames, model.predicted + 1
    for key, length in (("frames", data.frames), ("length", data.held)):
        if length % frames:
            raise ConfigError(
                f"DATA.{key}={length} is not a multiple of MODEL.block_frames={frames}; "
                f"{length // frames * frames} and {(length // frames + 1) * frames} are"
            )
    if data.frames < least * frames:
        raise ConfigError(
            f"DATA.frames={data.frames} are {data.frames // frames} blocks of MODEL.block_frames={frames}: to predict "
            f"MODEL.predicted={model.predicted} of them from at least one, {least * frames} frames are needed"
        )


load = Config.load
