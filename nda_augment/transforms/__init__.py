"""kornia modules: a sampler, a kernel and its guarantee in each."""

from nda_augment.transforms.base import NegativeTransform
from nda_augment.transforms.mixture import Mixture
from nda_augment.transforms.pairs import CutMix, Mixup, Stitch
from nda_augment.transforms.patches import Jigsaw
from nda_augment.transforms.regions import Cutout

__all__ = ["CutMix", "Cutout", "Jigsaw", "Mixture", "Mixup", "NegativeTransform", "Stitch"]
