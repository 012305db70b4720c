"""Sections of settings that several trainings have."""

from dataclasses import dataclass

from examples.common.settings import ConfigError, Section, at_least, one_of, positive, share


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
class Players(Section):
    """Adam for the two players of a GAN."""

    batch_size: int = at_least(64, 1)  # of all devices together
    g_lr: float = positive(2e-4)
    d_lr: float = positive(4e-4)
    beta1: float = share(0.0, whole=False)
    beta2: float = share(0.9, whole=False)
    total_steps: int = at_least(1500, 1)
