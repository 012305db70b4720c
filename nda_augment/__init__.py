"""Negative data augmentation: tell a model what its data is not."""

from typing import TYPE_CHECKING

from nda_augment import _kornia as _kornia
from nda_augment import functional as functional
from nda_augment import guidance as guidance
from nda_augment import losses as losses
from nda_augment import metrics as metrics
from nda_augment import presets as presets
from nda_augment import transforms
from nda_augment._version import __version__ as __version__
from nda_augment.auditing import audit as audit
from nda_augment.auditing import auto_policy as auto_policy
from nda_augment.batch_norm import frozen_batch_norm_stats as frozen_batch_norm_stats
from nda_augment.policy import from_policy as from_policy
from nda_augment.registry import list_transforms as list_transforms
from nda_augment.schedules import AdaptiveWeight as AdaptiveWeight
from nda_augment.schedules import Schedule as Schedule
from nda_augment.transforms import *

if not TYPE_CHECKING:  # to a type checker the imports say it all, and a list that is computed would hide them
    __all__ = sorted(
        [
            "AdaptiveWeight",
            "Schedule",
            "__version__",
            "audit",
            "auto_policy",
            "from_policy",
            "frozen_batch_norm_stats",
            "functional",
            "guidance",
            "list_transforms",
            "losses",
            "metrics",
            "presets",
            *transforms.__all__,
        ]
    )
