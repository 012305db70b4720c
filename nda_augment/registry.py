"""The one list of all negatives: policies, docs, gallery, benchmarks and tests read it."""

from dataclasses import dataclass

from nda_augment import transforms
from nda_augment._words import word_of
from nda_augment.transforms.base import NegativeTransform


@dataclass(frozen=True)
class Entry:
    """What there is to know about a negative, beside its code.

    Attributes:
        cls: The module.
        family: What kind of structure it works on.
        breaks: What is wrong with its negatives.
        keeps: What its negatives share with the data.
        source: Where it was published.
    """

    cls: type[NegativeTransform]
    family: str
    breaks: str
    keeps: str
    source: str

    @property
    def word(self) -> str:
        """Its name in a policy string."""
        return word_of(self.cls)


_NDA = "Sinha et al., ICLR 2021"

ENTRIES: tuple[Entry, ...] = (
    Entry(transforms.Jigsaw, "patch", "layout of the image", "cells, and all statistics of pixels", _NDA),
    Entry(transforms.Stitch, "pair", "agreement of the two halves", "each half", _NDA),
    Entry(transforms.CutMix, "pair", "agreement of a box with its surroundings", "the inside and the outside", _NDA),
    Entry(transforms.Cutout, "region", "content of a box", "the rest, and the mean colour", _NDA),
    Entry(transforms.Mixup, "pair", "contrast, and that there is one scene", "spectrum and layout of both", _NDA),
)


def list_transforms() -> list[str]:
    """Return the policy words of all negatives, in the order of the registry.

    Example:
        >>> "jigsaw" in list_transforms()
        True
    """
    return [entry.word for entry in ENTRIES]
