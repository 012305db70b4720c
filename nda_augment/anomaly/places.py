"""What heat maps of normal images have in common: parts that lie alike look suspicious at the same places."""

from collections.abc import Iterable

import torch
from torch import Tensor


def usual_map(maps: Iterable[Tensor], region: Tensor | None = None) -> Tensor:
    """How much higher or lower than elsewhere the heat maps of normal images are at each place.

    The mean map, shrunk by as much of its spread as would come of chance: to what the border does for surfaces that
    are the same everywhere, hardly at all for parts that lie alike. The level of each map does not count.

    Source: James and Stein, Estimation with Quadratic Loss, 1961; the factor is its positive part.

    Args:
        maps: Heat maps ``(B, 1, H, W)`` of normal images, batch by batch.
        region: Region that alone is looked at, bool ``(H, W)``; outside nothing is usual.

    Returns:
        ``(1, 1, H, W)`` with a mean of zero, float32, on the CPU.

    Raises:
        ValueError: If there are no maps, or they are not ``(B, 1, H, W)``, all of one size.

    Example:
        >>> bright_in_the_middle = torch.tensor([0.0, 3.0, 0.0]).expand(8, 1, 1, 3)
        >>> usual_map([bright_in_the_middle]).flatten().tolist()
        [-1.0, 2.0, -1.0]
    """
    count, size, total, squares = 0, None, torch.zeros(()), torch.zeros(())
    for some in maps:
        size = size or some.shape[-2:]
        if some.ndim != 4 or some.shape[1:] != (1, *size):
            raise ValueError(f"heat maps must be (B, 1, H, W), all of one size, got {tuple(some.shape)}")
        values = some.detach().cpu().double()  # not every device has it
        places = values.flatten(1) if region is None else values[:, 0, region.cpu()]
        apart = places - places.mean(dim=1, keepdim=True)
        count, total, squares = count + len(apart), total + apart.sum(dim=0), squares + apart.square().sum(dim=0)
    if size is None:
        raise ValueError("there are no heat maps to tell from what is usual")
    mean = total / count
    spread = mean.square().sum() / max(len(mean) - 1, 1)
    by_chance = (squares / count - mean.square()).clamp(min=0).mean() / max(count - 1, 1)
    kept = (1 - by_chance / spread).clamp(min=0) if count > 1 and spread > 0 else 0.0
    usual = torch.zeros(size, dtype=mean.dtype)
    usual[slice(None) if region is None else region.cpu()] = (kept * mean).view(size if region is None else (-1,))
    return usual.view(1, 1, *size).float()
