import numpy as np
import pytest

from examples.diffusion import config

TINY = [
    "DATA.name=npz",
    "DATA.img_size=8",
    "DATA.holdout=0.25",
    "MODEL.widths=[8]",
    "MODEL.norm_groups=4",
    "MODEL.ema_start=2",
    "OPTIMIZATION.batch_size=6",
    "OPTIMIZATION.total_steps=8",
    "OPTIMIZATION.warmup_steps=2",
    "AUG.apply_nda=true",
    "AUG.nda_policy=jigsaw,stitch",
    "AUG.nda_share=0.4",
    "SAMPLING.steps=2",
    "RUN.accelerator=cpu",
    "RUN.print_freq=2",
    "RUN.sample_freq=8",
    "RUN.save_freq=4",
]


@pytest.fixture
def tiny(tmp_path):
    """Settings of a run of eight steps on 24 training images; the words given change them."""
    images = np.random.default_rng(0).integers(0, 256, (32, 8, 8), dtype=np.uint8)
    path = tmp_path / "images.npz"
    np.savez(path, images=images, labels=np.arange(32) % 2)

    def settings(name, *words):
        return config.load(None, [*TINY, f"DATA.path={path}", f"RUN.save_dir={tmp_path / name}", *words])

    return settings
