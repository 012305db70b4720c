"""Images larger than a network was trained on: tiles that overlap, and maps put together from theirs."""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

_OVERLAP = 0.25
_PIXELS_AT_ONCE = 2**20


def in_tiles(look: Callable[[Tensor], Tensor], images: Tensor, tile: tuple[int, int]) -> Tensor:
    """Look at tiles of images and blend the maps, each pixel's nearest tile middle weighing most.

    Args:
        look: Images ``(N, C, h, w)`` to maps ``(N, 1, h, w)``.
        images: Images ``(B, C, H, W)``, no side shorter than that of a tile.
        tile: Height ``h`` and width ``w`` of a tile. Neighbours overlap by a quarter or more.

    Returns:
        Maps ``(B, 1, H, W)``.
    """
    (height, width), at_once = tile, max(1, _PIXELS_AT_ONCE // (tile[0] * tile[1]))
    total = images.new_zeros(len(images), 1, *images.shape[-2:])
    weights = torch.zeros_like(total[:1])
    weight = _ramp(height).unsqueeze(1) * _ramp(width)
    weight = weight.to(images)
    for top, left in places(images.shape[-2:], tile):
        window = (..., slice(top, top + height), slice(left, left + width))
        maps = torch.cat([look(some) for some in torch.split(images[window], at_once)])
        total[window] += weight * maps
        weights[window] += weight
    return total / weights


def places(size: tuple[int, ...], tile: tuple[int, int]) -> Iterator[tuple[int, int]]:
    """Upper left corners of tiles that cover an image, spread evenly."""
    rows, columns = (_starts(length, side) for length, side in zip(size, tile, strict=True))
    return ((top, left) for top in rows for left in columns)


def _starts(length: int, side: int) -> list[int]:
    step = max(1, round(side * (1 - _OVERLAP)))
    count = -(-(length - side) // step)
    return [round(number * (length - side) / max(count, 1)) for number in range(count + 1)]


def _ramp(length: int) -> Tensor:
    """From the border of a tile to its middle."""
    place = torch.arange(length) + 0.5
    return torch.minimum(place, length - place) / length
