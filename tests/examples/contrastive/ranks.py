"""What one of two processes does in the test of distributed training, and what one process does for comparison."""

import os
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning import Callback
from torch import Tensor, nn

import nda_augment as nda
from examples.common import data
from examples.common.contrastive import methods
from examples.common.contrastive.methods import Parts
from examples.common.fitting import make_trainer, quiet
from examples.contrastive import config
from examples.contrastive.config import Config

Outcome = dict[str, Any]


class FixedViews(nn.Module):
    """The same views of an image in whichever batch and process it comes up."""

    def forward(self, images: Tensor) -> list[Tensor]:
        pixels = images.float() / 255 - 0.5
        return [pixels, pixels.flip(-1)]


def linear() -> Parts:
    return Parts(FixedViews(), nn.Sequential(nn.Flatten(), nn.Linear(3 * 8 * 8, 16), nn.ReLU()), 16)


class Losses(Callback):
    def __init__(self) -> None:
        self.values: list[Tensor] = []

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        self.values.append(outputs["loss"].detach())


def fit(settings: Config) -> Outcome:
    """Train an encoder without batch norm, which would see other batches in two processes than in one."""
    training, _ = data.load_rgb(settings.DATA)
    methods.SimCLRProjectionHead = lambda *sizes: nn.Linear(16, sizes[-1])
    method, losses = methods.make(settings, training, linear), Losses()
    method.nda_transform = nda.Flip()
    with quiet():
        trainer = make_trainer(settings, [losses])
        trainer.fit(method)
    return {
        "losses": torch.stack(losses.values),
        "logged": trainer.callback_metrics["loss_epoch"],
        "weights": method.state_dict(),
        "queue": method.criterion.memory_bank.bank if settings.MODEL.method == "moco" else torch.empty(0),
    }


def run(rank: int, folder: Path, port: int, words: dict[str, list[str]]) -> None:
    """Train each of the settings as this rank, and leave the outcomes in a file."""
    torch.set_num_threads(1)
    os.environ.update(
        LOCAL_RANK=str(rank), NODE_RANK="0", WORLD_SIZE="2", MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port)
    )
    outcomes = {name: fit(config.load(None, [*each, "RUN.devices=2"])) for name, each in words.items()}
    torch.save(outcomes, folder / f"{rank}.pt")
