"""What is compared. Settings were fixed on plain runs, before any other arm was run; arms are not tuned."""

from dataclasses import dataclass
from typing import Literal

from nda_augment.losses import FAKE_WEIGHT, GANKind


@dataclass(frozen=True)
class Setting:
    """Data and budget, the same for all arms.

    Attributes:
        data: ``"mnist"`` or ``"cifar10"``, at 16 pixels.
        images: How many of the training images a run sees; each seed has its own subset.
        loss: The adversarial loss.
        d_steps: Discriminator's steps per generator's step.
        rate: Adam's learning rate of both networks.
        batch: Images per batch.
        steps: Generator's steps.
        every: Generator's steps between two measurements.
    """

    data: str
    images: int
    loss: GANKind = "softplus"
    d_steps: int = 1
    rate: float = 1e-3
    batch: int = 16
    steps: int = 2000
    every: int = 200


@dataclass(frozen=True)
class Arm:
    """What the discriminator is told beside real and generated images.

    Attributes:
        policy: The negatives; ``None`` is the plain GAN.
        fake_weight: λ.
        start: Share of the steps after which negatives come in.
        stop: Share of the steps after which they go, and λ with them, to 1.
        prior: Whether the generator's loss undoes λ's shift of the logits.
        adaptive: Whether λ follows the gap between the logits of real images and of negatives.
        learned: How the weights of the policy's members are learned: ``"hardness"`` lets them follow it, ``"target"``
            keeps each at a gap of 2, as ``AdaptiveWeight`` does λ; ``None`` for equal ones.
        diffaugment: Positive augmentations of all that the discriminator sees.
        history: Share of the negatives' weight 1 - λ that images of the generator's own past have.
        candidates: Of so many such images the one that the discriminator thinks worst of is taken.
        blend: Share of a negative in the generated images that are blended with one, each with probability 1 - λ: then
            negatives have no term of their own. 0 is no blending.
    """

    policy: str | None = None
    fake_weight: float = FAKE_WEIGHT
    start: float = 0.0
    stop: float = 1.0
    prior: bool = False
    adaptive: bool = False
    learned: Literal["hardness", "target"] | None = None
    diffaugment: str | None = None
    history: float = 0.0
    candidates: int = 1
    blend: float = 0.0


SETTINGS = {
    # A discriminator that learns its few images by heart: the plain GAN gets better, then worse.
    "few": Setting("cifar10", images=100, d_steps=2, rate=2e-3, steps=2400, every=300),
    "many": Setting("mnist", images=8000),
}

MIXTURE = "jigsaw,stitch,cutout,cutmix,mixup"  # the paper's five
_SOFT = "jigsaw(offset=random,feather=0.5)"
_DIFFAUGMENT = "color,translation,cutout"

ARMS = {
    "plain": Arm(),
    "jigsaw": Arm("jigsaw"),
    "jigsaw-soft": Arm(_SOFT),
    "rotate90": Arm("rotate90"),
    "stitch": Arm("stitch"),
    "mixture": Arm(MIXTURE),
    "mixture-learned": Arm(MIXTURE, learned="hardness"),
    "mixture-target": Arm(MIXTURE, learned="target"),
    "jigsaw-0.25": Arm("jigsaw", 0.25),
    "jigsaw-0.9": Arm("jigsaw", 0.9),
    "jigsaw-early": Arm("jigsaw", stop=0.25),
    "jigsaw-late": Arm("jigsaw", start=0.5),
    "jigsaw-prior": Arm("jigsaw", prior=True),
    "jigsaw-adaptive": Arm("jigsaw", adaptive=True),
    "diffaugment": Arm(diffaugment=_DIFFAUGMENT),
    "diffaugment-jigsaw": Arm("jigsaw", diffaugment=_DIFFAUGMENT),
    "history": Arm(history=1.0),
    "history-late": Arm(history=1.0, start=0.5),
    "history-worst": Arm(history=1.0, candidates=10),
    "jigsaw-history": Arm("jigsaw", history=0.5),
    "blend": Arm("jigsaw", 0.5, blend=0.2),
    # For how hard a negative is and what it does: these and those above with λ = 3/4.
    **{name: Arm(name) for name in ("cutmix", "cutout", "mixup", "flip", "roll", "cutpaste", "perlinblend")},
    "patchshuffle": Arm("patchshuffle(grid=4x4)"),
    "cutmix-soft": Arm("cutmix(feather=1.0)"),
}
