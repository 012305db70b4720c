"""Sections of settings that several trainings have."""

from dataclasses import dataclass

from examples.common.settings import Section, at_least, one_of, positive, share


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
class Players(Section):
    """Adam for the two players of a GAN."""

    batch_size: int = at_least(64, 1)  # of all devices together
    g_lr: float = positive(2e-4)
    d_lr: float = positive(4e-4)
    beta1: float = share(0.0, whole=False)
    beta2: float = share(0.9, whole=False)
    total_steps: int = at_least(1500, 1)
