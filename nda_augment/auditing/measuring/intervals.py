"""95 % confidence intervals of shares and of any statistic of a set of images."""

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from nda_augment.auditing.report import Estimate

_Z = 1.959964
# Two-sided 95 % quantiles of Student's t with 1 to 9 degrees of freedom.
_T = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262)
MOST_GROUPS = len(_T) + 1


def share(successes: Tensor) -> Estimate:
    """Estimate a probability from independent trials, with Wilson's interval, which holds at 0 and 1 too.

    Args:
        successes: Outcomes ``(n,)``, each in [0, 1]. A fraction is the mean of several tries on one image. They count
            as more than one trial as far as they vary less than one would, but as no more than two.

    Returns:
        The mean and its interval.

    Example:
        >>> import torch
        >>> print(share(torch.ones(20)))
        1.00 [0.84, 1.00]
    """
    n = len(successes)
    values = successes.double()
    mean, variance = float(values.mean()), float(values.var())
    trials = n if variance == 0 else n * min(2.0, max(1.0, mean * (1 - mean) / variance))
    centre = (mean + _Z**2 / (2 * trials)) / (1 + _Z**2 / trials)
    half = _Z / (1 + _Z**2 / trials) * math.sqrt(mean * (1 - mean) / trials + _Z**2 / (4 * trials**2))
    return Estimate(mean, min(max(0.0, centre - half), mean), max(min(1.0, centre + half), mean), n)


def leave_one_out(groups: Tensor) -> list[Tensor]:
    """Return bool masks ``(n,)``: of all images, then of all but those of group 0, of group 1 and so on."""
    masks = [groups != group for group in range(int(groups.max()) + 1)]
    return [torch.ones_like(groups, dtype=torch.bool), *masks]


def jackknife(numbers: Sequence[Mapping[str, float]], n: int) -> dict[str, Estimate]:
    """Estimate any statistics of a set of images, with the intervals of the delete-a-group jackknife.

    Unlike the bootstrap it repeats no image, which statistics of nearest neighbours would take for a cluster.

    Source: Kott, "The Delete-a-Group Jackknife", Journal of Official Statistics 17, 2001.

    Args:
        numbers: Statistics by name, for each mask of :func:`leave_one_out`; 2 to 10 groups.
        n: Number of images.

    Returns:
        The numbers of all images, and their intervals.

    Example:
        >>> import torch
        >>> values = torch.arange(20.0)
        >>> masks = leave_one_out(torch.arange(20) % 5)
        >>> print(jackknife([{"mean": float(values[mask].mean())} for mask in masks], n=20)["mean"])
        9.50 [7.54, 11.46]
    """
    whole, *partial = numbers
    groups = len(partial)
    estimates = {}
    for name, value in whole.items():
        without = torch.tensor([values[name] for values in partial], dtype=torch.float64)
        variance = (groups - 1) / groups * float((without - without.mean()).square().sum())
        half = _T[groups - 2] * math.sqrt(variance)
        estimates[name] = Estimate(value, value - half, value + half, n)
    return estimates
