"""What can be set, section by section, with its defaults; YAML files and ``SECTION.key=value`` words change them.

Sections and keys are named as in PyTorch-StudioGAN where it has them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self, cast, get_args

import nda_augment as nda
from examples.common import data
from examples.common.negatives import mixture_of
from examples.common.sections import FabricRun, Players
from examples.common.settings import ConfigError, Section, Settings, at_least, one_of, positive, share
from examples.gan import studiogan_file
from examples.gan.positives import AdaptiveAugment, DiffAugment
from nda_augment._negatives import check_negative
from nda_augment.losses.kinds import FAKE, check_weights

HISTORY, WRONG_LABEL = "history", "wrong_label"  # kinds of negatives that no policy makes
DIGITS = Path(__file__).parent / "configs" / "digits.yaml"
LEVELS = {8: 1, 16: 2, 32: 3, 64: 4, 128: 5, 256: 6}  # by size: how often a generator doubles the side
_WEIGHTS = ("default", "ortho", "N02", "xavier")
_SCHEDULES = get_args(nda.schedules.Kind)
_RUMI = ("rumi_least_squares", "rumi_wasserstein", "rumi_softplus")


@dataclass
class Data(data.Data):
    """Which images."""

    img_size: int = one_of(16, LEVELS)
    holdout: float = share(0.5, whole=False)


@dataclass
class Model(Section):
    """The two players."""

    backbone: str = one_of("resnet", ("deep_conv", "resnet", "big_resnet"))  # DCGAN, SNGAN, BigGAN
    g_cond_mtd: str = one_of("W/O", ("W/O", "cBN"))  # cBN: the generator's batch norms are told the class
    d_cond_mtd: str = one_of("W/O", ("W/O", "AC", "PD", "2C", "D2DCE", "MH"))  # see conditioning.py
    apply_g_sn: bool = False  # spectral normalisation
    apply_d_sn: bool = True  # without it, deep_conv has batch norm and the residual networks have none
    apply_attn: bool = False  # self-attention after the blocks below, counted from 1; residual networks
    attn_g_loc: list[int] = field(default_factory=lambda: [2])
    attn_d_loc: list[int] = field(default_factory=lambda: [1])
    z_dim: int = at_least(64, 1)
    hierarchical_z: bool = False  # each level of the generator gets a piece of the latent
    g_shared_dim: int = at_least(0, 0)  # cBN: length of a class's embedding that all levels share; 0 is one each
    g_conv_dim: int = at_least(16, 1)  # channels are multiples of this; see common/networks
    d_conv_dim: int = at_least(16, 1)
    d_embed_dim: int = at_least(512, 1)  # 2C, D2DCE
    # Both players are told the features of an image, and the real ones are among its nearest neighbours: IC-GAN
    instance_cond: bool = False
    instance_encoder: str = ""  # folder of a run of examples.contrastive; without one see instances.py
    instance_neighbours: int = at_least(50, 1)  # how many, the image itself not counted
    g_instance_dim: int = at_least(64, 1)  # length of the embedding of the features that all levels share
    g_init: str = one_of("default", _WEIGHTS)  # ortho, N02, xavier, or default: torch's
    d_init: str = one_of("default", _WEIGHTS)
    apply_g_ema: bool = True  # samples come from an average of the generator's weights
    g_ema_decay: float = share(0.99, whole=False)
    g_ema_start: int = at_least(100, 0)  # until this step the average is the generator itself


@dataclass
class Loss(Section):
    """The losses. Penalties and consistency are those of real and generated images; negatives have no part in them."""

    adv_loss: str = one_of("softplus", (*get_args(nda.losses.GANKind), "MH", *_RUMI))  # see objective.py
    cond_lambda: float = positive(1.0)  # AC, 2C, D2DCE: weight of the class loss
    mh_lambda: float = positive(1.0)  # MH: weight of the generator's loss
    temperature: float = positive(1.0)  # 2C, D2DCE
    m_p: float = share(0.98)  # D2DCE: margin
    apply_r1_reg: bool = False
    r1_lambda: float = positive(10.0)
    apply_gp: bool = False
    gp_lambda: float = positive(10.0)
    apply_cr: bool = False  # real images and AUG.cr_aug_type of them are to be judged alike
    cr_lambda: float = positive(10.0)
    apply_augself: bool = False  # the discriminator also says how its images were augmented: AugSelf-GAN
    augself_lambda: float = positive(1.0)
    apply_lecam: bool = False  # logits stay near running means of the other kind's
    lecam_lambda: float = positive(0.3)
    lecam_ema_decay: float = share(0.99, whole=False)
    lecam_ema_start_iter: int = at_least(1000, 0)  # until this step means are taken and nothing is asked
    nda_fake_weight: float = share(nda.losses.FAKE_WEIGHT, zero=False)  # λ: of generated images; negatives have 1 - λ
    # With probability 1 - λ a generated image gives way to a negative (replace), or has some of one in it (blend, ANDA)
    nda_mode: str = one_of("separate", ("separate", "replace", "blend"))
    nda_blend: float = share(0.2, zero=False)  # how much of a negative a blended image has
    nda_blend_ada: bool = False  # an image is blended with probability 1 - p of ADA, not 1 - λ
    # Several kinds, in the place of λ: fake, history, wrong_label and policies to their weights, which sum to 1
    nda_weights: dict[str, float] = field(default_factory=dict)
    nda_start_step: float = at_least(0, 0)  # until this step, or share of all if below 1, there are no negatives
    nda_schedule: str = one_of("constant", _SCHEDULES)  # how λ goes from nda_schedule_start to nda_fake_weight
    nda_schedule_start: float = share(1.0, zero=False)
    nda_schedule_delay: int = at_least(0, 0)  # until this step λ is nda_schedule_start
    nda_schedule_steps: int = at_least(0, 0)  # length of the passage
    nda_adaptive: bool = False  # let the real-negative logit gap move λ, from nda_fake_weight on
    nda_target_gap: float = 2.0  # the gap to hold
    nda_adaptive_rate: float = 1e-4  # how far λ moves per discriminator step
    nda_adaptive_interval: int = at_least(4, 1)  # discriminator steps between two moves
    nda_adaptive_lowest: float = 0.1
    nda_adaptive_highest: float = 0.95
    rumi_positive_weight: float = 2.5
    rumi_negative_weight: float = 0.5

    @property
    def scheduled(self) -> bool:
        """Whether the step of the run says what λ is."""
        return bool(self.nda_start_step or self.nda_schedule_delay) or self.nda_schedule != "constant"


@dataclass
class Optimization(Players):
    """Adam for both players."""

    acml_steps: int = at_least(1, 1)  # batches whose gradients make one update
    lr_decay_start: int = at_least(0, 0)  # from this step on both learning rates fall, in a line
    lr_decay_steps: int = at_least(0, 0)  # to zero in so many; 0 leaves them as they are
    d_updates_per_step: int = at_least(1, 1)


@dataclass
class Augmentation(Section):
    """Negatives; and the usual augmentations, which the discriminator's images go through after them."""

    apply_nda: bool = False  # the plain GAN: see docs/results/gan.md
    nda_policy: str = "jigsaw"  # also without apply_nda it says which negatives the logged gap is measured on
    nda_learned: bool = False  # let the policy's weights follow the logits of its negatives
    nda_source: str = one_of("transform", ("transform", "images"))  # images: the undesired ones at nda_path
    nda_path: str = ""  # a folder or an .npz
    nda_history_every: int = at_least(200, 1)  # history: the generator's steps from one snapshot to the next
    nda_history_capacity: int = at_least(10, 1)  # how many are kept
    nda_history_candidates: int = at_least(1, 1)  # of so many images the one with the worst score
    # What scores: the discriminator, or a density of real images' features, those of MODEL.instance_encoder
    nda_history_score: str = one_of("discriminator", ("discriminator", "density"))
    nda_strength_schedule: str = one_of("W/O", ("W/O", *_SCHEDULES))  # how strength goes from _start to _end
    nda_strength_start: float = share(0.0)
    nda_strength_end: float = share(1.0)
    nda_strength_delay: int = at_least(0, 0)
    nda_strength_steps: int = at_least(0, 0)
    apply_diffaug: bool = False
    diffaug_type: str = "color,translation,cutout"
    apply_ada: bool = False
    ada_aug_type: str = "color,translation,cutout"
    ada_initial_augment_p: float = share(0.0)
    ada_target: float = 0.6
    ada_kimg: float = positive(500.0)  # thousand images in which the probability may go from 0 to 1
    ada_interval: int = at_least(4, 1)
    cr_aug_type: str = "translation"


