"""What can be set, section by section, with its defaults; YAML files and ``SECTION.key=value`` words change them.

What does not depend on images is in ``examples/common/contrastive/sections.py``.
"""

from dataclasses import dataclass, field
from pathlib import Path

from examples.common import data
from examples.common.contrastive import sections
from examples.common.sections import EpochRun
from examples.common.settings import ConfigError, Section, at_least, nearest, one_of, positive, share

RESNETS = ("resnet-9", "resnet-18", "resnet-34", "resnet-50")
DIGITS = Path(__file__).parent / "configs" / "digits.yaml"


@dataclass
class Data(data.Data):
    """Which images, and what the views are crops of."""

    # Crops are taken of the images as they are stored, which are held in memory too; false: of those of img_size
    originals: bool = True


@dataclass
class Backbone(Section):
    """A ResNet, or another network."""

    # One of Lightly's RESNETS; torchvision:NAME, timm:NAME, or PACKAGE.MODULE:FUNCTION that makes a network of yours.
    backbone: str = "resnet-9"
    # Where the backbone begins: a file of examples.contrastive.export, or of torch.save(network.state_dict(), FILE)
    weights: str = ""
    # small: 3x3 without max-pool; large: 7x7, stride 2 and max-pool, for images from 128 pixels on
    stem: str = one_of("small", ("small", "large"))
    width: float = positive(0.25)  # 1 is the usual 64 channels in the first stage
    bn_splits: int = at_least(0, 0)  # statistics of batch norm from as many parts of a batch as on devices; 0 is off

    def check(self) -> None:
        """Refuse an unknown ResNet, and what is of Lightly's ResNets only beside another network."""
        if ":" not in self.backbone:
            if self.backbone not in RESNETS:
                near = nearest(self.backbone, RESNETS)
                raise ConfigError(
                    f"MODEL.backbone must be one of {', '.join(RESNETS)}, or name where it comes from, such as "
                    f"torchvision:resnet18, got {self.backbone!r}; did you mean {near!r}?"
                )
        elif any(getattr(self, key) != getattr(type(self), key) for key in ("stem", "width", "bn_splits")):
            raise ConfigError(f"MODEL.stem, width and bn_splits are of {', '.join(RESNETS)}, not of {self.backbone}")


@dataclass
class Model(Backbone, sections.Method):
    """The method and its encoder."""

    @property
    def parts(self) -> int:
        """Into how many parts batch norm divides each device's share of a batch."""
        return max(self.bn_splits, 1)


@dataclass
class Augmentation(sections.Views):
    """The views of an image, and the negatives."""

    blur: float = share(0.0)  # probability; MoCo-v2 has 0.5 on large images
    generator: str = ""  # folder of an IC-GAN's run
    generated: float = share(0.0)  # probability that the second view is of an image which that one makes: DA_IC-GAN

    def check(self) -> None:
        """Refuse a policy that cannot be read, and a generator that has nothing to do."""
        super().check()
        if bool(self.generator) != bool(self.generated):
            raise ConfigError("AUG.generator and AUG.generated go together: whose images, and how many")


@dataclass
class Run(EpochRun):
    """Where and how."""

    save_dir: str = "runs/contrastive/digits"


@dataclass
class Config(sections.Config):
    """A training run."""

    DATA: Data = field(default_factory=Data)
    MODEL: Model = field(default_factory=Model)
    AUG: Augmentation = field(default_factory=Augmentation)
    RUN: Run = field(default_factory=Run)


load = Config.load
