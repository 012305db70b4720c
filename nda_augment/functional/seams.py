"""Where and how hard the parts of a negative meet: cells that blend into each other, halves that fade in."""

import torch
from torch import Tensor

from nda_augment.functional._layout import pick, size_of
from nda_augment.functional._precision import to_dtype, working_dtype


def feathered_cells(
    planes: Tensor, permutation: Tensor, grid: tuple[int, int], feather: float, *, wrap: bool
) -> Tensor:
    """Put the cells of planes together in another order, each blended into its neighbours along their seam.

    A cell reaches beyond its border with what lies there in the image, and gives way over ``feather`` times half its
    side to either side of the seam; on the seam both count one half.

    Args:
        planes: Images as planes, ``(B, P, H, W, S)``.
        permutation: int64 ``(B, rows * cols)``, as for :func:`~nda_augment.functional.jigsaw`.
        grid: Rows and columns; they divide ``H`` and ``W``.
        feather: Share of half a cell that the blend takes on either side of a seam, in (0, 1].
        wrap: Whether opposite borders of the image are a seam too.

    Returns:
        Planes of the same shape and dtype.
    """
    height, width = size_of(planes)
    cells = permutation.view(-1, *grid)
    vertical = _parts(height, grid[0], feather, planes.device, wrap=wrap)
    horizontal = _parts(width, grid[1], feather, planes.device, wrap=wrap)
    dtype = working_dtype(planes)
    total = torch.zeros((), dtype=dtype, device=planes.device)
    for row_cell, row_share in vertical:
        for col_cell, col_share in horizontal:
            # Which cell of the image lies at each pixel, and where the pixel is in it, counted from its corner.
            source = cells[:, row_cell % grid[0]][:, :, col_cell % grid[1]]
            row = source // grid[1] * (height // grid[0]) + _inside(row_cell, height, grid[0]).unsqueeze(1)
            col = source % grid[1] * (width // grid[1]) + _inside(col_cell, width, grid[1])
            if wrap:
                row, col = row % height, col % width
            else:
                row, col = row.clamp(0, height - 1), col.clamp(0, width - 1)
            share = (row_share.unsqueeze(1) * col_share).to(dtype).view(1, 1, height, width, 1)
            total = total + share * pick(planes, row * width + col).to(dtype)
    return to_dtype(total, planes.dtype)


def soft_half(axis: Tensor, keep: Tensor, size: tuple[int, int], feather: float) -> Tensor:
    """Return the weight of the half that an image does not keep, which rises from the seam on.

    Args:
        axis: int64 ``(B,)``; 0 cuts into top and bottom halves, 1 into left and right ones.
        keep: int64 ``(B,)``; which half the image keeps, 0 the top or left one.
        size: Height and width of the images.
        feather: Share of the half that the rise takes, in [0, 1]; 0 is a hard edge.

    Returns:
        float32 ``(B, 1, H, W)`` in [0, 1], positive exactly in the foreign half.

    Example:
        >>> soft_half(torch.tensor([1]), torch.tensor([0]), (1, 8), feather=1.0).flatten().tolist()
        [0.0, 0.0, 0.0, 0.0, 0.125, 0.375, 0.625, 0.875]
    """
    ramps = []
    for direction, length in enumerate(size):
        cut = length // 2
        middle = torch.arange(length, device=axis.device) + 0.5
        first = keep.unsqueeze(1) == 1
        depth = torch.where(first, cut - middle, middle - cut)
        # A pixel's middle lies half a pixel deep at least, so that the line beside the seam still counts.
        reach = (feather * torch.where(first, cut, length - cut)).clamp(min=0.5)
        ramp = (depth / reach).clamp(0.0, 1.0)
        ramps.append(torch.where((axis == direction).unsqueeze(1), ramp, 1.0))
    return (ramps[0].unsqueeze(2) * ramps[1].unsqueeze(1)).unsqueeze(1)


def _parts(
    length: int, cells: int, feather: float, device: torch.device, *, wrap: bool
) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """Return, along one side, which two cells count at each pixel, and their shares; one past the end is the first."""
    cell = torch.arange(length, device=device) // (length // cells)
    place = (_inside(cell, length, cells) + 0.5) / (length // cells)
    neighbour = torch.where(place < 0.5, cell - 1, cell + 1)
    foreign = (0.5 - torch.minimum(place, 1 - place) / feather).clamp(min=0.0)
    if not wrap:
        foreign = torch.where((neighbour >= 0) & (neighbour < cells), foreign, 0.0)
    return (cell, 1 - foreign), (neighbour, foreign)


def _inside(cell: Tensor, length: int, cells: int) -> Tensor:
    """Return how far each pixel along a side lies from the corner of its cell."""
    return torch.arange(length, device=cell.device) - cell * (length // cells)