@dataclass
class Run(FabricRun):
    """Where and how."""

    save_dir: str = "runs/gan/digits"
    init_from: str = ""  # folder of an earlier run whose players this one, a new run, begins with
    synchronized_bn: bool = False  # batch statistics of all devices together; needs GPUs
    channels_last: bool = True  # convolutions run faster with it, on CPUs as well


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
    def conditional(self) -> bool:
        """Whether the networks are told classes."""
        return self.MODEL.d_cond_mtd != "W/O"

    @property
    def start_step(self) -> int:
        """The first step with negatives."""
        start = self.LOSS.nda_start_step
        return round(start * self.OPTIMIZATION.total_steps if start < 1 else start)

    @property
    def scored_by_density(self) -> bool:
        """Whether images of the history are chosen by a density."""
        return HISTORY in self.LOSS.nda_weights and self.AUG.nda_history_score == "density"

    @property
    def rumi(self) -> bool:
        """Whether the objective is Rumi-GAN's, which weighs negatives in its own way."""
        return self.LOSS.adv_loss.startswith("rumi_")

    @property
    def fake_weight(self) -> float:
        """λ as the loss sees it in the end: without negatives it is 1, the plain GAN."""
        return self.LOSS.nda_weights.get(FAKE, self.LOSS.nda_fake_weight) if self.AUG.apply_nda else 1.0

    @classmethod
    def load(cls, path: Path | None = None, overrides: Sequence[str] = ()) -> Self:
        """Read a config, as :meth:`Settings.load` does, and refuse words that change nothing."""
        config = super().load(path, overrides)
        _check_used(config, overrides)
        return config

    @classmethod
    def understood(cls, said: dict[str, Any], known: Mapping[str, Any]) -> dict[str, Any]:
        """Read the words of StudioGAN's files."""
        return studiogan_file.read(said, known)

    def check(self) -> None:
        """Refuse what does not go together."""
        _check_model(self)
        _check_losses(self)
        _check_augmentation(self)
        self.RUN.check_batch(self.OPTIMIZATION.batch_size)


