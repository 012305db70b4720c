import time

import numpy as np
import pytest
import torch

from tests.examples.contrastive.test_distributed import free_port
from tests.examples.diffusion import ranks
from tests.examples.diffusion.conftest import TINY


@pytest.mark.slow
def test_two_processes_train_like_one_on_the_joined_batch(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (32, 8, 8, 3), dtype=np.uint8)
    np.savez(tmp_path / "images.npz", images=images, labels=np.arange(32) % 2)
    words = [*TINY, f"DATA.path={tmp_path / 'images.npz'}", "OPTIMIZATION.total_steps=3", "RUN.print_freq=1"]
    words += ["MODEL.conditional=true", "RUN.snapshot_step=2", "RUN.save_freq=1"]
    processes = torch.multiprocessing.spawn(
        ranks.run, (tmp_path, free_port(), [*words, f"RUN.save_dir={tmp_path / 'two'}"]), nprocs=2, join=False
    )
    deadline = time.monotonic() + 300
    while not processes.join(timeout=5):
        if time.monotonic() > deadline:
            for process in processes.processes:
                process.kill()
            pytest.fail("the processes wait for each other")
    first, second = (torch.load(tmp_path / f"{rank}.pt") for rank in range(2))
    alone = ranks.fit([*words, f"RUN.save_dir={tmp_path / 'alone'}"])
    for part in ("denoiser", "average"):
        assert all(torch.equal(value, second[part][key]) for key, value in first[part].items())
        torch.testing.assert_close(first[part], alone[part], atol=2e-5, rtol=1e-3)
    for mine, theirs in zip(first["history"], alone["history"], strict=True):
        assert mine == pytest.approx(theirs, rel=1e-3)
