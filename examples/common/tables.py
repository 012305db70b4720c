"""Numbers of several runs, side by side in Markdown."""

import math
import statistics
from collections.abc import Iterable, Sequence

from scipy import stats


def spread(values: Sequence[float], digits: int = 2, sign: str = "") -> str:
    """Mean ± sample standard deviation; the mean alone of a single value, and nothing of none."""
    if not values:
        return ""
    mean = f"{statistics.mean(values):{sign}.{digits}f}"
    return f"{mean} ± {statistics.stdev(values):.{digits}f}" if len(values) > 1 else mean


def interval(values: Sequence[float], level: float = 0.95) -> tuple[float, float]:
    """Student's interval of the mean of a few values; infinite of a single one."""
    if len(values) < 2:
        return -math.inf, math.inf
    half = stats.t.ppf((1 + level) / 2, len(values) - 1) * statistics.stdev(values) / math.sqrt(len(values))
    return statistics.mean(values) - half, statistics.mean(values) + half


def markdown(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table with a line for each row."""
    lines = [" | ".join(cells) for cells in (head, *rows)]
    return "\n".join([f"| {lines[0]} |", "|" + "---|" * len(head), *(f"| {line} |" for line in lines[1:])]) + "\n"
