"""What the adapters of GAN trainers share: which negatives they take, how they make them, what works against them."""

import warnings
from collections.abc import Iterator, Set

import torch
from torch import Tensor

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
    if not isinstance(transform, NegativeTransform):
        raise TypeError(
            f"negatives must be a transform such as nda_augment.Jigsaw(), or a policy string, got {negatives!r}"
        )
    if transform.p != 1.0:
        raise ValueError(
            f"{transform!r} leaves images as they are, and the discriminator would learn that they are not real; "
            "use p=1, and fake_weight for how much negatives count"
        )
    if transform.needs_clips:
        raise ValueError(f"{transform} works on clips; this discriminator sees images")
    return transform


def check_fake_weight(fake_weight: float) -> float:
    """Return λ if it is one.

    Raises:
        ValueError: If λ is outside (0, 1].

    Example:
        >>> check_fake_weight(0.25)
        0.25
    """
    # Written so that NaN, which compares false with everything, is refused too.
    if not 0 < fake_weight <= 1:
        raise ValueError(
            f"fake_weight (λ) must be in (0, 1], got {fake_weight}: 1 is the plain loss, the paper uses 0.25"
        )
    return fake_weight


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
