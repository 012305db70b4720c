"""What can be set, section by section, with its defaults; YAML files and ``SECTION.key=value`` words change them."""

from dataclasses import dataclass, field
from pathlib import Path

import nda_augment as nda
from examples.common.data import Data
from examples.common.sections import FabricRun
from examples.common.settings import ConfigError, Section, Settings, at_least, one_of, positive, share
from nda_augment._negatives import check_negative

DIGITS = Path(__file__).parent / "configs" / "digits.yaml"


@dataclass
class Model(Section):
    """The denoiser, a UNet2DModel of diffusers."""

    widths: list[int] = field(default_factory=lambda: [16, 32])  # channels of each level; each halves the side
    layers_per_block: int = at_least(1, 1)
    attention: bool = False  # self-attention on the coarsest level
    norm_groups: int = at_least(8, 1)
    conditional: bool = False  # the denoiser is told the class as well as the kind
    ema_decay: float = share(0.99, whole=False)  # images come from an average of the weights
    ema_start: int = at_least(100, 0)  # until this step the average is the network itself


@dataclass
class Loss(Section):
    """What the denoiser learns."""

    process: str = one_of("edm", ("edm", "flow"))  # see processes.py
    sigma_data: float = positive(0.5)  # edm: standard deviation of the images
    sigma_mean: float = -1.2  # edm: mean and deviation of the logarithm of the noise levels in training
    sigma_std: float = positive(1.2)
    sigma_min: float = positive(0.01)  # edm: where sampling ends and begins
    sigma_max: float = positive(40.0)
    repulsion_weight: float = at_least(0.0, 0)  # of LD-Diffusion's term, which pushes the denoised image off a negative
    repulsion_offset: float = positive(100.0)

    def check(self) -> None:
        """Refuse noise that grows in sampling."""
        if self.sigma_min >= self.sigma_max:
            raise ConfigError(f"LOSS.sigma_min={self.sigma_min} must be below LOSS.sigma_max={self.sigma_max}")


@dataclass
class Optimization(Section):
    """Adam."""

    batch_size: int = at_least(64, 1)  # of all devices together
    lr: float = positive(2e-3)
    beta1: float = share(0.9, whole=False)
    beta2: float = share(0.999, whole=False)
    warmup_steps: int = at_least(50, 0)  # in which the learning rate rises to lr
    total_steps: int = at_least(1500, 1)


@dataclass
class Augmentation(Section):
    """Negatives."""

    apply_nda: bool = False  # the plain model
    nda_policy: str = "jigsaw"
    nda_share: float = share(0.15, zero=False, whole=False)  # of the batch that become negatives, under their kind
    nda_drop: float = share(0.1, whole=False)  # how often the denoiser is not told the kind


@dataclass
class Sampling(Section):
    """How images are made: sample grids, and what is asked for later where it does not say otherwise."""

    steps: int = at_least(12, 1)  # of Heun's method; all but the last cost two calls of the denoiser
    scale: float = at_least(0.0, 0)  # strength of the guidance; 0 is plain sampling
    away_from: str = one_of("negatives", ("negatives", "snapshot"))  # snapshot: autoguidance, see RUN.snapshot_step
    interval: list[float] = field(default_factory=list)  # lowest and highest noise level that are guided; empty for all

    def check(self) -> None:
        """Refuse an interval that is none."""
        if self.interval and (len(self.interval) != 2 or self.interval[0] >= self.interval[1]):
            raise ConfigError(f"SAMPLING.interval is [lowest, highest], lowest below highest, got {self.interval}")


@dataclass
class Run(FabricRun):
    """Where and how."""

    save_dir: str = "runs/diffusion/digits"
    snapshot_step: int = at_least(0, 0)  # keep the average as it is after this step, for autoguidance; 0 for none


@dataclass
class Config(Settings):
    """A training run."""

    DATA: Data = field(default_factory=Data)
    MODEL: Model = field(default_factory=Model)
    LOSS: Loss = field(default_factory=Loss)
    OPTIMIZATION: Optimization = field(default_factory=Optimization)
    AUG: Augmentation = field(default_factory=Augmentation)
    SAMPLING: Sampling = field(default_factory=Sampling)
    RUN: Run = field(default_factory=Run)

    def check(self) -> None:
        """Refuse what does not go together."""
        model, size = self.MODEL, self.DATA.img_size
        if not model.widths or any(width < 1 or width % model.norm_groups for width in model.widths):
            raise ConfigError(
                f"MODEL.widths must be multiples of MODEL.norm_groups={model.norm_groups}, got {model.widths}"
            )
        if size % 2 ** (len(model.widths) - 1):
            raise ConfigError(
                f"{len(model.widths)} MODEL.widths halve the side {len(model.widths) - 1} times, which "
                f"DATA.img_size={size} does not bear"
            )
        try:
            check_negative(nda.from_policy(self.AUG.nda_policy), labels=True)
        except ValueError as error:
            raise ConfigError(f"AUG.nda_policy: {error}") from error
        if self.LOSS.repulsion_weight and self.AUG.apply_nda:
            raise ConfigError("LOSS.repulsion_weight would push negatives off themselves; use it without AUG.apply_nda")
        self.RUN.check_batch(self.OPTIMIZATION.batch_size)
        sampling = self.SAMPLING
        if sampling.scale and sampling.away_from == "negatives" and not self.AUG.apply_nda:
            raise ConfigError(
                "SAMPLING.scale leads away from negatives; the denoiser learns them with AUG.apply_nda=true"
            )
        if sampling.scale and sampling.away_from == "snapshot" and not self.RUN.snapshot_step:
            raise ConfigError("SAMPLING.away_from=snapshot needs RUN.snapshot_step, the step after which one is kept")


load = Config.load
