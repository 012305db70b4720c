"""Shifts: negatives that a detector applies one by one, each its own class, when it learns and when it scores.

Any list of negatives can be a bank of shifts. These are the ones of the literature, without randomness where that is
possible: Tack et al., CSI, NeurIPS 2020, tried all but the corruptions.
"""

from collections.abc import Callable

from nda_augment.transforms import Blur, Corruption, NegativeTransform, Noise, Sobel, Swap, Turn
from nda_augment.transforms.corruptions import CorruptionKind

_CORRUPTIONS: tuple[CorruptionKind, ...] = ("noise", "blur", "pixelate", "jpeg", "brightness", "contrast")


def rotations() -> list[NegativeTransform]:
    """The three turns that leave a square image square: CSI's and UniCon-HA's own choice.

    Example:
        >>> len(rotations())
        3
    """
    return [Turn(turns) for turns in (1, 2, 3)]


def cut_perms() -> list[NegativeTransform]:
    """The three swaps of halves.

    Example:
        >>> len(cut_perms())
        3
    """
    return [Swap(swap) for swap in (1, 2, 3)]


def corruptions(severity: int = 5) -> list[NegativeTransform]:
    """Noise, blur, pixelation, JPEG, brightness and contrast, of images in [0, 1] with one channel or three.

    Args:
        severity: Severity of all of them, from 1 to 5.

    Example:
        >>> len(corruptions())
        6
    """
    return [Corruption(kind, severity) for kind in _CORRUPTIONS]


BANKS: dict[str, Callable[[], list[NegativeTransform]]] = {
    "rotation": rotations,
    "cut_perm": cut_perms,
    "noise": lambda: [Noise()],
    "blur": lambda: [Blur()],
    "sobel": lambda: [Sobel()],
    "corruption": corruptions,
}
"""The ready banks by name; each call builds a new list."""
