from collections.abc import Callable
from pathlib import Path

import pytest

from examples.detection import config
from examples.detection.config import Config

TINY = [
    "DATA.img_size=32",
    "DATA.max_size=32",
    "DATA.scenes=6",
    "DATA.test_scenes=4",
    "MODEL.backbone=resnet-9",
    "MODEL.width=0.0625",
    "MODEL.channels=4",
    "MODEL.head=8",
    "MODEL.anchor=4",
    "MODEL.proposals=20",
    "MODEL.regions=8",
    "OPTIMIZATION.batch_size=2",
    "OPTIMIZATION.epochs=2",
    "RUN.accelerator=cpu",
    "RUN.print_freq=1",
    "RUN.progress=false",
]

Tiny = Callable[..., Config]


@pytest.fixture
def tiny(tmp_path: Path) -> Tiny:
    """Settings of a run of two epochs on six small scenes; the words given change them."""

    def settings(name: str, *words: str) -> Config:
        return config.load(None, [*TINY, f"RUN.save_dir={tmp_path / name}", *words])

    return settings
