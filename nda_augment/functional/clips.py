"""Kernels that break the order of the frames of a clip."""

import torch
from torch import Tensor

from nda_augment._checks import as_pool, check_images, check_index

__all__ = ["clip_stitch", "frame_reverse", "frame_shuffle"]


def frame_shuffle(clips: Tensor, permutation: Tensor) -> Tensor:
    """Put the frames of every clip in another order.

    Args:
        clips: Clips ``(B, T, C, H, W)``, any dtype and range.
        permutation: int64 ``(B, T)``; frame ``t`` of the result is frame ``permutation[:, t]`` of the clip.

    Returns:
        Tensor like ``clips``.

    Raises:
        ValueError: If a shape is wrong.
        TypeError: If the clips are no tensor.

    Example:
        >>> clip = torch.arange(3.0).view(1, 3, 1, 1, 1)
        >>> frame_shuffle(clip, torch.tensor([[2, 0, 1]])).flatten().tolist()
        [2.0, 0.0, 1.0]
    """
    _check_clips(clips)
    batch, frames = clips.shape[:2]
    check_index(permutation, "permutation", (batch, frames), frames)
    index = torch.arange(batch, device=clips.device).unsqueeze(1) * frames + permutation
    return clips.flatten(0, 1).index_select(0, index.flatten()).view(clips.shape)


def frame_reverse(clips: Tensor) -> Tensor:
    """Play every clip backwards.

    Args:
        clips: Clips ``(B, T, C, H, W)``, any dtype and range.

    Returns:
        Tensor like ``clips``.

    Raises:
        ValueError: If a shape is wrong.
        TypeError: If the clips are no tensor.

    Example:
        >>> frame_reverse(torch.arange(3.0).view(1, 3, 1, 1, 1)).flatten().tolist()
        [2.0, 1.0, 0.0]
    """
    _check_clips(clips)
    return clips.flip(1)


def clip_stitch(clips: Tensor, partners: Tensor, *, pool: Tensor | None = None) -> Tensor:
    """Continue the first half of every clip with the second half of its partner.

    Args:
        clips: Clips ``(B, T, C, H, W)``, any dtype and range.
        partners: int64 ``(B,)``, indices into the pool.
        pool: Clips ``(N, T, C, H, W)`` that partners are taken from; the batch itself by default.

    Returns:
        Tensor like ``clips``. The middle frame of an odd number is the partner's.

    Raises:
        ValueError: If a shape is wrong or the pool does not match the clips.
        TypeError: If the clips are no tensor.

    Example:
        >>> clips = torch.tensor([[0.0, 1.0], [2.0, 3.0]]).view(2, 2, 1, 1, 1)
        >>> clip_stitch(clips, torch.tensor([1, 0])).flatten().tolist()
        [0.0, 3.0, 2.0, 1.0]
    """
    _check_clips(clips)
    pool = as_pool(pool, clips)
    check_index(partners, "partners", (len(clips),), len(pool))
    middle = clips.shape[1] // 2
    return torch.cat([clips[:, :middle], pool[:, middle:].index_select(0, partners)], dim=1)


def _check_clips(clips: Tensor) -> None:
    check_images(clips, "clips")
    if clips.ndim != 5:
        raise ValueError(f"clips must be (B, T, C, H, W), got shape {tuple(clips.shape)}; images have no time to break")
