"""Kernels: images and explicit parameters in, negatives out. No randomness, no state.

Every kernel takes a batch ``(B, C, H, W)`` or clips ``(B, T, C, H, W)``, floating point or uint8, of any range, and
returns a new tensor of the same shape, dtype, device and memory format. Gradients flow to the images.
"""

from nda_augment.functional.pairs import cutmix, mixup, stitch
from nda_augment.functional.patches import jigsaw
from nda_augment.functional.regions import cutout

__all__ = ["cutmix", "cutout", "jigsaw", "mixup", "stitch"]
