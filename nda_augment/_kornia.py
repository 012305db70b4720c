"""Refuses a kornia that is too old, before a module that it lacks says so less clearly."""

import re

import kornia

FLOOR = "0.9"


def check(version: str) -> None:
    """Raise ImportError, with the fix, if a version of kornia is below the floor."""
    if _numbers(version) < _numbers(FLOOR):
        raise ImportError(
            f"nda_augment needs kornia {FLOOR} or later, found {version}, which hands transforms only a part of the "
            f'batch. Install it with: pip install --upgrade "kornia>={FLOOR},<0.10"'
        )


def _numbers(version: str) -> tuple[int, int]:
    major, minor = re.findall(r"\d+", version)[:2]
    return int(major), int(minor)


check(kornia.__version__)
