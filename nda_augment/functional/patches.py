"""Kernels that rearrange the cells of a grid within an image."""

import torch
from torch import Tensor

from nda_augment.functional._canvas import as_canvas, as_images, gather
from nda_augment.functional._checks import check_grid, check_images, check_parameter


def jigsaw(images: Tensor, permutation: Tensor, grid: tuple[int, int] = (2, 2)) -> Tensor:
    """Cut every image into a grid of cells and put the cells back in another order.

    Args:
        images: ``(B, C, H, W)`` or ``(B, T, C, H, W)``, floating point or uint8, any range.
        permutation: int64 ``(B, rows * cols)``; cell ``j`` of the result, counted row by row, is cell
            ``permutation[:, j]`` of the image. ``arange`` gives the image back.
        grid: Rows and columns; they divide ``H`` and ``W``.

    Returns:
        Tensor like ``images``: same shape, dtype, device and memory format.

    Raises:
        ValueError: If the grid does not divide the image or a shape is wrong.
        TypeError: If the images are neither floating point nor uint8.

    Example:
        >>> image = torch.tensor([[[[1, 2], [3, 4]]]], dtype=torch.uint8)
        >>> jigsaw(image, torch.tensor([[3, 2, 1, 0]])).flatten().tolist()
        [4, 3, 2, 1]

    Source: Sinha et al., Negative Data Augmentation, ICLR 2021, "Jigsaw".
    """
    check_images(images)
    check_grid(grid, (images.shape[-2], images.shape[-1]))
    rows, cols = grid
    batch, height = images.shape[0], images.shape[-2]
    check_parameter(permutation, "permutation", (batch, rows * cols))
    cell_height = height // rows
    row = torch.arange(height, device=images.device)
    cell = permutation.view(batch, rows, cols).repeat_interleave(cell_height, dim=1)
    source_row = cell // cols * cell_height + (row % cell_height).view(1, -1, 1)
    image = torch.arange(batch, device=images.device).view(-1, 1, 1)
    return as_images(gather(as_canvas(images), image, source_row, cell % cols, segments=cols), images)
