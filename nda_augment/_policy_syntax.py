"""How transforms and their arguments are written in a policy string and read back."""

import re
from typing import Any

_NUMBER = r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?"
_RANGE = re.compile(rf"({_NUMBER})\s*-\s*({_NUMBER})")
_GRID = re.compile(r"(\d+)\s*[xX]\s*(\d+)")
# No argument is longer; a pattern that meets thousands of digits takes seconds, and Python refuses to read them.
_LONGEST = 1_000
_CONSTANTS = {"true": True, "false": False, "none": None}


def normalise(word: str) -> str:
    """Return a word as policies compare it: case, underscores and hyphens do not count."""
    return word.strip().lower().replace("_", "").replace("-", "")


def format_value(value: Any) -> str:
    """Write an argument: ``2x3`` for a grid, ``0.3-0.5`` for a range, ``0.1/0.2/0.3`` for other tuples."""
    if isinstance(value, bool) or value is None:
        return str(value).lower()
    if isinstance(value, tuple):
        if len(value) == 2 and all(isinstance(part, int) for part in value):
            return f"{value[0]}x{value[1]}"
        return ("-" if len(value) == 2 else "/").join(repr(part) for part in value)
    return value if isinstance(value, str) else repr(value)


def short_value(value: Any) -> str:
    """Write an argument for people: as ``format_value`` does, with three digits of a number."""
    return format_value(_rounded(value))


def _rounded(value: Any) -> Any:
    if isinstance(value, tuple):
        return tuple(_rounded(part) for part in value)
    return float(f"{value:.3g}") if isinstance(value, float) else value


def parse_value(text: str) -> Any:
    """Read an argument as ``format_value`` writes it; what is not a number is a word."""
    text = text.strip()
    if len(text) > _LONGEST:
        raise ValueError(f"an argument has at most {_LONGEST} characters, got {len(text)}: {text[:20]}...")
    if text.lower() in _CONSTANTS:
        return _CONSTANTS[text.lower()]
    if match := _GRID.fullmatch(text):
        return int(match[1]), int(match[2])
    if match := _RANGE.fullmatch(text):
        return _number(match[1]), _number(match[2])
    if "/" in text and all(re.fullmatch(_NUMBER, part.strip()) for part in text.split("/")):
        return tuple(float(part) for part in text.split("/"))
    return _number(text) if re.fullmatch(_NUMBER, text) else text


def _number(text: str) -> int | float:
    return int(text) if re.fullmatch(r"[+-]?\d+", text) else float(text)
