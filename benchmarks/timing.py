"""Time functions side by side: one call of each in turn, many rounds, medians."""

import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any

import torch


def interleaved(
    functions: Mapping[str, Callable[[], Any]],
    rounds: int = 15,
    calls: int = 1,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, list[float]]:
    """Return the seconds of each function in each round.

    The functions take turns, so that a busy moment of a shared machine hits all of them; compare with :func:`ratio`.
    With ``time.process_time`` as the clock, what others do on the machine is not counted at all.
    """
    for function in functions.values():
        function()
    seconds: dict[str, list[float]] = {name: [] for name in functions}
    for _ in range(rounds):
        for name, function in functions.items():
            _wait()
            start = clock()
            for _ in range(calls):
                function()
            _wait()
            seconds[name].append((clock() - start) / calls)
    return seconds


def ratio(seconds: Mapping[str, list[float]], of: str, to: str) -> float:
    """Return the median over the rounds of one function's time over another's in the same round."""
    return statistics.median(a / b for a, b in zip(seconds[of], seconds[to], strict=True))


def median_ms(seconds: Mapping[str, list[float]], of: str) -> float:
    """Return the median time of a function in milliseconds."""
    return statistics.median(seconds[of]) * 1e3


def _wait() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
