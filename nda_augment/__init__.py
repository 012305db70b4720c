"""Negative data augmentation: tell a model what its data is not."""

from nda_augment import functional, losses, presets
from nda_augment._version import __version__
from nda_augment.policy import from_policy
from nda_augment.registry import list_transforms
from nda_augment.transforms import CutMix, Cutout, Jigsaw, Mixture, Mixup, NegativeTransform, Stitch

__all__ = [
    "CutMix",
    "Cutout",
    "Jigsaw",
    "Mixture",
    "Mixup",
    "NegativeTransform",
    "Stitch",
    "__version__",
    "from_policy",
    "functional",
    "list_transforms",
    "losses",
    "presets",
]
