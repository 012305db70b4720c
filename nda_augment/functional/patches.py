"""Kernels that rearrange, turn or exchange the cells of a grid."""

from collections.abc import Mapping
from itertools import product
from typing import NamedTuple

import torch
from torch import Tensor

from nda_augment._checks import as_pool, as_share, check_grid, check_images, check_index, check_parameter
from nda_augment._constants import counted, kept
from nda_augment.functional._kernels import fused, given
from nda_augment.functional._layout import (
    Chosen,
    as_images,
    as_planes,
    in_order,
    matching_planes,
    may_loop,
    pick,
    shift,
    size_of,
    slices_pay,
    take,
)
from nda_augment.functional.seams import feathered_cells

__all__ = ["cross_patch_shuffle", "jigsaw", "patch_infill", "patch_rotate"]


def jigsaw(
    images: Tensor,
    permutation: Tensor,
    grid: tuple[int, int] = (2, 2),
    *,
    corners: Tensor | None = None,
    shifts: Tensor | None = None,
    feather: float = 0.0,
) -> Tensor:
    """Cut every image into a grid of cells and put the cells back in another order.

    Args:
        images: Images ``(B, C, H, W)`` or clips ``(B, T, C, H, W)``, any dtype and range.
        permutation: int64 ``(B, rows * cols)``; cell ``j`` of the result, counted row by row, is cell
            ``permutation[:, j]`` of the image. ``arange`` gives the image back.
        grid: Rows and columns; they divide ``H`` and ``W``.
        corners: int64 ``(B, 2)``, the pixel ``(x, y)`` that the grid's first cell begins at; the grid wraps around at
            the border. The image's own corner by default.
        shifts: int64 ``(B, 2)``, how far right and down the result is shifted cyclically, ``(x, y)`` pixels; not at
            all by default.
        feather: Share of half a cell's side over which cells blend into each other on either side of a seam, in
            [0, 1]; 0 is a hard edge. With corners or shifts the border of the image is a seam too.

    Returns:
        Tensor like ``images``: same shape, dtype, device and memory format. Blends of uint8 images are rounded.

    Raises:
        ValueError: If the grid does not divide the image, a shape is wrong, or ``feather`` is not in [0, 1].
        TypeError: If the images are no tensor, or a seam is feathered and they are neither floating point nor uint8.

    Example:
        >>> image = torch.tensor([[[[1, 2], [3, 4]]]], dtype=torch.uint8)
        >>> jigsaw(image, torch.tensor([[3, 2, 1, 0]])).flatten().tolist()
        [4, 3, 2, 1]

    Source: Sinha et al., Negative Data Augmentation, ICLR 2021, "Jigsaw".
    """
    check_images(images)
    cells = grid[0] * grid[1]
    check_grid(grid, (images.shape[-2], images.shape[-1]))
    check_index(permutation, "permutation", (len(images), cells), cells)
    as_share(feather, "feather")
    planes = as_planes(images)
    wrap = corners is not None or shifts is not None
    if corners is not None:
        check_parameter(corners, "corners", (len(images), 2))
        planes = shift(planes, -corners)
    if feather:
        planes = feathered_cells(planes, permutation, grid, feather, wrap=wrap)
    else:
        planes = put_together(planes, planes, None, permutation, grid)
    if shifts is not None:
        check_parameter(shifts, "shifts", (len(images), 2))
        corners = shifts if corners is None else corners + shifts
    return as_images(planes if corners is None else shift(planes, corners), images)


