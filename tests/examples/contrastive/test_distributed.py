import socket
from pathlib import Path

import numpy as np
import pytest
import torch

from examples.common.contrastive import methods
from examples.contrastive import config
from tests.examples.contrastive import ranks
from tests.examples.contrastive.conftest import LIGHTNING_WARNS, TINY

METHODS = ["moco", "simclr"]


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
    return port


@pytest.mark.slow
@pytest.mark.filterwarnings(LIGHTNING_WARNS)
def test_two_processes_train_like_one_on_the_joined_batch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images = np.random.default_rng(0).integers(0, 256, (32, 8, 8, 3), dtype=np.uint8)
    np.savez(tmp_path / "images.npz", images=images, labels=np.arange(32) % 2)
    more = [f"DATA.path={tmp_path / 'images.npz'}", "OPTIMIZATION.epochs=2", "LOSS.nda_scope=batch"]
    words = {name: [*TINY, *more, f"MODEL.method={name}", f"RUN.save_dir={tmp_path / name}"] for name in METHODS}
    torch.multiprocessing.spawn(ranks.run, (tmp_path, free_port(), words), nprocs=2)
    both = [torch.load(tmp_path / f"{rank}.pt") for rank in range(2)]

    # fit() replaces it; here it is brought back afterwards.
    monkeypatch.setattr(methods, "SimCLRProjectionHead", methods.SimCLRProjectionHead)
    for name in METHODS:
        alone = ranks.fit(config.load(None, [*words[name], f"RUN.save_dir={tmp_path / 'alone' / name}"]))
        first, second = (outcomes[name] for outcomes in both)
        assert not torch.equal(first["losses"], second["losses"])
        torch.testing.assert_close((first["losses"] + second["losses"]) / 2, alone["losses"])
        for outcome in (first, second):
            for what in ("logged", "weights", "queue"):
                torch.testing.assert_close(outcome[what], alone[what], msg=lambda text, name=name: f"{name}: {text}")
