"""Negatives that break the order of the frames: for models of video."""

from typing import Unpack

from torch import Tensor

from nda_augment import functional, sampling
from nda_augment.sampling import Source
from nda_augment.transforms.base import NegativeTransform, Params
from nda_augment.transforms.card import Card
from nda_augment.transforms.partners import PairTransform

__all__ = ["ClipStitch", "FrameReverse", "FrameShuffle"]


class FrameShuffle(NegativeTransform):
    """Put the frames of every clip in another order: each picture is real, the motion is not.

    The order is uniform over all but the identity. A clip of equal frames comes back as it was.

    Args:
        **common: ``p``, ``same_on_batch``, ``keepdim`` of :class:`NegativeTransform`.

    Raises:
        ValueError: If the input is not a clip, or has one frame only.

    Shape:
        ``(B, T, C, H, W)`` to the same. Parameters: ``permutation``, int64 ``(B, T)``.

    Example:
        >>> import torch
        >>> FrameShuffle()(torch.rand(2, 8, 3, 32, 32)).shape
        torch.Size([2, 8, 3, 32, 32])

    Source: Misra et al., Shuffle and Learn, ECCV 2016, as a pretext task.
    """

    card = Card(
        family="clip",
        breaks="order of the frames",
        keeps="every frame",
        guarantee="the permutation is not the identity",
        source="Misra et al., 2016",
    )

    moves_values = True
    needs_clips = True

    def make_params(self, shape: tuple[int, ...], **source: Unpack[Source]) -> Params:
        """Draw one order per clip."""
        _check_frames(shape)
        return {"permutation": sampling.permutations(shape[0], shape[1], **source)}

    def transform(self, images: Tensor, params: Params) -> Tensor:
        """Apply :func:`nda_augment.functional.frame_shuffle`."""
        return functional.frame_shuffle(images, params["permutation"])


class FrameReverse(NegativeTransform):
    """Play every clip backwards: for motions that have a direction. There is nothing to draw.

    Args:
        **common: ``p``, ``same_on_batch``, ``keepdim`` of :class:`NegativeTransform`.

    Raises:
        ValueError: If the input is not a clip, or has one frame only.

    Shape:
        ``(B, T, C, H, W)`` to the same. No parameters.

    Example:
        >>> import torch
        >>> FrameReverse()(torch.rand(2, 8, 3, 32, 32)).shape
        torch.Size([2, 8, 3, 32, 32])

    Source: Wei et al., Learning and using the arrow of time, CVPR 2018, as a pretext task.
    """

    card = Card(
        family="clip",
        breaks="the arrow of time",
        keeps="all frames and neighbours",
        guarantee="there are two frames at least",
        source="Wei et al., 2018",
    )

    moves_values = True
    needs_clips = True

    def make_params(self, shape: tuple[int, ...], **source: Unpack[Source]) -> Params:
        """Draw nothing."""
        _check_frames(shape)
        return {}

    def transform(self, images: Tensor, params: Params) -> Tensor:
        """Apply :func:`nda_augment.functional.frame_reverse`."""
        return functional.frame_reverse(images)


class ClipStitch(PairTransform):
    """Continue the first half of a clip with the second half of another one.

    Args:
        **common: ``partner``, ``p``, ``same_on_batch``, ``keepdim`` of :class:`PairTransform`.

    Raises:
        ValueError: If the input is not a clip, has one frame only, or a single clip comes without a pool.

    Shape:
        ``(B, T, C, H, W)`` to the same. Parameters: ``partners``, int64 ``(B,)``.

    Example:
        >>> import torch
        >>> ClipStitch()(torch.rand(2, 8, 3, 32, 32)).shape
        torch.Size([2, 8, 3, 32, 32])

    Source: the temporal counterpart of :class:`Stitch`.
    """

    card = Card(
        family="clip",
        breaks="that there is one scene",
        keeps="each half",
        guarantee="the partner is another clip",
        source="after Sinha et al., 2021",
    )

    moves_values = True
    needs_clips = True

    def make_params(self, shape: tuple[int, ...], **source: Unpack[Source]) -> Params:
        """Draw nothing but the partner."""
        _check_frames(shape)
        return {}

    def transform(self, images: Tensor, params: Params) -> Tensor:
        """Apply :func:`nda_augment.functional.clip_stitch`."""
        return functional.clip_stitch(images, params["partners"], pool=params.get("pool"))


def _check_frames(shape: tuple[int, ...]) -> None:
    if len(shape) != 5 or shape[1] < 2:
        raise ValueError(f"clips (B, T, C, H, W) of at least two frames are needed, got shape {tuple(shape)}")
