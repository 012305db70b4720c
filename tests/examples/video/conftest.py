from collections.abc import Callable
from pathlib import Path

import pytest

from examples.video import config
from examples.video.config import Config

TINY = [
    "DATA.clips=32",
    "DATA.frames=4",
    "DATA.img_size=8",
    "MODEL.width=2",
    "MODEL.dim=8",
    "MODEL.queue=24",
    "OPTIMIZATION.batch_size=8",
    "OPTIMIZATION.epochs=3",
    "AUG.nda_policy=jigsaw,frameshuffle,clipstitch",
    "EVAL.knn_every=1",
    "EVAL.knn_k=5",
    "EVAL.linear_epochs=2",
    "RUN.accelerator=cpu",
    "RUN.print_freq=1",
    "RUN.progress=false",
]

# What a method needs beside its name.
METHODS = {
    "simclr": ["MODEL.method=simclr"],
    "moco": ["MODEL.method=moco"],
    "dpc": ["MODEL.method=dpc", "MODEL.backbone=r2d3d", "DATA.frames=8", "MODEL.block_frames=2"],
}

Tiny = Callable[..., Config]


@pytest.fixture
def tiny(tmp_path: Path) -> Tiny:
    """Settings of a run of three epochs on 24 clips of four small frames; the words given change them."""

    def settings(name: str, *words: str) -> Config:
        return config.load(None, [*TINY, f"RUN.save_dir={tmp_path / name}", *words])

    return settings
