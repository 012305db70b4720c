"""kornia modules: a sampler, a kernel and its guarantee in each."""

from nda_augment.transforms.as_negative import AsNegative
from nda_augment.transforms.base import NegativeTransform
from nda_augment.transforms.clips import ClipStitch, FrameReverse, FrameShuffle
from nda_augment.transforms.geometry import Flip, Roll, Rotate90
from nda_augment.transforms.labels import OtherClass
from nda_augment.transforms.mixture import Mixture
from nda_augment.transforms.pairs import CutMix, Mixup, Stitch
from nda_augment.transforms.partners import PairTransform
from nda_augment.transforms.patches import CrossPatchShuffle, CutPerm, Jigsaw, PatchInfill, PatchRotate, PatchShuffle
from nda_augment.transforms.regions import Cutout, CutPaste, CutPasteForeign, CutPasteScar, PerlinBlend
from nda_augment.transforms.textures import PatchTile, TextureResample
from nda_augment.transforms.warps import RandomFieldColor, RandomFieldWarp

__all__ = [
    "AsNegative",
    "ClipStitch",
    "CrossPatchShuffle",
    "CutMix",
    "CutPaste",
    "CutPasteForeign",
    "CutPasteScar",
    "CutPerm",
    "Cutout",
    "Flip",
    "FrameReverse",
    "FrameShuffle",
    "Jigsaw",
    "Mixture",
    "Mixup",
    "NegativeTransform",
    "OtherClass",
    "PairTransform",
    "PatchInfill",
    "PatchRotate",
    "PatchShuffle",
    "PatchTile",
    "PerlinBlend",
    "RandomFieldColor",
    "RandomFieldWarp",
    "Roll",
    "Rotate90",
    "Stitch",
    "TextureResample",
]
