"""Labelled clips to learn from and to test on."""

import torch

from examples.common.data import Images
from examples.common.randomness import generator
from examples.video import digits, folder, splits
from examples.video.config import Data


def load(settings: Data) -> tuple[Images, Images]:
    """Return the training and the test clips, ``(N, T, 3, H, W)`` uint8 and labelled, of ``settings.held`` frames.

    They depend on these settings only, so runs with different seeds learn from the same and are tested on the same.

    Raises:
        ImportError: If there are files to read and PyAV is not installed.
        ValueError: If a folder holds no clips or one that is too short, a split file cannot be used, or nothing is left
            to learn from or to test on.
    """
    frames, size = settings.held, settings.img_size
    if settings.name == "digits":
        kept = _kept(settings.clips, settings)
        return digits.load(kept, settings.clips - kept, frames, size)
    if settings.name in splits.LISTS:
        return splits.read(
            settings.name, settings.path, settings.split_path, settings.split, frames, size, settings.stride
        )
    clips, names = folder.read(settings.path, frames, size, settings.stride)
    if settings.test_path:
        return clips, folder.read(settings.test_path, frames, size, settings.stride, names)[0]
    order = torch.randperm(len(clips), generator=generator(0, "holdout"))
    kept = _kept(len(clips), settings)
    return clips[order[:kept]], clips[order[kept:]]


def _kept(clips: int, settings: Data) -> int:
    """How many clips there are to learn from, when the others are held out."""
    kept = round(clips * (1 - settings.holdout))
    if not 0 < kept < clips:
        raise ValueError(
            f"DATA.holdout={settings.holdout} of {clips} clips leaves {kept} to learn from and {clips - kept} to test "
            "on"
        )
    return kept
