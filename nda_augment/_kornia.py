"""Refuses a kornia that is too old, before a module that it lacks says so less clearly."""

import kornia
from torch.torch_version import TorchVersion

FLOOR = "0.9"


def check(version: str) -> None:
    """Raise ImportError, with the fix, if a version of kornia is below the floor; its pre-releases are."""
    if TorchVersion(version) < FLOOR:
        raise ImportError(
            f"nda_augment needs kornia {FLOOR} or later, found {version}, which hands transforms only a part of the "
            f'batch. Install it with: pip install --upgrade "kornia>={FLOOR},<0.10"'
        )


check(kornia.__version__)
