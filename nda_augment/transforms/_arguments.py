"""Constructor arguments, checked at the door."""

import math
from typing import TypeVar

T = TypeVar("T")


def as_fractions(value: tuple[float, float] | float, name: str) -> tuple[float, float]:
    """Return a range of fractions in (0, 1]; a single number is a range of one value."""
    low, high = as_numbers(value, name)
    if not 0.0 < low <= high <= 1.0:
        raise ValueError(f"{name} must be a fraction or a range of fractions 0 < low <= high <= 1, got {value}")
    return low, high


def as_positive(value: tuple[float, float] | float, name: str) -> tuple[float, float]:
    """Return a range of positive numbers; a single number is a range of one value."""
    low, high = as_numbers(value, name)
    if not 0.0 < low <= high:
        raise ValueError(f"{name} must be a positive number or a range 0 < low <= high, got {value}")
    return low, high


def as_numbers(value: tuple[float, float] | float, name: str) -> tuple[float, float]:
    """Return a range of finite numbers as two floats."""
    low, high = (value, value) if isinstance(value, (int, float)) else value
    if not (math.isfinite(low) and math.isfinite(high)):
        raise ValueError(f"{name} must be finite, got {value}")
    return float(low), float(high)


def as_grid(value: tuple[int, int] | int) -> tuple[int, int]:
    """Return (rows, columns) of at least two cells; a single number is a square grid."""
    rows, cols = (value, value) if isinstance(value, int) else value
    if not (isinstance(rows, int) and isinstance(cols, int)) or rows < 1 or cols < 1 or rows * cols < 2:
        raise ValueError(f"grid must be whole numbers (rows, columns) with at least two cells, got {value}")
    return rows, cols


def as_share(value: float, name: str) -> float:
    """Return a number in [0, 1]."""
    if not 0.0 <= value <= 1.0:
        raise ValueError(f"{name} must be in [0, 1], got {value}")
    return float(value)


def one_of(value: T, known: tuple[T, ...], name: str) -> T:
    """Return a value that must be one of a few."""
    if value not in known:
        raise ValueError(f"{name} must be one of {', '.join(map(repr, known))}, got {value!r}")
    return value