def cross_patch_shuffle(
    images: Tensor,
    sources: Tensor,
    permutation: Tensor,
    grid: tuple[int, int] = (4, 4),
    *,
    pool: Tensor | None = None,
) -> Tensor:
    """Put every image together from cells of other images, at other places.

    Args:
        images: Images ``(B, C, H, W)`` or clips ``(B, T, C, H, W)``, any dtype and range; without a pool
            the cells come from here, with a pool only the shape does.
        sources: int64 ``(B, rows * cols)``; the image of the pool that cell ``j`` comes from.
        permutation: int64 ``(B, rows * cols)``; the cell of that image, counted row by row.
        grid: Rows and columns; they divide ``H`` and ``W``.
        pool: Images ``(N, C, H, W)`` that cells are taken from; the batch itself by default.

    Returns:
        Tensor like ``images``: same shape, dtype, device and memory format.

    Raises:
        ValueError: If the grid does not divide the image, a shape is wrong or the pool does not match the images.
        TypeError: If the images are no tensor.

    Example:
        >>> images = torch.tensor([[[[1.0, 2.0]]], [[[3.0, 4.0]]]])
        >>> other, swapped = torch.tensor([[1, 1], [0, 0]]), torch.tensor([[1, 0], [1, 0]])
        >>> cross_patch_shuffle(images, other, swapped, grid=(1, 2)).flatten().tolist()
        [4.0, 3.0, 2.0, 1.0]
    """
    check_images(images)
    check_grid(grid, (images.shape[-2], images.shape[-1]))
    cells = grid[0] * grid[1]
    planes = as_planes(images)
    donor = planes if pool is None else matching_planes(as_pool(pool, images), planes, images)
    check_index(sources, "sources", (len(images), cells), len(donor))
    check_index(permutation, "permutation", (len(images), cells), cells)
    return as_images(put_together(planes, donor, sources, permutation, grid), images)


class Cells(NamedTuple):
    """What the cells of every image show, counted row by row.

    Args:
        grid: Rows and columns.
        sources: int64 ``(B, rows * cols)``, the image of the batch that a cell comes from; None is each image itself.
        permutation: int64 ``(B, rows * cols)``, the cell of that image; None is each cell itself.
    """

    grid: tuple[int, int]
    sources: Tensor | None
    permutation: Tensor | None


def chosen_cells(options: Mapping[int, Cells], choice: Tensor) -> tuple[tuple[int, int], Tensor, Tensor]:
    """Return a grid, and for every image the cells of the option that it chose, or its own if it chose none of them.

    Args:
        options: Cells by number, one at least, all on the same grid.
        choice: int64 ``(B,)``, the number of the option.
    """
    grid = next(iter(options.values())).grid
    number = grid[0] * grid[1]
    sources = counted(len(choice), choice.device).unsqueeze(1).expand(-1, number)
    permutation = counted(number, choice.device).expand(len(choice), -1)
    for option, cells in options.items():
        chosen = (choice == option).unsqueeze(1)
        sources = sources if cells.sources is None else torch.where(chosen, cells.sources, sources)
        permutation = permutation if cells.permutation is None else torch.where(chosen, cells.permutation, permutation)
    return grid, sources, permutation


def put_chosen(target: Tensor, planes: Tensor, cells: Cells, chosen: Chosen) -> bool:
    """Write the cells of every chosen one of some images, or tell that one cannot."""
    (rows, cols), sources, permutation = cells
    check_grid(cells.grid, size_of(planes))
    if sources is not None:
        check_index(sources, "sources", (len(planes), rows * cols), len(planes))
    if permutation is not None:
        check_index(permutation, "permutation", (len(planes), rows * cols), rows * cols)
    if kernel := fused("put_", planes, chosen.choice, *given(sources, permutation)):
        kernel(target, planes, sources, permutation, rows, cols, *chosen)
    return kernel is not None


def copy_chosen(target: Tensor, planes: Tensor, chosen: Chosen) -> bool:
    """Write every chosen one of some images as it is, or tell that one cannot."""
    return put_chosen(target, planes, Cells((1, 1), None, None), chosen)


