"""A folder of clips, read with PyAV, which decodes whatever FFmpeg does."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torchvision.transforms.v2.functional import center_crop, resize

from examples.common.data import Images

ENDINGS = frozenset({".avi", ".gif", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".webm"})


def read(path: str, frames: int, size: int, classes: Sequence[str] | None = None) -> tuple[Images, list[str]]:
    """Read all clips below a folder; the sub-folder of a clip is its label.

    Args:
        path: The folder. Files are known by their endings, such as ``.mp4``.
        frames: How many frames to take of each clip, at even distances from its first to its last.
        size: Side of a frame in pixels, after a cut to the central square.
        classes: Names of the sub-folders in the order of their labels; without, in alphabetical order.

    Returns:
        Clips ``(N, T, 3, size, size)`` uint8 with their labels, and the names of the labels.

    Raises:
        ImportError: If PyAV is not installed.
        ValueError: If there is no folder or no clip, a clip lies in no sub-folder or in one that is not among
            ``classes``, cannot be decoded, or has fewer frames than asked for.
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
    clips = torch.stack([read_clip(file, frames, size) for file in files])
    return Images(clips, torch.tensor([names.index(label) for label in labels])), names


def read_clip(path: Path, frames: int, size: int) -> Tensor:
    """Read ``frames`` frames of one file, ``(T, 3, size, size)`` uint8; errors as of :func:`read`."""
    try:
        import av
    except (ImportError, RuntimeError, OSError) as error:
        raise ImportError('DATA.name=folder needs PyAV: pip install "nda-augment[video]"') from error
    try:
        with av.open(str(path)) as container:
            # Counted by decoding: the number in a file's header may be wrong or missing.
            decoded = [_fit(frame.to_ndarray(format="rgb24"), size) for frame in container.decode(video=0)]
    except (av.FFmpegError, IndexError) as error:
        raise ValueError(f"{path} cannot be decoded ({error}). Mend or remove it") from error
    if len(decoded) < frames:
        raise ValueError(f"{path} has {len(decoded)} frames, DATA.frames={frames} are asked for")
    places = torch.linspace(0, len(decoded) - 1, frames).round().long()
    return torch.stack([decoded[place] for place in places])


def _fit(pixels: Any, size: int) -> Tensor:
    """Cut ``(H, W, 3)`` to the central square and resize it, to ``(3, size, size)``."""
    frame = torch.from_numpy(pixels).permute(2, 0, 1)
    frame = center_crop(frame, [min(frame.shape[1:])])
    resized: Tensor = resize(frame, [size, size], antialias=True)
    return resized
