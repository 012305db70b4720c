"""Negatives that rearrange the cells of a grid."""

import torch
from torch import Tensor

from nda_augment import functional, sampling
from nda_augment.transforms.base import NegativeTransform, Params, as_grid


class Jigsaw(NegativeTransform):
    """Cut every image into a grid of cells and shuffle them: local texture stays, the whole is broken.

    Each image gets its own permutation, uniform over all but the identity. Cells of equal content (a constant image)
    can still make the result equal to the source.

    Args:
        grid: Rows and columns, or one number for both; they divide the image's height and width.
        p: Probability that an image becomes its negative.
        same_on_batch: One permutation for the whole batch.
        keepdim: Return the shape that was given.

    Raises:
        ValueError: If the grid has fewer than two cells, or does not divide the images.

    Shape:
        ``(B, C, H, W)`` or ``(B, T, C, H, W)`` to the same. Parameters: ``permutation``, int64 ``(B, rows * cols)``.

    Example:
        >>> images = torch.rand(8, 3, 32, 32)
        >>> jigsaw = Jigsaw(grid=(2, 2))
        >>> negatives = jigsaw(images, generator=torch.Generator().manual_seed(0))
        >>> torch.equal(negatives, jigsaw(images, params=jigsaw._params))
        True

    Source: Sinha et al., Negative Data Augmentation, ICLR 2021.
    """

    def __init__(
        self,
        grid: tuple[int, int] | int = (2, 2),
        p: float = 1.0,
        same_on_batch: bool = False,
        keepdim: bool = True,
    ) -> None:
        super().__init__(p=p, same_on_batch=same_on_batch, keepdim=keepdim)
        self.grid = as_grid(grid)

    def sample(
        self, batch: int, size: tuple[int, int], *, generator: torch.Generator | None, device: sampling.Device
    ) -> Params:
        """Draw one permutation per image."""
        cells = self.grid[0] * self.grid[1]
        return {"permutation": sampling.permutations(batch, cells, generator=generator, device=device)}

    def negate(self, images: Tensor, params: Params) -> Tensor:
        """Apply :func:`nda_augment.functional.jigsaw`."""
        return functional.jigsaw(images, params["permutation"], self.grid)
