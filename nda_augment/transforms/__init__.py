"""kornia modules: a sampler, a kernel and its guarantee in each."""

from typing import TYPE_CHECKING

from nda_augment.transforms.as_negative import *
from nda_augment.transforms.base import *
from nda_augment.transforms.card import *
from nda_augment.transforms.clips import *
from nda_augment.transforms.corruptions import *
from nda_augment.transforms.filters import *
from nda_augment.transforms.generated import *
from nda_augment.transforms.geometry import *
from nda_augment.transforms.history import *
from nda_augment.transforms.labels import *
from nda_augment.transforms.learned import *
from nda_augment.transforms.mixture import *
from nda_augment.transforms.pairs import *
from nda_augment.transforms.partners import *
from nda_augment.transforms.patches import *
from nda_augment.transforms.random import *
from nda_augment.transforms.regions import *
from nda_augment.transforms.styles import *
from nda_augment.transforms.textures import *
from nda_augment.transforms.warps import *

if not TYPE_CHECKING:  # to a type checker the stars say it all, and a list that is computed would hide them
    __all__ = sorted(name for part in list(globals().values()) for name in getattr(part, "__all__", ()))
