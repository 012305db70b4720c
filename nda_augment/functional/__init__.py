"""Kernels: images and explicit parameters in, negatives out. No randomness, no state.

Every kernel takes a batch ``(B, C, H, W)`` or clips ``(B, T, C, H, W)``, floating point or uint8, of any range, and
returns a new tensor of the same shape, dtype, device and memory format. Gradients flow to the images.
"""

from nda_augment.functional.clips import clip_stitch, frame_reverse, frame_shuffle
from nda_augment.functional.fields import gaussian_field, gaussian_field_nodes, perlin_noise
from nda_augment.functional.geometry import flip, roll, rotate90
from nda_augment.functional.labels import other_class
from nda_augment.functional.pairs import cutmix, mixup, stitch
from nda_augment.functional.patches import cross_patch_shuffle, jigsaw, patch_infill, patch_rotate
from nda_augment.functional.regions import cut_paste, cut_paste_foreign, cut_paste_scar, cutout, perlin_blend
from nda_augment.functional.textures import patch_tile, texture_resample
from nda_augment.functional.warps import field_color, field_warp

__all__ = [
    "clip_stitch",
    "cross_patch_shuffle",
    "cut_paste",
    "cut_paste_foreign",
    "cut_paste_scar",
    "cutmix",
    "cutout",
    "field_color",
    "field_warp",
    "flip",
    "frame_reverse",
    "frame_shuffle",
    "gaussian_field",
    "gaussian_field_nodes",
    "jigsaw",
    "mixup",
    "other_class",
    "patch_infill",
    "patch_rotate",
    "patch_tile",
    "perlin_blend",
    "perlin_noise",
    "roll",
    "rotate90",
    "stitch",
    "texture_resample",
]
