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


_NDA = "Sinha et al., 2021"
_QIN = "Qin et al., 2021"
_CUTPASTE = "Li et al., CutPaste, 2021"
_FIELDS = "inspired by Mansfield et al., 2023"

ENTRIES: tuple[Entry, ...] = (
    Entry(transforms.Jigsaw, "patch", "layout of the image", "cells, and all statistics of pixels", _NDA),
    Entry(transforms.Stitch, "pair", "agreement of the two halves", "each half", _NDA),
    Entry(transforms.CutMix, "pair", "agreement of a box with its surroundings", "the inside and the outside", _NDA),
    Entry(transforms.Cutout, "region", "content of a box", "the rest, and the mean colour", _NDA),
    Entry(transforms.Mixup, "pair", "contrast, and that there is one scene", "spectrum and layout of both", _NDA),
    Entry(transforms.PatchShuffle, "patch", "layout, down to small parts", "texture within small cells", _QIN),
    Entry(transforms.PatchRotate, "patch", "orientation of every cell", "place and content of the cells", _QIN),
    Entry(transforms.PatchInfill, "patch", "the centre of the image", "its border", _QIN),
    Entry(
        transforms.CutPerm, "patch", "order of the halves", "quarters, and most of the layout", "Tack et al., CSI, 2020"
    ),
    Entry(
        transforms.CrossPatchShuffle, "patch", "one scene, and its layout", "cells of real images", "after Panda, 2026"
    ),
    Entry(transforms.CutPaste, "region", "a small box", "everything else, and all textures", _CUTPASTE),
    Entry(transforms.CutPasteScar, "region", "a thin strip", "everything else, and all textures", _CUTPASTE),
    Entry(
        transforms.CutPasteForeign, "region", "a small box, foreign in content", "everything else", f"after {_CUTPASTE}"
    ),
    Entry(
        transforms.PerlinBlend,
        "region",
        "islands of irregular outline",
        "everything else",
        "Zavrtanik et al., DRAEM, 2021",
    ),
    Entry(
        transforms.PatchTile, "texture", "all structure beyond a tile", "texture within the tiles", "Ge et al., 2021"
    ),
    Entry(
        transforms.TextureResample, "texture", "all structure, without seams", "texture", "after Heitz and Neyret, 2018"
    ),
    Entry(transforms.Rotate90, "geometry", "the upright position", "everything else", "Gidaris et al., 2018"),
    Entry(
        transforms.Roll,
        "geometry",
        "place, and continuity at the seams",
        "everything else",
        f"after the code of {_NDA}",
    ),
    Entry(transforms.Flip, "geometry", "the upright position", "everything else", _NDA),
    Entry(transforms.RandomFieldWarp, "field", "shape and neighbourhood", "local colours", _FIELDS),
    Entry(transforms.RandomFieldColor, "field", "agreement of colours across the image", "shape", _FIELDS),
    Entry(transforms.FrameShuffle, "clip", "order of the frames", "every frame", "Misra et al., 2016"),
    Entry(transforms.FrameReverse, "clip", "the arrow of time", "all frames and neighbours", "Wei et al., 2018"),
    Entry(transforms.ClipStitch, "clip", "that there is one scene", "each half", f"after {_NDA}"),
)


def list_transforms() -> list[str]:
    """Return the policy words of all negatives, in the order of the registry.

    Example:
        >>> "jigsaw" in list_transforms()
        True
    """
    return [entry.word for entry in ENTRIES]
