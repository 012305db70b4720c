"""The one list of all negatives: policies, docs, gallery, benchmarks and tests read it."""

from dataclasses import dataclass

from nda_augment import transforms
from nda_augment._policy_syntax import word_of
from nda_augment.transforms.base import NegativeTransform


@dataclass(frozen=True)
class Entry:
    """What there is to know about a negative, beside its code.

    Attributes:
        cls: The module.
        family: What kind of structure it works on.
        breaks: What is wrong with its negatives.
        keeps: What its negatives share with the data.
        guarantee: What makes it differ from its source, by construction.
        source: Where it was published.
    """

    cls: type[NegativeTransform]
    family: str
    breaks: str
    keeps: str
    guarantee: str
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
    Entry(
        transforms.Jigsaw,
        family="patch",
        breaks="layout of the image",
        keeps="cells, and all statistics of pixels",
        guarantee="the permutation is not the identity",
        source=_NDA,
    ),
    Entry(
        transforms.Stitch,
        family="pair",
        breaks="agreement of the two halves",
        keeps="each half",
        guarantee="the partner is another image",
        source=_NDA,
    ),
    Entry(
        transforms.CutMix,
        family="pair",
        breaks="agreement of a box with its surroundings",
        keeps="the inside and the outside",
        guarantee="the partner is another image, the box is not empty",
        source=_NDA,
    ),
    Entry(
        transforms.Cutout,
        family="region",
        breaks="content of a box",
        keeps="the rest, and the mean colour",
        guarantee="the box is not empty",
        source=_NDA,
    ),
    Entry(
        transforms.Mixup,
        family="pair",
        breaks="contrast, and that there is one scene",
        keeps="spectrum and layout of both",
        guarantee="the partner is another image and has a weight",
        source=_NDA,
    ),
    Entry(
        transforms.PatchShuffle,
        family="patch",
        breaks="layout, down to small parts",
        keeps="texture within small cells",
        guarantee="the permutation is not the identity",
        source=_QIN,
    ),
    Entry(
        transforms.PatchRotate,
        family="patch",
        breaks="orientation of every cell",
        keeps="place and content of the cells",
        guarantee="no cell is left unturned",
        source=_QIN,
    ),
    Entry(
        transforms.PatchInfill,
        family="patch",
        breaks="the centre of the image",
        keeps="its border",
        guarantee="the centre comes from the border",
        source=_QIN,
    ),
    Entry(
        transforms.CutPerm,
        family="patch",
        breaks="order of the halves",
        keeps="quarters, and most of the layout",
        guarantee="one of three swaps is made",
        source="Tack et al., CSI, 2020",
    ),
    Entry(
        transforms.CrossPatchShuffle,
        family="patch",
        breaks="one scene, and its layout",
        keeps="cells of real images",
        guarantee="cells are foreign, places not the identity",
        source="after Panda, 2026",
    ),
    Entry(
        transforms.CutPaste,
        family="region",
        breaks="a small box",
        keeps="everything else, and all textures",
        guarantee="the copy comes from another place",
        source=_CUTPASTE,
    ),
    Entry(
        transforms.CutPasteScar,
        family="region",
        breaks="a thin strip",
        keeps="everything else, and all textures",
        guarantee="the copy comes from another place",
        source=_CUTPASTE,
    ),
    Entry(
        transforms.CutPasteForeign,
        family="region",
        breaks="a small box, foreign in content",
        keeps="everything else",
        guarantee="the partner is another image, the box is not empty",
        source=f"after {_CUTPASTE}",
    ),
    Entry(
        transforms.PerlinBlend,
        family="region",
        breaks="islands of irregular outline",
        keeps="everything else",
        guarantee="the partner is another image, islands cover 2 % at least",
        source="Zavrtanik et al., DRAEM, 2021",
    ),
    Entry(
        transforms.PatchTile,
        family="texture",
        breaks="all structure beyond a tile",
        keeps="texture within the tiles",
        guarantee="the first tile shows another place",
        source="Ge et al., 2021",
    ),
    Entry(
        transforms.TextureResample,
        family="texture",
        breaks="all structure, without seams",
        keeps="texture",
        guarantee="the first window shows another place",
        source="after Heitz and Neyret, 2018",
    ),
    Entry(
        transforms.Rotate90,
        family="geometry",
        breaks="the upright position",
        keeps="everything else",
        guarantee="the turn is not zero",
        source="Gidaris et al., 2018",
    ),
    Entry(
        transforms.Roll,
        family="geometry",
        breaks="place, and continuity at the seams",
        keeps="everything else",
        guarantee="the shift is not zero",
        source=f"after the code of {_NDA}",
    ),
    Entry(
        transforms.Flip,
        family="geometry",
        breaks="the upright position",
        keeps="everything else",
        guarantee="the direction is fixed",
        source=_NDA,
    ),
    Entry(
        transforms.RandomFieldWarp,
        family="field",
        breaks="shape and neighbourhood",
        keeps="local colours",
        guarantee="with probability one, not by construction",
        source=_FIELDS,
    ),
    Entry(
        transforms.RandomFieldColor,
        family="field",
        breaks="agreement of colours across the image",
        keeps="shape",
        guarantee="with probability one, not by construction",
        source=_FIELDS,
    ),
    Entry(
        transforms.FrameShuffle,
        family="clip",
        breaks="order of the frames",
        keeps="every frame",
        guarantee="the permutation is not the identity",
        source="Misra et al., 2016",
    ),
    Entry(
        transforms.FrameReverse,
        family="clip",
        breaks="the arrow of time",
        keeps="all frames and neighbours",
        guarantee="there are two frames at least",
        source="Wei et al., 2018",
    ),
    Entry(
        transforms.ClipStitch,
        family="clip",
        breaks="that there is one scene",
        keeps="each half",
        guarantee="the partner is another clip",
        source=f"after {_NDA}",
    ),
)


def list_transforms() -> list[str]:
    """Return the policy words of all negatives, in the order of the registry.

    Example:
        >>> "jigsaw" in list_transforms()
        True
    """
    return [entry.word for entry in ENTRIES]
