"""What heat maps of normal images have in common: parts that lie alike look suspicious at the same places."""

from collections.abc import Iterable

import torch
from torch import Tensor


def usual_map(maps: Iterable[Tensor]) -> Tensor:
    """How much higher or lower than elsewhere the heat maps of normal images are at each place.

    The mean map, less its own mean, and shrunk by as much of its spread as would come of chance: to nothing for
    surfaces that are the same everywhere, hardly at all for parts that lie alike.

    Source: James and Stein, Estimation with Quadratic Loss, 1961; the factor is its positive part.

    Args:
        maps: Heat maps ``(B, 1, H, W)`` of normal images, batch by batch.

    Returns:
        ``(1, 1, H, W)`` with a mean of zero, float32, on the CPU.

    Raises:
        ValueError: If there are no maps.

    Example:
        >>> bright_in_the_middle = torch.tensor([0.0, 3.0, 0.0]).expand(8, 1, 1, 3)
        >>> usual_map([bright_in_the_middle]).flatten().tolist()
        [-1.0, 2.0, -1.0]
    """
    count, total, squares = 0, torch.zeros(()), torch.zeros(())
    for some in maps:
        values = some.cpu().double()  # not every device has it
        count += len(values)
        total = total + values.sum(dim=0, keepdim=True)
        squares = squares + values.square().sum(dim=0, keepdim=True)
    if not count:
        raise ValueError("there are no heat maps to tell from what is usual")
    mean = total / count
    apart = mean - mean.mean()
    spread = apart.square().sum() / max(apart.numel() - 1, 1)
    if count == 1 or spread == 0:
        return torch.zeros_like(mean).float()
    by_chance = (squares / count - mean.square()).clamp(min=0).mean() / (count - 1)
    return (apart * (1 - by_chance / spread).clamp(min=0)).float()
