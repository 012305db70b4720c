"""Kernels: images and explicit parameters in, negatives out. No randomness, no state.

Every kernel takes a batch ``(B, C, H, W)`` or clips ``(B, T, C, H, W)``, floating point or uint8, of any range, and
returns a new tensor of the same shape, dtype, device and memory format. Gradients flow to the images.
"""

from typing import TYPE_CHECKING

from nda_augment.functional.clips import *
from nda_augment.functional.fields import *
from nda_augment.functional.filters import *
from nda_augment.functional.geometry import *
from nda_augment.functional.labels import *
from nda_augment.functional.pairs import *
from nda_augment.functional.patches import *
from nda_augment.functional.regions import *
from nda_augment.functional.styles import *
from nda_augment.functional.textures import *
from nda_augment.functional.warps import *

if not TYPE_CHECKING:  # to a type checker the stars say it all, and a list that is computed would hide them
    __all__ = sorted(name for part in list(globals().values()) for name in getattr(part, "__all__", ()))
