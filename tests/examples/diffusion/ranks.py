"""What one of two processes does in the test of distributed training, and what one process does for comparison."""

import os

import torch

from examples.common.training import CHECKPOINT
from examples.diffusion import config, train
from nda_augment._files import load_checkpoint


def fit(words):
    """Train; returns the checkpoint."""
    return load_checkpoint(train.train(config.load(None, words)) / CHECKPOINT, {})


def run(rank, folder, port, words):
    """Train as this rank, and leave what the run saved in a file."""
    torch.set_num_threads(1)
    os.environ.update(
        LOCAL_RANK=str(rank), NODE_RANK="0", WORLD_SIZE="2", MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port)
    )
    torch.save(fit([*words, "RUN.devices=2"]), folder / f"{rank}.pt")
