"""The optimizer of trainings that are counted in epochs, and its schedule."""

from typing import Any

import torch
from lightly.utils.scheduler import CosineWarmupScheduler
from torch import nn

from examples.common.sections import Optimization


class CosineSchedule(CosineWarmupScheduler):  # type: ignore[misc]  # Lightly ships no types
    """Lightly's, as long as this run: the state of a shorter one that goes on must not bring its own length."""

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        own = ("warmup_epochs", "max_epochs")
        super().load_state_dict({name: value for name, value in state_dict.items() if name not in own})


def make_optimizer(module: nn.Module, settings: Optimization, images: int) -> Any:
    """What ``configure_optimizers`` returns: an optimizer of the weights that are trained, and a cosine schedule."""
    optimizer = bare_optimizer(module, settings)
    steps = images // settings.batch_size
    schedule = CosineSchedule(optimizer, settings.warmup_epochs * steps, settings.epochs * steps)
    return [optimizer], [{"scheduler": schedule, "interval": "step"}]


def bare_optimizer(module: nn.Module, settings: Optimization) -> torch.optim.Optimizer:
    """The optimizer without a schedule."""
    trained = [weight for weight in module.parameters() if weight.requires_grad]
    if settings.optimizer == "adam":
        return torch.optim.Adam(trained, lr=settings.lr, weight_decay=settings.weight_decay)
    return torch.optim.SGD(trained, lr=settings.lr, momentum=settings.momentum, weight_decay=settings.weight_decay)
