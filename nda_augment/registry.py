"""All negatives: policies, docs, gallery, audit, benchmarks and tests read them from here."""

from nda_augment import transforms
from nda_augment.transforms.base import NegativeTransform

NEGATIVES: tuple[type[NegativeTransform], ...] = tuple(
    sorted(
        (value for value in vars(transforms).values() if isinstance(value, type) and "card" in vars(value)),
        key=lambda negative: negative.word,
    )
)
"""The public classes that have a card, by their policy words."""


def list_transforms() -> list[str]:
    """Return the policy words of all negatives, in alphabetical order.

    Example:
        >>> "jigsaw" in list_transforms()
        True
    """
    return [negative.word for negative in NEGATIVES]
