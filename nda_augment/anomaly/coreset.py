"""A few points that lie near to all of many."""

import torch
from torch import Tensor


def k_center_greedy(points: Tensor, count: int, *, generator: torch.Generator | None = None) -> Tensor:
    """Choose points one by one, each the farthest from those chosen before: no point is far from all of them.

    The largest distance of a point to its nearest chosen one is at most twice what is possible (Gonzalez, 1985).

    Args:
        points: Points ``(N, D)``.
        count: Number of points to choose, 1 to ``N``.
        generator: Source of the first point.

    Returns:
        int64 ``(count,)``, places of the chosen points, in the order of their choice.

    Raises:
        ValueError: If there are not as many points.

    Example:
        >>> k_center_greedy(torch.tensor([[0.0], [0.1], [5.0], [9.0]]), 3).sort().values.tolist()[1:]
        [2, 3]

    Source: Sener and Savarese, Active Learning for Convolutional Neural Networks, ICLR 2018; for anomalies Roth et al.,
    PatchCore, CVPR 2022.
    """
    if points.ndim != 2 or not 1 <= count <= len(points):
        raise ValueError(f"count must be from 1 to the number of points, got {count} of {tuple(points.shape)}")
    chosen = torch.empty(count, dtype=torch.long, device=points.device)
    first = torch.randint(len(points), (1,), generator=generator)
    chosen[0] = first.to(points.device)
    squares = points.square().sum(dim=1)
    distance = torch.full_like(squares, float("inf"))
    for place in range(1, count):
        last = points[chosen[place - 1]]
        distance = torch.minimum(distance, squares - 2 * (points @ last) + last.square().sum())
        chosen[place] = distance.argmax()
    return chosen
