"""What the adapters of GAN trainers share: which negatives they take, how they make them, what works against them."""

import warnings
from collections.abc import Iterator, Set

import torch
from torch import Tensor

from nda_augment._negatives import check_negative
from nda_augment.policy import from_policy
from nda_augment.transforms import Cutout, Flip, Mixture, NegativeTransform, Roll, Rotate90

# Positive augmentations by the names of ADA and DiffAugment, and the negatives whose work they present as real.
_TURNS = frozenset({"rotate90", "rotate"})
_UNDONE_BY: dict[type[NegativeTransform], Set[str]] = {
    Cutout: frozenset({"cutout"}),
    Flip: _TURNS,
    Roll: frozenset({"translation", "xint", "xfrac"}),
    Rotate90: _TURNS,
}


def as_negatives(negatives: NegativeTransform | str) -> NegativeTransform:
    """Return the transform that a user named, if a discriminator of images can learn from it.

    Args:
        negatives: A transform, or a policy string.

    Raises:
        TypeError: If it is neither.
        ValueError: If the policy cannot be read, the transform leaves some images as they are, or it works on clips.

    Example:
        >>> str(as_negatives("jigsaw,stitch"))
        'jigsaw,stitch'
    """
    transform = from_policy(negatives) if isinstance(negatives, str) else negatives
    check_negative(transform, labels=True)
    return transform


def make_negatives(transform: NegativeTransform, images: Tensor, labels: Tensor | None) -> Tensor:
    """Return the negatives of real images as data: without gradient, in the images' own precision.

    Args:
        transform: The negatives.
        images: Real images, ``(B, C, H, W)``.
        labels: int64 ``(B,)`` classes; used by transforms that choose partners by class, and by no others.

    Returns:
        Tensor like ``images``.

    Example:
        >>> images = torch.rand(2, 3, 8, 8, requires_grad=True)
        >>> make_negatives(as_negatives("jigsaw"), images, labels=None).requires_grad
        False
    """
    with torch.no_grad(), torch.autocast(images.device.type, enabled=False):
        negatives: Tensor = transform(images, labels=labels if transform.needs_labels else None)
    return negatives


def warn_undone(transform: NegativeTransform, operations: Set[str]) -> None:
    """Warn where a positive augmentation shows as real what a negative shows as not real.

    Args:
        transform: The negatives.
        operations: Positive augmentations in use, by the names of ADA (``"cutout"``, ``"rotate90"``, ``"rotate"``,
            ``"xflip"``, ``"xint"``, ``"xfrac"``) and DiffAugment (``"cutout"``, ``"translation"``).

    Example:
        >>> with warnings.catch_warnings(record=True) as caught:
        ...     warnings.simplefilter("always")
        ...     warn_undone(as_negatives("jigsaw,cutout"), {"cutout", "translation"})
        >>> print(caught[0].message)
        the positive augmentation 'cutout' makes real images look, at least in part, like the negatives 'cutout': the \
discriminator is told both. Leave one of them out
    """
    for member in _members(transform):
        for operation in sorted(_undoing(member) & operations):
            warnings.warn(
                f"the positive augmentation {operation!r} makes real images look, at least in part, like the "
                f"negatives {str(member)!r}: the discriminator is told both. Leave one of them out",
                stacklevel=3,
            )


def _members(transform: NegativeTransform) -> Iterator[NegativeTransform]:
    if not isinstance(transform, Mixture):
        yield transform
        return
    for member in transform.members:
        yield from _members(member)


def _undoing(member: NegativeTransform) -> Set[str]:
    if isinstance(member, Flip) and member.direction == "horizontal":
        return frozenset({"xflip"})
    return frozenset().union(*(names for cls, names in _UNDONE_BY.items() if isinstance(member, cls)))
