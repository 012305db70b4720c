"""What can be set, section by section, with its defaults; YAML files and ``SECTION.key=value`` words change them."""

from dataclasses import dataclass, field
from pathlib import Path

from examples.common import sections
from examples.common.settings import ConfigError, Section, at_least, one_of, positive, share
from examples.contrastive.config import Backbone

SCENES = Path(__file__).parent / "configs" / "scenes.yaml"


@dataclass
class Data(Section):
    """Which images, with boxes."""

    name: str = one_of("scenes", ("scenes", "voc", "coco"))  # scenes are composed of digits and photographs
    path: str = ""  # voc: where VOCdevkit lies or is downloaded to; coco: the folder of the training images
    boxes: str = ""  # coco: the JSON file of the training images
    test_path: str = ""  # coco: the folder of the test images
    test_boxes: str = ""  # coco: the JSON file of the test images
    img_size: int = at_least(96, 32)  # shorter side of an image in pixels; scenes are squares
    max_size: int = at_least(160, 32)  # longer side at most
    train_sizes: list[int] = field(default_factory=list)  # further shorter sides, one of which is drawn in training
    scenes: int = at_least(512, 1)  # how many to compose to learn from
    test_scenes: int = at_least(256, 1)
    # Images without a box: refused, left out, or learned from as images that show nothing.
    without_boxes: str = one_of("refuse", ("refuse", "skip", "keep"))

    def check(self) -> None:
        """Refuse paths where there are none to read, and none where there are."""
        given = [key for key in ("path", "boxes", "test_path", "test_boxes") if getattr(self, key)]
        needed = {"scenes": [], "voc": ["path"], "coco": ["path", "boxes", "test_path", "test_boxes"]}[self.name]
        if given != needed:
            wanted = ", ".join(f"DATA.{key}" for key in needed) or "no path: scenes are composed, not read"
            raise ConfigError(f"DATA.name={self.name} needs {wanted}; got {', '.join(given) or 'none'}")
        if self.max_size < self.img_size:
            raise ConfigError(f"DATA.max_size={self.max_size} is below DATA.img_size={self.img_size}")


@dataclass
class Model(Backbone):
    """A Faster R-CNN on a ResNet, whose settings are those of examples.contrastive."""

    stem: str = one_of("large", ("small", "large"))
    form: str = one_of("fpn", ("fpn", "c4"))  # a feature pyramid; or the third stage alone, with the fourth as head
    frozen: int = at_least(0, 0)  # how many parts stay as they are, batch norm included: 1 the stem, 2 the first stage
    # Whether convolutions of MODEL.weights get the norms that random ones have, and with them the pace of those: the
    # longer weights in front of batch norm are, the less a step turns them, and learning without labels made them long.
    rescale: bool = False
    pixels: str = one_of("plain", ("plain", "imagenet"))  # how pixels are normalised: as here, or as at torchvision
    anchor: int = at_least(16, 1)  # side of the smallest anchor in pixels; each further size is twice the last
    proposals: int = at_least(100, 1)  # how many boxes the head looks at
    regions: int = at_least(64, 1)  # how many of them an image contributes to the loss
    channels: int = at_least(64, 1)  # fpn: of the pyramid
    head: int = at_least(128, 1)  # fpn: features of the two layers of the head

    def check(self) -> None:
        """Refuse what leaves nothing to learn."""
        super().check()
        if self.frozen > 5:
            raise ConfigError(f"MODEL.frozen={self.frozen}: a ResNet has 5 parts, a stem and four stages")


@dataclass
class Optimization(sections.Optimization):
    """SGD or Adam; the learning rate rises over the first epochs, and falls to a tenth at some."""

    batch_size: int = at_least(8, 1)
    lr: float = positive(0.02)
    epochs: int = at_least(8, 1)
    warmup_epochs: int = at_least(1, 0)
    decay_at: list[float] = field(default_factory=lambda: [0.75, 0.92])  # after these shares of the epochs


@dataclass
class Augmentation(Section):
    """What training images go through."""

    flip: float = share(0.0)  # probability of a mirror image; a mirrored digit is none


@dataclass
class Evaluation(Section):
    """COCO's average precision."""

    batch_size: int = at_least(32, 1)


@dataclass
class Config(sections.EpochSettings):
    """A training run."""

    DATA: Data = field(default_factory=Data)
    MODEL: Model = field(default_factory=Model)
    OPTIMIZATION: Optimization = field(default_factory=Optimization)
    AUG: Augmentation = field(default_factory=Augmentation)
    EVAL: Evaluation = field(default_factory=Evaluation)
    RUN: sections.EpochRun = field(default_factory=sections.EpochRun)

    def check(self) -> None:
        """Refuse shares of the training that are none."""
        super().check()
        if sorted(self.OPTIMIZATION.decay_at) != self.OPTIMIZATION.decay_at or not all(
            0 < at <= 1 for at in self.OPTIMIZATION.decay_at
        ):
            raise ConfigError(
                f"OPTIMIZATION.decay_at must be rising shares of the training in (0, 1], got "
                f"{self.OPTIMIZATION.decay_at}"
            )


load = Config.load
