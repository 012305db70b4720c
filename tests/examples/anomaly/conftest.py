import warnings

import numpy as np
import pytest

from examples.anomaly import config
from nda_augment.anomaly import Training, _training

TINY = [
    "DATA.name=npz",
    "DATA.img_size=8",
    "DATA.holdout=0.25",
    "MODEL.width=8",  # with fewer channels torch 2.15 aborts on CPUs without AVX-512 (oneDNN, "double free")
    "MODEL.dim=4",
    "MODEL.z_dim=4",
    "AUG.test_views=1",
    "OPTIMIZATION.batch_size=8",
    "OPTIMIZATION.epochs=1",
    "RUN.accelerator=cpu",
]


@pytest.fixture(scope="session", autouse=True)
def _fabric_is_loaded() -> None:
    """The first import of Lightning takes seconds, and warns about things that are not ours."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        _training._fabric(Training(accelerator="cpu"))


@pytest.fixture
def words(tmp_path) -> list[str]:
    """Overrides for 96 images of three classes, which differ in brightness."""
    labels = np.arange(96) % 3
    images = np.random.default_rng(0).integers(0, 60, (96, 8, 8, 3)) + 90 * labels[:, None, None, None]
    np.savez(tmp_path / "images.npz", images=images.astype(np.uint8), labels=labels)
    return [*TINY, f"DATA.path={tmp_path / 'images.npz'}", f"RUN.save_dir={tmp_path / 'runs'}"]


@pytest.fixture
def tiny(words):
    return lambda *more: config.load(None, [*words, *more])