def put_together(
    planes: Tensor, donor: Tensor, sources: Tensor | None, cells: Tensor | None, grid: tuple[int, int]
) -> Tensor:
    """Fill planes like ``planes`` with cells of ``donor``: of which image, and which of its cells ``(B, rows * cols)``.

    None stands for each image itself, and for each cell itself.
    """
    if kernel := fused("put_", planes, donor, *given(sources, cells)):
        joined = torch.empty_like(planes)
        kernel(joined, donor, sources, cells, *grid)
        return joined
    batch, count, height, width, values = planes.shape
    rows, cols = grid
    lines = height // rows
    # Places are counted in segments, the parts of a line that lie in one cell.
    segments = count * height * cols
    first = kept(_first_segments, rows, cols, lines, device=planes.device)
    first = first if cells is None else first.index_select(0, cells.flatten()).view(cells.shape)
    if sources is not None:
        first = torch.add(first, sources, alpha=segments)
    elif batch > 1:
        first = first + kept(_first_of_images, batch, segments, device=planes.device)
    cell = kept(_cell_of_segment, rows, cols, lines, device=planes.device).expand(batch, -1)
    offset = kept(_offset_in_cell, count, rows, cols, lines, device=planes.device)
    index = first.gather(1, cell).unsqueeze(1) + offset
    return donor.reshape(-1, width // cols * values).index_select(0, index.flatten()).view(planes.shape)


def _first_segments(rows: int, cols: int, lines: int, device: torch.device) -> Tensor:
    """Return the first segment of each cell, ``(rows * cols,)``."""
    row = torch.arange(0, rows * lines * cols, lines * cols, device=device).unsqueeze(1)
    return (row + torch.arange(cols, device=device)).flatten()


def _first_of_images(batch: int, segments: int, device: torch.device) -> Tensor:
    """Return the first segment of each image, ``(B, 1)``."""
    return torch.arange(0, batch * segments, segments, device=device).unsqueeze(1)


def _cell_of_segment(rows: int, cols: int, lines: int, device: torch.device) -> Tensor:
    """Return the cell that each segment of a plane lies in, ``(rows * lines * cols,)``."""
    cell = torch.arange(rows * cols, device=device).view(rows, 1, cols)
    return cell.expand(rows, lines, cols).flatten()


def _offset_in_cell(count: int, rows: int, cols: int, lines: int, device: torch.device) -> Tensor:
    """Return how far each segment of each plane lies from its cell's first, ``(count, rows * lines * cols)``."""
    plane = torch.arange(0, count * rows * lines * cols, rows * lines * cols, device=device).view(count, 1)
    line = torch.arange(0, lines * cols, cols, device=device).view(1, lines, 1)
    return plane + line.expand(rows, lines, cols).reshape(1, -1)


def patch_rotate(images: Tensor, turns: Tensor, grid: tuple[int, int] = (4, 4)) -> Tensor:
    """Turn every cell of a grid by quarter turns, each by its own number.

    Args:
        images: Images ``(B, C, H, W)`` or clips ``(B, T, C, H, W)``, any dtype and range.
        turns: int64 ``(B, rows * cols)``; counter-clockwise quarter turns of each cell, counted row by row, in
            0..3. Cells that are not square take 0 and 2 only: another number is read as 2.
        grid: Rows and columns; they divide ``H`` and ``W``. A grid of one cell turns the whole image.

    Returns:
        Tensor like ``images``: same shape, dtype, device and memory format.

    Raises:
        ValueError: If the grid does not divide the image or a shape is wrong.
        TypeError: If the images are no tensor.

    Example:
        >>> image = torch.tensor([[[[1.0, 2.0], [3.0, 4.0]]]])
        >>> patch_rotate(image, torch.tensor([[1]]), grid=(1, 1))[0, 0].tolist()
        [[2.0, 4.0], [1.0, 3.0]]

    Source: Qin et al., Understanding and improving robustness of vision transformers through patch-based negative
    augmentation, 2021, "P-Rotate".
    """
    check_images(images)
    check_grid(grid, (images.shape[-2], images.shape[-1]))
    rows, cols = grid
    check_index(turns, "turns", (len(images), rows * cols), 4)
    planes = as_planes(images)
    height, width = size_of(planes)
    cell_height, cell_width = height // rows, width // cols
    if kernel := fused("turn", planes, turns):
        turned: Tensor = kernel(planes, turns, rows, cols)
        return as_images(turned, images)
    if slices_pay(turns.numel(), planes, turns):
        return as_images(_turn_slices(planes, turns, cell_height, cell_width), images)
    if rows * cols == 1 and may_loop(planes, turns):
        return as_images(_turn_alike(planes, turns.flatten()), images)
    offsets = _turned_offsets(cell_height, cell_width, width, images.device)
    row = torch.arange(height, device=images.device)
    turn = turns.view(-1, rows, cols).repeat_interleave(cell_height, dim=1)
    line = turn * cell_height + (row % cell_height).view(1, -1, 1)
    index = offsets.index_select(0, line.flatten()).view(*line.shape, cell_width)
    corner = (row // cell_height * cell_height * width).unsqueeze(1) + torch.arange(
        cols, device=row.device
    ) * cell_width
    return as_images(pick(planes, index.add_(corner.unsqueeze(2)).flatten(2)), images)


def _turn_slices(planes: Tensor, turns: Tensor, height: int, width: int) -> Tensor:
    """Turn cells of a height and a width one after the other."""
    turned = torch.empty_like(planes)
    corners = list(product(range(0, planes.shape[2], height), range(0, planes.shape[3], width)))
    for target, image, own in zip(turned.unbind(), planes.unbind(), turns.tolist(), strict=True):
        for (top, left), turn in zip(corners, own, strict=True):
            cell = slice(None), slice(top, top + height), slice(left, left + width)
            target[cell] = image[cell].rot90(turn if height == width or turn == 0 else 2, (1, 2))
    return turned


def _turn_alike(planes: Tensor, turns: Tensor) -> Tensor:
    """Turn whole images on the CPU, all that turn alike at once."""
    order, (height, width) = turns.argsort(), size_of(planes)
    alike = torch.split(take(planes, order), turns.bincount(minlength=4).tolist())
    turned = (part.rot90(turn if height == width or turn == 0 else 2, (2, 3)) for turn, part in enumerate(alike))
    return in_order(turned, order, planes)


def _turned_offsets(height: int, width: int, stride: int, device: torch.device) -> Tensor:
    """Return, for 0 to 3 quarter turns of a cell, where each of its pixels comes from: ``(4 * height, width)``.

    Places are counted from the cell's first pixel, in an image whose lines are ``stride`` pixels long.
    """
    place = torch.arange(height, device=device).unsqueeze(1) * stride + torch.arange(width, device=device)
    turns = (0, 1, 2, 3) if height == width else (0, 2, 2, 2)
    return torch.cat([place.rot90(turn) for turn in turns])


# By replaced share. The inner cells of the second row come from the first, a cell further left; those of the third
# row from the fourth, a cell further right.
INFILL_GRIDS = {0.25: (4, 4), 0.375: (4, 8)}


def patch_infill(images: Tensor, rate: float = 0.25) -> Tensor:
    """Overwrite the centre of every image with cells from its upper and lower border.

    Args:
        images: Images ``(B, C, H, W)`` or clips ``(B, T, C, H, W)``, any dtype and range.
        rate: Share of the image that is overwritten: 0.25 (a 4x4 grid, 2x2 cells) or 0.375 (4x8, 2x6 cells).

    Returns:
        Tensor like ``images``: same shape, dtype, device and memory format.

    Raises:
        ValueError: If the rate is another one, or the grid does not divide the image.
        TypeError: If the images are no tensor.

    Example:
        >>> image = torch.arange(16.0).view(1, 1, 4, 4)
        >>> patch_infill(image)[0, 0, 1:3].tolist()
        [[4.0, 0.0, 1.0, 7.0], [8.0, 14.0, 15.0, 11.0]]

    Source: Qin et al., Understanding and improving robustness of vision transformers through patch-based negative
    augmentation, 2021, "P-Infill"; the layout is that of a public re-implementation.
    """
    if rate not in INFILL_GRIDS:
        raise ValueError(f"rate must be one of {', '.join(map(str, INFILL_GRIDS))}, got {rate}")
    check_images(images)
    grid = INFILL_GRIDS[rate]
    check_grid(grid, (images.shape[-2], images.shape[-1]))
    planes = as_planes(images)
    cells = kept(_infilled_cells, grid, device=planes.device).expand(len(planes), -1)
    return as_images(put_together(planes, planes, None, cells, grid), images)


def _infilled_cells(grid: tuple[int, int], device: torch.device) -> Tensor:
    """Return the cell that each cell shows, ``(rows * cols,)``."""
    cells = torch.arange(grid[0] * grid[1], device=device).view(grid)
    shown = cells.clone()
    shown[1, 1:-1], shown[2, 1:-1] = cells[0, :-2], cells[3, 2:]
    return shown.flatten()
