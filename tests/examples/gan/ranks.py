"""What one of two processes does in the test of distributed training, and what one process does for comparison."""

import os

import torch
from torch import nn

from examples.common.networks import layers, sngan
from examples.common.training import CHECKPOINT
from examples.gan import config, train
from nda_augment._files import load_checkpoint


class WithoutStatistics(layers.Norm):
    """Each batch norm would see other batches in two processes than in one."""

    def __init__(self, features, gain=None, bias=None):
        super().__init__(features, gain, bias)
        self.norm = nn.Identity()


def fit(words):
    """Train a GAN without batch norm; returns its checkpoint and the weights of this process."""
    layers.Norm, kept = WithoutStatistics, (layers.Norm, sngan.end)
    sngan.end = lambda width, channels: nn.Sequential(nn.ReLU(), nn.Conv2d(width, channels, 3, padding=1))
    runs = []
    remember = train.Training.__init__

    def init(run, *args):
        remember(run, *args)
        runs.append(run)

    train.Training.__init__ = init
    try:
        folder = train.train(config.load(None, words))
    finally:
        (layers.Norm, sngan.end), train.Training.__init__ = kept, remember
    own = {name: getattr(runs[0], name).network.state_dict() for name in ("generator", "discriminator")}
    return load_checkpoint(folder / CHECKPOINT, {}), own


def run(rank, folder, port, words):
    """Train each of the settings as this rank, and leave what came out in a file."""
    torch.set_num_threads(1)
    os.environ.update(
        LOCAL_RANK=str(rank), NODE_RANK="0", WORLD_SIZE="2", MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port)
    )
    torch.save({name: fit([*each, "RUN.devices=2"]) for name, each in words.items()}, folder / f"{rank}.pt")
