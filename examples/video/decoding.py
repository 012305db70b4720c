"""Frames of video files, read with PyAV, which decodes whatever FFmpeg does."""

import os
import warnings
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torchvision.transforms.v2.functional import center_crop, resize


class UnreadableVideoError(ValueError):
    """A file that cannot be decoded."""


def read_videos(files: Sequence[Path], frames: int, size: int, stride: int = 0) -> tuple[Tensor, list[int]]:
    """Read ``frames`` frames of each file; what cannot be decoded is named in a warning and left out.

    Args:
        files: The files.
        frames: How many frames to take of each.
        size: Side of a frame in pixels, after a cut to the central square.
        stride: Distance of two frames in the file, see :func:`places`.

    Returns:
        ``(N, T, 3, size, size)`` uint8, and the numbers of the files that they are of.

    Raises:
        ImportError: If PyAV is not installed.
        ValueError: If a file has fewer frames than asked for, or none can be decoded.
    """

    def read(path: Path) -> Tensor | UnreadableVideoError:
        try:
            return read_clip(path, frames, size, stride)
        except UnreadableVideoError as error:
            return error

    with ThreadPoolExecutor(os.cpu_count()) as pool:  # PyAV lets go of the interpreter while it decodes
        results = list(pool.map(read, files))
    broken = [str(result) for result in results if isinstance(result, UnreadableVideoError)]
    kept = [number for number, result in enumerate(results) if isinstance(result, Tensor)]
    if not kept:
        raise ValueError(f"none of the {len(files)} videos can be decoded: {'; '.join(broken)}")
    if broken:
        warnings.warn(f"{len(broken)} of {len(files)} videos are left out: {'; '.join(broken)}", stacklevel=2)
    return torch.stack([result for result in results if isinstance(result, Tensor)]), kept


def read_clip(path: Path, frames: int, size: int, stride: int = 0) -> Tensor:
    """Read ``frames`` frames of one file, ``(T, 3, size, size)`` uint8.

    Raises:
        ImportError: If PyAV is not installed.
        UnreadableVideoError: If the file cannot be decoded.
        ValueError: If it has fewer frames than asked for.
    """
    try:
        import av
    except (ImportError, RuntimeError, OSError) as error:
        raise ImportError('videos are read with PyAV: pip install "nda-augment[video]"') from error
    try:
        with av.open(str(path)) as container:
            # Counted by decoding: the number in a file's header may be wrong or missing.
            decoded = [_fit(frame.to_ndarray(format="rgb24"), size) for frame in container.decode(video=0)]
    except (av.FFmpegError, IndexError) as error:
        raise UnreadableVideoError(f"{path} cannot be decoded ({error}). Mend or remove it") from error
    if len(decoded) < frames:
        raise ValueError(
            f"{path} has {len(decoded)} frames, {frames} are asked for. Lower DATA.length or DATA.frames, or remove it"
        )
    return torch.stack([decoded[place] for place in places(len(decoded), frames, stride)])


def places(available: int, frames: int, stride: int) -> list[int]:
    """Which frames of a video are taken.

    Every ``stride``-th, around the middle; with a stride of 0, and where the video is too short for that, as many at
    even distances from the first to the last.
    """
    reach = (frames - 1) * stride
    if stride and reach < available:
        return list(range((available - 1 - reach) // 2, available, stride))[:frames]
    even: list[int] = torch.linspace(0, available - 1, frames).round().long().tolist()
    return even


def _fit(pixels: Any, size: int) -> Tensor:
    """Cut ``(H, W, 3)`` to the central square and resize it, to ``(3, size, size)``."""
    frame = torch.from_numpy(pixels).permute(2, 0, 1)
    frame = center_crop(frame, [min(frame.shape[1:])])
    resized: Tensor = resize(frame, [size, size], antialias=True)
    return resized
