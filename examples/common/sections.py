"""Sections of settings that several trainings have."""

from dataclasses import dataclass, field

from examples.common.settings import ConfigError, Section, Settings, at_least, one_of, positive, share


@dataclass
class Run(Section):
    """Where and how."""

    save_dir: str = "runs"
    seed: int = 0
    accelerator: str = "auto"
    threads: int = at_least(0, 0)  # of the CPU; 0 leaves the choice to torch


@dataclass
class StepRun(Run):
    """Where and how, of a training that is counted in steps."""

    precision: str = one_of("32-true", ("32-true", "bf16-mixed", "16-mixed"))
    print_freq: int = at_least(20, 1)  # steps between two logged rows
    sample_freq: int = at_least(500, 1)  # steps between two sample grids
    save_freq: int = at_least(500, 1)  # steps between two checkpoints


@dataclass
class FabricRun(StepRun):
    """Where and how, of a training on any number of devices: see :mod:`examples.common.training`."""

    devices: int = at_least(1, 1)
    nan_patience: int = at_least(0, 0)  # 16-mixed: steps in a row whose loss is no number, which the scaler leaves out

    def check(self) -> None:
        """Refuse patience where a loss that is no number spoils the weights."""
        if self.nan_patience and self.precision != "16-mixed":
            raise ConfigError("RUN.nan_patience is for RUN.precision=16-mixed; else such a loss spoils the weights")

    def check_batch(self, batch_size: int) -> None:
        """Refuse a batch that cannot be shared between the devices."""
        if batch_size % self.devices:
            raise ConfigError(f"OPTIMIZATION.batch_size={batch_size} cannot be divided by RUN.devices={self.devices}")


@dataclass
class EpochRun(Run):
    """Where and how, of a training by a Lightning Trainer, which is counted in epochs."""

    devices: int = at_least(1, 1)
    precision: str = one_of("32-true", ("32-true", "bf16-mixed", "16-mixed"))
    print_freq: int = at_least(10, 1)  # steps between two logged losses
    progress: bool = True


@dataclass
class Optimization(Section):
    """SGD or Adam, with a cosine schedule."""

    optimizer: str = one_of("sgd", ("sgd", "adam"))
    batch_size: int = at_least(128, 2)  # of all devices together
    lr: float = positive(0.1)
    momentum: float = share(0.9)  # sgd
    weight_decay: float = at_least(5e-4, 0)
    epochs: int = at_least(30, 1)
    warmup_epochs: int = at_least(0, 0)


@dataclass
class EpochSettings(Settings):
    """What every training that is counted in epochs has."""

    OPTIMIZATION: Optimization = field(default_factory=Optimization)
    RUN: EpochRun = field(default_factory=EpochRun)

    def check(self) -> None:
        """Refuse a batch that cannot be divided."""
        self.check_batch({"RUN.devices": self.RUN.devices})

    def check_batch(self, divisors: dict[str, int]) -> None:
        """Refuse a batch that cannot be divided by numbers, given by the keys that they come from."""
        batch = self.OPTIMIZATION.batch_size
        for key, divisor in divisors.items():
            if batch % divisor:
                raise ConfigError(f"OPTIMIZATION.batch_size={batch} cannot be divided by {key}={divisor}")


@dataclass
class Players(Section):
    """Adam for the two players of a GAN."""

    batch_size: int = at_least(64, 1)  # of all devices together
    g_lr: float = positive(2e-4)
    d_lr: float = positive(4e-4)
    beta1: float = share(0.0, whole=False)
    beta2: float = share(0.9, whole=False)
    total_steps: int = at_least(1500, 1)
