"""A folder of videos with one sub-folder for each label."""

from collections.abc import Sequence
from pathlib import Path

import torch

from examples.common.data import Images
from examples.video.decoding import read_videos

ENDINGS = frozenset({".avi", ".gif", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".webm"})


def read(
    path: str, frames: int, size: int, stride: int = 0, classes: Sequence[str] | None = None
) -> tuple[Images, list[str]]:
    """Read all videos below a folder; the sub-folder of a video is its label.

    Args:
        path: The folder. Files are known by their endings, such as ``.mp4``.
        frames: How many frames to take of each video.
        size: Side of a frame in pixels, after a cut to the central square.
        stride: Distance of two frames in the file, see ``decoding.py``.
        classes: Names of the sub-folders in the order of their labels; without, in alphabetical order.

    Returns:
        Clips ``(N, T, 3, size, size)`` uint8 with their labels, and the names of the labels.

    Raises:
        ImportError: If PyAV is not installed.
        ValueError: If there is no folder or no video, a video lies in no sub-folder or in one that is not among
            ``classes``, or has fewer frames than asked for.
    """
    root = Path(path)
    if not root.is_dir():
        raise ValueError(f"DATA.path={path} is not a folder")
    files = sorted(file for file in root.rglob("*") if file.suffix.lower() in ENDINGS)
    if not files:
        raise ValueError(f"no clip in {root}; files are known by their endings: {', '.join(sorted(ENDINGS))}")
    loose = [file.name for file in files if file.parent == root]
    if loose:
        raise ValueError(f"clips must lie in sub-folders, whose names are the labels; {root} itself holds {loose}")
    labels = [file.relative_to(root).parts[0] for file in files]
    names = sorted(set(labels)) if classes is None else list(classes)
    unknown = sorted(set(labels) - set(names))
    if unknown:
        raise ValueError(f"{root} has the sub-folders {unknown}, which are no labels; those are {names}")
    clips, kept = read_videos(files, frames, size, stride)
    return Images(clips, torch.tensor([names.index(labels[place]) for place in kept])), names
