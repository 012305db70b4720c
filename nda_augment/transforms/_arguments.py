"""Constructor arguments, checked at the door."""

import math
from numbers import Integral, Real
from typing import Any, TypeVar

from nda_augment._words import check_word

T = TypeVar("T")


def as_fractions(value: Any, name: str) -> tuple[float, float]:
    """Return a range of fractions in (0, 1]; a single number is a range of one value."""
    return _as_range(value, name, "a fraction or a range of fractions 0 < low <= high <= 1", 0.0, 1.0)


def as_positive_range(value: Any, name: str) -> tuple[float, float]:
    """Return a range of positive numbers; a single number is a range of one value."""
    return _as_range(value, name, "a positive number or a range 0 < low <= high", 0.0, math.inf)


def as_range(value: Any, name: str) -> tuple[float, float]:
    """Return a range of finite numbers; a single number is a range of one value."""
    return _as_range(value, name, "a number or a range low <= high, and finite", -math.inf, math.inf)


def as_grid(value: Any, name: str = "grid") -> tuple[int, int]:
    """Return (rows, columns) of at least two cells; a single number is a square grid."""
    rows, cols = value if _is_pair(value) else (value, value)
    if not (_is_whole(rows) and _is_whole(cols)) or rows < 1 or cols < 1 or rows * cols < 2:
        raise ValueError(f"{name} must be whole numbers (rows, columns) with at least two cells, got {value!r}")
    return int(rows), int(cols)


def as_whole_range(value: Any, name: str) -> tuple[int, int]:
    """Return a range of whole numbers from 0."""
    if not _is_pair(value) or not all(map(_is_whole, value)) or not 0 <= value[0] <= value[1]:
        raise ValueError(f"{name} must be whole numbers 0 <= low <= high, got {value!r}")
    return int(value[0]), int(value[1])


def as_whole(value: Any, name: str) -> int:
    """Return a whole number from 0."""
    if not _is_whole(value) or value < 0:
        raise ValueError(f"{name} must be a whole number from 0 on, got {value!r}")
    return int(value)


def as_share(value: Any, name: str, wanted: str = "in [0, 1]") -> float:
    """Return a number in [0, 1]."""
    if not _is_number(value) or not 0.0 <= value <= 1.0:
        raise ValueError(f"{name} must be {wanted}, got {value!r}")
    return float(value)


def as_positive(value: Any, name: str) -> float:
    """Return a finite number above 0."""
    if not _is_number(value) or not 0.0 < value < math.inf:
        raise ValueError(f"{name} must be positive and finite, got {value!r}")
    return float(value)


def as_deviation(value: Any, name: str) -> float:
    """Return a standard deviation: a finite number that is not negative."""
    if not _is_number(value) or not 0.0 <= value < math.inf:
        raise ValueError(f"{name} must be finite and not negative, got {value!r}")
    return float(value)


def as_finite(value: Any, name: str) -> float:
    """Return a finite number."""
    if not _is_number(value) or not math.isfinite(value):
        raise ValueError(f"{name} must be a finite number, got {value!r}")
    return float(value)


def as_flag(value: Any, name: str) -> bool:
    """Return a truth value, which no number stands for."""
    if not isinstance(value, bool):
        raise ValueError(f"{name} must be True or False, got {value!r}")
    return value


def one_of(value: T, known: tuple[T, ...], name: str) -> T:
    """Return a value that must be one of a few."""
    check_word(name, value, known)
    return value


def _as_range(value: Any, name: str, wanted: str, above: float, most: float) -> tuple[float, float]:
    low, high = value if _is_pair(value) else (value, value)
    if not (_is_number(low) and _is_number(high)) or not above < low <= high <= most or not math.isfinite(high):
        raise ValueError(f"{name} must be {wanted}, got {value!r}")
    return float(low), float(high)


def _is_pair(value: Any) -> bool:
    return isinstance(value, (tuple, list)) and len(value) == 2


def _is_number(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)


def _is_whole(value: Any) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool)
