import numpy as np
import pytest

from examples.gan import config

TINY = [
    "DATA.name=npz",
    "DATA.img_size=8",
    "DATA.holdout=0.25",
    "MODEL.z_dim=4",
    "MODEL.g_conv_dim=4",
    "MODEL.d_conv_dim=4",
    "MODEL.g_ema_start=2",
    "OPTIMIZATION.batch_size=6",
    "OPTIMIZATION.total_steps=8",
    "AUG.apply_nda=true",
    "AUG.nda_policy=jigsaw,stitch,cutout",
    "RUN.accelerator=cpu",
    "RUN.print_freq=2",
    "RUN.sample_freq=4",
    "RUN.save_freq=4",
]


def settings_of(folder):
    """Settings of a run of eight steps on 24 training images, four batches an epoch; the words given change them."""
    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (32, 8, 8), dtype=np.uint8)
    path = folder / "images.npz"
    np.savez(path, images=images, labels=np.arange(32) % 2)

    def settings(name, *words):
        return config.load(None, [*TINY, f"DATA.path={path}", f"RUN.save_dir={folder / name}", *words])

    return settings


@pytest.fixture
def tiny(tmp_path):
    """Settings of a small run in the folder of the test."""
    return settings_of(tmp_path)
