from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from examples.contrastive import config
from examples.contrastive.config import Config

TINY = [
    "DATA.name=npz",
    "DATA.img_size=8",
    "MODEL.width=0.0625",
    "MODEL.dim=8",
    "MODEL.queue=24",
    "OPTIMIZATION.batch_size=8",
    "OPTIMIZATION.epochs=3",
    "AUG.nda_policy=jigsaw,stitch,cutout",
    "EVAL.knn_every=1",
    "EVAL.knn_k=5",
    "EVAL.linear_epochs=2",
    "RUN.accelerator=cpu",
    "RUN.print_freq=1",
    "RUN.progress=false",
]

# Lightning uses what torch is about to rename. What else it warns of, the trainings keep quiet about themselves.
LIGHTNING_WARNS = "ignore:.*isinstance.treespec, LeafSpec"

Tiny = Callable[..., Config]


@pytest.fixture
def tiny(tmp_path: Path) -> Tiny:
    """Settings of a run of three epochs on 24 training images; the words given change them."""
    generator = np.random.default_rng(0)
    labels = np.arange(32) % 2
    images = generator.integers(0, 128, (32, 8, 8, 3)) + 100 * labels[:, None, None, None]
    np.savez(tmp_path / "images.npz", images=images.astype(np.uint8), labels=labels)

    def settings(name: str, *words: str) -> Config:
        places = [f"DATA.path={tmp_path / 'images.npz'}", f"RUN.save_dir={tmp_path / name}"]
        return config.load(None, [*TINY, *places, *words])

    return settings
