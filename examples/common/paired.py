"""How far two arms are apart, and how far apart they would have to be to be told apart, from pairs of runs."""

import math
import statistics
from collections.abc import Sequence

import torch
from torch import Tensor

from examples.common.randomness import generator


def bootstrap(differences: Tensor, draws: int = 10_000) -> tuple[float, float]:
    """The 95 % interval of a mean difference over runs and over what they were tested on.

    Both are drawn anew: which seeds there were, and which test images, the same ones for all seeds.

    Args:
        differences: ``(seeds, images)``: an image is right in one arm (1), in the other (−1), or in both or none (0).
        draws: How many times.

    Returns:
        The ends of the interval.
    """
    source = generator(0, "bootstrap")
    seeds, images = differences.shape
    means = []
    for _ in range(draws):
        rows, columns = (torch.randint(count, (count,), generator=source) for count in (seeds, images))
        weights = torch.bincount(columns, minlength=images) / images
        means.append((differences[rows].mean(dim=0) * weights).sum())
    low, high = torch.stack(means).quantile(torch.tensor([0.025, 0.975], dtype=differences.dtype)).tolist()
    return low, high


def smallest_effect(differences: Sequence[float], seeds: int) -> float:
    """The mean difference from which on the 95 % interval of that many seeds leaves out 0.

    Args:
        differences: Of pairs of runs: what their standard deviation is taken from.
        seeds: How many pairs will be run.
    """
    from scipy.stats import t

    quantile: float = t.ppf(0.975, seeds - 1)
    return quantile * statistics.stdev(differences) / math.sqrt(seeds)
