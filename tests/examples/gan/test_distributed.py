import time

import numpy as np
import pytest
import torch

from tests.examples.contrastive.test_distributed import free_port
from tests.examples.gan import ranks
from tests.examples.gan.conftest import TINY

# Two updates of each player with everything that is drawn per image.
RUNS = {
    "separate": [
        "LOSS.nda_adaptive=true",
        "LOSS.nda_adaptive_interval=1",
        "AUG.nda_learned=true",
        "AUG.apply_ada=true",
        "AUG.ada_interval=1",
        "LOSS.apply_r1_reg=true",
        "LOSS.apply_cr=true",
        "LOSS.apply_lecam=true",
        "LOSS.lecam_ema_start_iter=1",
    ],
    # So few negatives that a process often has none in its share.
    "replace": [
        "LOSS.nda_mode=replace",
        "LOSS.nda_fake_weight=0.8",
        "LOSS.nda_adaptive=true",
        "AUG.apply_ada=true",
        "AUG.ada_interval=5",
        "MODEL.g_cond_mtd=cBN",
        "MODEL.d_cond_mtd=PD",
        "OPTIMIZATION.acml_steps=2",
    ],
    "instances": [
        "MODEL.instance_cond=true",
        "MODEL.instance_neighbours=3",
        "AUG.apply_ada=true",
        "LOSS.nda_mode=replace",
        "MODEL.g_cond_mtd=cBN",
        "MODEL.d_cond_mtd=PD",
        "MODEL.g_shared_dim=3",
    ],
    "kinds": [
        "LOSS.nda_weights={fake: 0.5, stitch: 0.2, history: 0.2, wrong_label: 0.1}",
        "AUG.nda_history_every=1",
        "AUG.nda_history_candidates=2",
        "AUG.apply_ada=true",
        "MODEL.g_cond_mtd=cBN",
        "MODEL.d_cond_mtd=PD",
    ],
}


@pytest.mark.filterwarnings("ignore:the history has no snapshot")
@pytest.mark.slow
def test_two_processes_train_like_one_on_the_joined_batch(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (32, 8, 8, 3), dtype=np.uint8)
    np.savez(tmp_path / "images.npz", images=images, labels=np.arange(32) % 2)
    more = [f"DATA.path={tmp_path / 'images.npz'}", "OPTIMIZATION.total_steps=2", "RUN.print_freq=1"]
    more += ["AUG.ada_initial_augment_p=0.5", "AUG.ada_kimg=1", "AUG.ada_aug_type='color,flip'", "RUN.save_freq=1"]
    words = {name: [*TINY, *more, *each, f"RUN.save_dir={tmp_path / name}"] for name, each in RUNS.items()}
    processes = torch.multiprocessing.spawn(ranks.run, (tmp_path, free_port(), words), nprocs=2, join=False)
    deadline = time.monotonic() + 300
    while not processes.join(timeout=5):
        if time.monotonic() > deadline:
            for process in processes.processes:
                process.kill()
            pytest.fail("the processes wait for each other")
    first, second = (torch.load(tmp_path / f"{rank}.pt") for rank in range(2))

    for name in RUNS:
        alone, _ = ranks.fit([*words[name], f"RUN.save_dir={tmp_path / 'alone' / name}"])
        (saved, own), (also_saved, other) = first[name], second[name]
        for player in ("generator", "discriminator"):
            for key, value in own[player].items():
                assert torch.equal(value, other[player][key]), f"{name}: {player} {key}"
                assert torch.equal(value, saved[player][key])
            torch.testing.assert_close(saved[player], alone[player], atol=2e-5, rtol=1e-4)
        torch.testing.assert_close(saved["average"], alone["average"], atol=2e-5, rtol=1e-4)
        assert also_saved["step"] == 2
        # What they count on the way to their next move included.
        assert saved["positives"]["_extra_state"] == pytest.approx(alone["positives"]["_extra_state"])
        if name == "separate":
            first_learned, then, by_one = (state["negatives"]["_extra_state"] for state in (saved, also_saved, alone))
            assert first_learned == then
            for mine, theirs in zip(then["heard"], by_one["heard"], strict=True):
                assert mine == pytest.approx(theirs, rel=1e-3, abs=1e-4)
        if "adaptive_weight" in alone:
            assert saved["adaptive_weight"] == pytest.approx(alone["adaptive_weight"], rel=1e-3, abs=1e-4)
        if "past" in alone:
            torch.testing.assert_close(saved["past"], alone["past"], atol=2e-5, rtol=1e-4)
        assert [list(row) for row in saved["history"]] == [list(row) for row in alone["history"]]
        for mine, theirs in zip(saved["history"], alone["history"], strict=True):
            assert mine == pytest.approx(theirs, rel=1e-3, abs=1e-4)