load = Config.load


def _check_used(config: Config, overrides: Sequence[str]) -> None:
    named = [word.partition("=")[0].strip() for word in overrides]
    of_instances = [name for name in named if name in ("MODEL.instance_neighbours", "MODEL.g_instance_dim")]
    if of_instances and not config.MODEL.instance_cond and "MODEL.instance_cond" not in named:
        raise ConfigError(f"{of_instances[0]} changes nothing without MODEL.instance_cond=true")
    idle = [name for name in named if name.startswith(("AUG.nda_", "LOSS.nda_"))]
    if idle and not config.AUG.apply_nda and "AUG.apply_nda" not in named:
        raise ConfigError(
            f"{idle[0]} changes nothing in a GAN without negatives; add AUG.apply_nda=true for negatives, or "
            "AUG.apply_nda=false if none are wanted"
        )


def _check_model(config: Config) -> None:
    model = config.MODEL
    if (model.g_cond_mtd == "W/O") != (model.d_cond_mtd == "W/O"):
        raise ConfigError(
            f"MODEL.g_cond_mtd={model.g_cond_mtd} and MODEL.d_cond_mtd={model.d_cond_mtd}: either both players are "
            "told classes or neither; the generator's word is cBN"
        )
    if model.instance_cond:
        _check_instances(config)
    elif model.instance_encoder and not config.scored_by_density:
        raise ConfigError(
            "MODEL.instance_encoder describes images, for MODEL.instance_cond=true or AUG.nda_history_score=density"
        )
    if (model.d_cond_mtd == "MH") != (config.LOSS.adv_loss == "MH"):
        raise ConfigError(
            f"MODEL.d_cond_mtd={model.d_cond_mtd} and LOSS.adv_loss={config.LOSS.adv_loss}: the multi-hinge loss is "
            "both at once, set both to MH"
        )
    if model.g_shared_dim and not config.conditional:
        raise ConfigError("MODEL.g_shared_dim is the length of an embedding of classes; it needs MODEL.g_cond_mtd=cBN")
    if model.hierarchical_z and config.conditional and not model.g_shared_dim:
        raise ConfigError("MODEL.hierarchical_z with classes needs MODEL.g_shared_dim, an embedding to join the pieces")
    levels = LEVELS[config.DATA.img_size]
    if model.hierarchical_z and model.z_dim % (levels + 1):
        below = max(model.z_dim // (levels + 1), 1) * (levels + 1)
        raise ConfigError(
            f"MODEL.hierarchical_z cuts the latent into {levels + 1} pieces at {config.DATA.img_size} pixels; "
            f"MODEL.z_dim={model.z_dim} cannot be divided, {below} or {below + levels + 1} can"
        )
    if model.apply_attn and model.backbone == "deep_conv":
        raise ConfigError("MODEL.apply_attn works with the residual backbones, not with deep_conv")
    for key in ("attn_g_loc", "attn_d_loc"):
        places = getattr(model, key)
        if model.apply_attn and not all(1 <= place <= levels for place in places):
            size = config.DATA.img_size
            raise ConfigError(f"MODEL.{key} counts blocks, from 1 to {levels} at {size} pixels, got {places}")
    if model.backbone == "deep_conv" and not model.apply_d_sn:
        for key in ("apply_gp", "apply_r1_reg"):
            if getattr(config.LOSS, key):
                raise ConfigError(
                    f"LOSS.{key} penalises gradients image by image, which batch norm mixes; set MODEL.apply_d_sn=true"
                )


def _check_instances(config: Config) -> None:
    if config.MODEL.d_cond_mtd == "MH":
        raise ConfigError("MODEL.instance_cond adds to one logit per image; MODEL.d_cond_mtd=MH has one per class")
    if config.conditional and not config.MODEL.g_shared_dim:
        raise ConfigError("MODEL.instance_cond with classes needs MODEL.g_shared_dim, an embedding to join features to")
    if HISTORY in config.LOSS.nda_weights:
        raise ConfigError(
            f"LOSS.nda_weights: {HISTORY} makes images of no instance; MODEL.instance_cond has no use for it"
        )


def _check_losses(config: Config) -> None:
    loss, augmentation = config.LOSS, config.AUG
    if loss.nda_start_step > 1 and loss.nda_start_step % 1:
        raise ConfigError(f"LOSS.nda_start_step is a whole step, or a share below 1, got {loss.nda_start_step}")
    if augmentation.nda_history_score == "density" and augmentation.nda_history_candidates == 1:
        raise ConfigError("AUG.nda_history_score=density chooses between AUG.nda_history_candidates; there is only 1")
    if loss.nda_schedule != "constant" and not loss.nda_schedule_steps:
        raise ConfigError(f"LOSS.nda_schedule={loss.nda_schedule} needs LOSS.nda_schedule_steps")
    if loss.nda_adaptive and (loss.nda_schedule_delay or loss.nda_schedule != "constant"):
        raise ConfigError("LOSS.nda_adaptive and LOSS.nda_schedule both say what λ is; use one of them")
    if loss.nda_adaptive:
        try:
            adaptive_weight(loss)
        except ValueError as error:
            raise ConfigError(f"LOSS.nda_adaptive: {error}") from error
    if config.rumi:
        _check_rumi(config)
    if config.RUN.precision == "16-mixed" and (loss.apply_gp or loss.apply_r1_reg):
        raise ConfigError(
            "LOSS.apply_gp and LOSS.apply_r1_reg need gradients that are too small for 16-mixed; use RUN.precision="
            "bf16-mixed or 32-true"
        )
    if loss.apply_augself and not augmentation.apply_diffaug:
        raise ConfigError("LOSS.apply_augself is about how every image was augmented; it needs AUG.apply_diffaug=true")
    for key in ("apply_augself", "apply_lecam"):
        if getattr(loss, key) and loss.nda_mode != "separate":
            raise ConfigError(
                f"LOSS.{key} looks at generated images; LOSS.nda_mode={loss.nda_mode} puts negatives there"
            )
    if loss.nda_blend_ada and (loss.nda_mode != "blend" or not augmentation.apply_ada):
        raise ConfigError(
            "LOSS.nda_blend_ada takes its probability from ADA; it needs LOSS.nda_mode=blend and AUG.apply_ada=true"
        )
    if loss.nda_weights:
        _check_kinds(config)


def _check_kinds(config: Config) -> None:
    loss, augmentation = config.LOSS, config.AUG
    other = {
        "LOSS.nda_fake_weight": loss.nda_fake_weight != nda.losses.FAKE_WEIGHT,
        "LOSS.nda_mode": loss.nda_mode != "separate",
        "LOSS.nda_adaptive": loss.nda_adaptive,
        "LOSS.nda_schedule": bool(loss.nda_schedule_delay) or loss.nda_schedule != "constant",
        "LOSS.adv_loss": config.rumi,
        "AUG.nda_learned": augmentation.nda_learned,
        "AUG.nda_source": augmentation.nda_source != "transform",
        "AUG.nda_strength_schedule": augmentation.nda_strength_schedule != "W/O",
    }
    for key, used in other.items():
        if used:
            raise ConfigError(f"{key} is for negatives of one kind; LOSS.nda_weights has several, with fixed weights")
    kinds = [kind for kind in loss.nda_weights if kind != FAKE]
    try:
        check_weights(loss.nda_weights, kinds, "LOSS.nda_weights")
        for kind in kinds:
            if kind not in (HISTORY, WRONG_LABEL):
                check_negative(nda.from_policy(kind), labels=True)
    except ValueError as error:
        raise ConfigError(f"LOSS.nda_weights: {error}; a kind is {HISTORY}, {WRONG_LABEL} or a policy") from error
    if WRONG_LABEL in kinds and config.MODEL.d_cond_mtd not in ("PD", "MH"):
        raise ConfigError(
            f"LOSS.nda_weights: {WRONG_LABEL} is a real image with another class; it needs logits that depend on the "
            "class, MODEL.g_cond_mtd=cBN and MODEL.d_cond_mtd=PD or MH"
        )


def _check_rumi(config: Config) -> None:
    loss = config.LOSS
    if not config.AUG.apply_nda:
        raise ConfigError(f"LOSS.adv_loss={loss.adv_loss} is made of negatives; it needs AUG.apply_nda=true")
    if loss.nda_mode != "separate" or loss.nda_adaptive or loss.scheduled:
        raise ConfigError(
            f"LOSS.adv_loss={loss.adv_loss} weighs negatives with LOSS.rumi_negative_weight, not with λ: it has no "
            "nda_mode, nda_start_step, nda_schedule or nda_adaptive"
        )
    try:
        kind = cast(nda.losses.RumiKind, loss.adv_loss.removeprefix("rumi_"))
        nda.losses.RumiDiscriminatorLoss(kind, loss.rumi_positive_weight, loss.rumi_negative_weight)
    except ValueError as error:
        raise ConfigError(f"LOSS.rumi_positive_weight, LOSS.rumi_negative_weight: {error}") from error


def _check_augmentation(config: Config) -> None:
    augmentation = config.AUG
    try:
        policy = mixture_of(augmentation.nda_policy, augmentation.nda_learned)
        check_negative(policy, labels=True)
        if augmentation.nda_strength_schedule != "W/O":
            strength_schedule(augmentation).apply(policy, 0)
    except ValueError as error:
        raise ConfigError(f"AUG.nda_policy or AUG.nda_strength: {error}") from error
    try:
        for key in ("diffaug_type", "cr_aug_type"):
            DiffAugment(getattr(augmentation, key))
        adaptive_augment(augmentation)
    except ValueError as error:
        raise ConfigError(f"AUG.diffaug_type, AUG.cr_aug_type or AUG.ada_*: {error}") from error
    if augmentation.nda_learned and (config.LOSS.nda_mode == "replace" or augmentation.nda_source == "images"):
        raise ConfigError(
            "AUG.nda_learned listens to the negatives of a policy, judged by themselves; it needs "
            "AUG.nda_source=transform and LOSS.nda_mode=separate"
        )
    if (augmentation.nda_source == "images") != bool(augmentation.nda_path):
        raise ConfigError("AUG.nda_source=images needs AUG.nda_path, the undesired images; nothing else uses it")
    if augmentation.apply_diffaug and augmentation.apply_ada:
        raise ConfigError("AUG.apply_diffaug and AUG.apply_ada augment the same images; use one of them")


def adaptive_augment(augmentation: Augmentation) -> AdaptiveAugment:
    """The positives of ``AUG.apply_ada``."""
    settings = augmentation.ada_target, augmentation.ada_interval, round(1000 * augmentation.ada_kimg)
    positives = AdaptiveAugment(augmentation.ada_aug_type, *settings)
    positives.p = augmentation.ada_initial_augment_p
    return positives


def strength_schedule(augmentation: Augmentation) -> nda.Schedule:
    """The strength of the negatives over the run, where ``AUG.nda_strength_schedule`` is not ``W/O``."""
    return nda.Schedule(
        cast(nda.schedules.Kind, augmentation.nda_strength_schedule),
        augmentation.nda_strength_start,
        augmentation.nda_strength_end,
        augmentation.nda_strength_steps,
        augmentation.nda_strength_delay,
    )


def adaptive_weight(loss: Loss) -> nda.AdaptiveWeight:
    """λ that follows the logit gap, where ``LOSS.nda_adaptive`` says so."""
    return nda.AdaptiveWeight(
        loss.nda_fake_weight,
        loss.nda_target_gap,
        loss.nda_adaptive_rate,
        loss.nda_adaptive_interval,
        loss.nda_adaptive_lowest,
        loss.nda_adaptive_highest,
    )


def weight_schedule(loss: Loss) -> nda.Schedule:
    """λ over the run, where ``LOSS.nda_adaptive`` does not say it."""
    kind = cast(nda.schedules.Kind, loss.nda_schedule)
    start, end = loss.nda_schedule_start, loss.nda_fake_weight
    return nda.Schedule(kind, start, end, loss.nda_schedule_steps, loss.nda_schedule_delay)
