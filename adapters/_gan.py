"""What the adapters of GAN trainers share: which negatives they take, how they make them, what works against them."""

import warnings
from collections.abc import Iterable, Iterator, Mapping, Set

import torch
from torch import Tensor

from nda_augment._negatives import check_negative
from nda_augment.losses.gan import FAKE_WEIGHT, check_fake_weight
from nda_augment.losses.kinds import FAKE, Weights, check_weights
from nda_augment.policy import from_policy
from nda_augment.transforms import Cutout, Flip, Generated, Mixture, NegativeTransform, OtherClass, Roll, Rotate90

# One kind of negatives: images that are none, or real ones under another class.
Kind = NegativeTransform | OtherClass
# The name of the only kind, where there are not several.
SINGLE = "negative"

# Positive augmentations by the names of ADA and DiffAugment, and the negatives whose work they present as real.
_TURNS = frozenset({"rotate90", "rotate"})
_UNDONE_BY: dict[type[NegativeTransform], Set[str]] = {
    Cutout: frozenset({"cutout"}),
    Flip: _TURNS,
    Roll: frozenset({"translation", "xint", "xfrac"}),
    Rotate90: _TURNS,
}


class Weighed:
    """Kinds of negatives, and what each weighs: both may be looked at, and the weights set during training.

    Attributes:
        kinds: The negatives, by name.
    """

    def __init__(self, kinds: Mapping[str, Kind], weights: Weights) -> None:
        self.kinds, self._weights = dict(kinds), dict(weights)

    @property
    def fake_weight(self) -> float:
        """λ, in (0, 1], the weight of generated images; 1 switches negatives off."""
        return self._weights[FAKE]

    @fake_weight.setter
    def fake_weight(self, value: float) -> None:
        if self.kinds.keys() != {SINGLE}:
            raise ValueError("fake_weight is for negatives of one kind; set weights, the share of each")
        check_fake_weight(value)
        self._weights = {FAKE: value, SINGLE: 1 - value}

    @property
    def weights(self) -> Weights:
        """Share of generated images (``"fake"``) and of each kind; they sum to 1."""
        return self._weights

    @weights.setter
    def weights(self, value: Weights) -> None:
        check_weights(value, self.kinds)
        self._weights = dict(value)

    def __str__(self) -> str:
        return ", ".join(map(str, self.kinds.values()))


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


def as_kinds(
    negatives: NegativeTransform | str | Mapping[str, Kind | str],
    fake_weight: float | None,
    weights: Weights | None,
    names: tuple[str, str] = ("fake_weight", "weights"),
) -> tuple[dict[str, Kind], dict[str, float]]:
    """Return the kinds of negatives that a user named, and what each weighs.

    Args:
        negatives: A transform or a policy string; or several, by name, and :class:`~nda_augment.OtherClass` among them.
        fake_weight: λ, for negatives of one kind; ``None`` is the default.
        weights: Share of generated images (``"fake"``) and of each kind, for several.
        names: Names of the last two in the error messages.

    Raises:
        TypeError: If negatives are none of these, or the weights no mapping.
        ValueError: If a policy cannot be read, a transform cannot be used here, weights do not fit the kinds, or there
            is a λ where weights belong, or the other way round.

    Example:
        >>> as_kinds("jigsaw", 0.75, None)[1]
        {'fake': 0.75, 'negative': 0.25}
    """
    if not isinstance(negatives, Mapping):
        if weights is not None:
            raise ValueError(f"{names[1]} are for several kinds of negatives, a mapping from names to transforms")
        fake_weight = FAKE_WEIGHT if fake_weight is None else fake_weight
        check_fake_weight(fake_weight, names[0])
        return {SINGLE: as_negatives(negatives)}, {FAKE: fake_weight, SINGLE: 1 - fake_weight}
    if fake_weight is not None:
        raise ValueError(f"{names[0]}={fake_weight} is for negatives of one kind; several have {names[1]}")
    kinds = {name: kind if isinstance(kind, OtherClass) else as_negatives(kind) for name, kind in negatives.items()}
    if weights is None:
        raise ValueError(f"several kinds of negatives need {names[1]}, the share of {FAKE!r} and of each kind")
    check_weights(weights, kinds, names[1])
    return kinds, dict(weights)


def make_kind(kind: Kind, images: Tensor, labels: Tensor | None) -> tuple[Tensor, Tensor | None] | None:
    """Return the negatives of one kind and the classes that they are judged with; ``None`` where there are none so far.

    Args:
        kind: The negatives.
        images: Real images, ``(B, C, H, W)``.
        labels: int64 ``(B,)``, their classes.

    Raises:
        ValueError: If the kind needs classes and there are none.

    Example:
        >>> real, classes = torch.rand(2, 3, 8, 8), torch.tensor([0, 1])
        >>> same, wrong = make_kind(OtherClass(2), real, classes)
        >>> same is real, wrong.tolist()
        (True, [1, 0])
    """
    if isinstance(kind, OtherClass):
        if labels is None:
            raise ValueError(f"{kind} makes a wrong label of a right one, and the images have none")
        wrong: Tensor = kind(labels)
        return images, wrong
    if isinstance(kind, Generated) and not kind.ready():
        return None
    return make_negatives(kind, images, labels), labels


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


def warn_undone(kinds: Iterable[Kind], operations: Set[str]) -> None:
    """Warn where a positive augmentation shows as real what a negative shows as not real.

    Args:
        kinds: The negatives.
        operations: Positive augmentations in use, by the names of ADA (``"cutout"``, ``"rotate90"``, ``"rotate"``,
            ``"xflip"``, ``"xint"``, ``"xfrac"``) and DiffAugment (``"cutout"``, ``"translation"``).

    Example:
        >>> with warnings.catch_warnings(record=True) as caught:
        ...     warnings.simplefilter("always")
        ...     warn_undone([as_negatives("jigsaw,cutout")], {"cutout", "translation"})
        >>> print(caught[0].message)
        the positive augmentation 'cutout' makes real images look, at least in part, like the negatives 'cutout': the \
discriminator is told both. Leave one of them out
    """
    for member in _members(kinds):
        for operation in sorted(_undoing(member) & operations):
            warnings.warn(
                f"the positive augmentation {operation!r} makes real images look, at least in part, like the "
                f"negatives {str(member)!r}: the discriminator is told both. Leave one of them out",
                stacklevel=3,
            )


def _members(kinds: Iterable[Kind]) -> Iterator[NegativeTransform]:
    for kind in kinds:
        if isinstance(kind, Mixture):
            yield from _members(kind.members)
        elif isinstance(kind, NegativeTransform):
            yield kind


def _undoing(member: NegativeTransform) -> Set[str]:
    if isinstance(member, Flip) and member.direction == "horizontal":
        return frozenset({"xflip"})
    return frozenset().union(*(names for cls, names in _UNDONE_BY.items() if isinstance(member, cls)))
