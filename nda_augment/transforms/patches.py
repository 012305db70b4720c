"""Negatives that rearrange, turn or exchange the cells of a grid."""

from typing import Literal, Unpack, get_args

import torch
from torch import Tensor

from nda_augment import functional, sampling
from nda_augment._checks import as_grid, as_one_of, as_share, check_grid
from nda_augment.functional.patches import INFILL_GRIDS, Cells
from nda_augment.sampling import Source
from nda_augment.transforms.base import Common, DrawContext, NegativeTransform, Params
from nda_augment.transforms.card import Card
from nda_augment.transforms.partners import PairCommon, PairTransform

__all__ = ["CrossPatchShuffle", "CutPerm", "Jigsaw", "PatchInfill", "PatchRotate", "PatchShuffle", "Swap"]

Grid = tuple[int, int] | int
Offset = Literal["fixed", "random"]


class _Seams(Common, total=False):
    """Where a jigsaw's seams are and how hard."""

    offset: Offset
    feather: float


_QUARTERS = (2, 2)


class Jigsaw(NegativeTransform):
    """Cut every image into a grid of cells and shuffle them: local texture stays, the whole is broken.

    Each image gets its own permutation, uniform over all but the identity. Cells of equal content (a constant image)
    can still make the result equal to the source.

    A grid always cuts along the same lines, and a network may learn these instead of the layout. With
    ``offset="random"`` the grid begins anywhere and wraps around at the border, and the result is shifted cyclically
    by a quarter to three quarters of a cell, so that neither a seam nor the image's former border has a place of its
    own. With ``feather`` no edge is hard either.

    Args:
        grid: Rows and columns, or one number for both; they divide the image's height and width.
        offset: ``"fixed"`` cuts along the grid, ``"random"`` along one that is drawn per image; its cells have at least
            two rows and columns.
        feather: Share of half a cell's side over which cells blend into each other on either side of a seam, in
            [0, 1]; 0 is a hard edge.
        **common: ``p``, ``same_on_batch``, ``keepdim`` of :class:`NegativeTransform`.

    Raises:
        ValueError: If the grid has fewer than two cells or does not divide the images, an argument is out of bounds, or
            cells are too small for a random offset.

    Shape:
        ``(B, C, H, W)`` or ``(B, T, C, H, W)`` to the same. Parameters: ``permutation``, int64 ``(B, rows * cols)``;
        with a random offset ``corners`` and ``shifts``, int64 ``(B, 2)``.

    Example:
        >>> images = torch.rand(8, 3, 32, 32)
        >>> jigsaw = Jigsaw(grid=(2, 2))
        >>> negatives = jigsaw(images, generator=torch.Generator().manual_seed(0))
        >>> torch.equal(negatives, jigsaw(images, params=jigsaw._params))
        True

    Source: Sinha et al., Negative Data Augmentation, ICLR 2021.
    """

    card = Card(
        family="patch",
        breaks="layout of the image",
        keeps="cells, and all statistics of pixels",
        guarantee="the permutation is not the identity",
        source="Sinha et al., 2021",
    )

    def __init__(
        self, grid: Grid = (2, 2), offset: Offset = "fixed", feather: float = 0.0, **common: Unpack[Common]
    ) -> None:
        super().__init__(**common)
        self.grid = as_grid(grid)
        self.offset: Offset = as_one_of(offset, "offset", get_args(Offset))
        self.feather = as_share(feather, "feather")

    @property
    def moves_values(self) -> bool:  # type: ignore[override]  # a constant in the base
        """Whether it only puts values elsewhere, as it does with hard edges."""
        return self.feather == 0.0

    def make_params(self, shape: tuple[int, ...], **source: Unpack[Source]) -> Params:
        """Draw one permutation per image, and where its grid begins."""
        check_grid(self.grid, (shape[-2], shape[-1]))
        cells = self.grid[0] * self.grid[1]
        permutation = sampling.permutations(shape[0], cells, **source)
        return {"permutation": permutation, **self._draw_offset(shape, source)}

    def transform(self, images: Tensor, params: Params) -> Tensor:
        """Apply :func:`nda_augment.functional.jigsaw`."""
        corners, shifts = params.get("corners"), params.get("shifts")
        return functional.jigsaw(
            images, params["permutation"], self.grid, corners=corners, shifts=shifts, feather=self.feather
        )

    def cells(self, shape: tuple[int, ...], params: Params) -> Cells | None:
        """Return the permutation, where nothing is blended or shifted."""
        if self.feather or self.offset != "fixed":
            return None
        return Cells(self.grid, None, params["permutation"])

    def _draw_offset(self, shape: tuple[int, ...], source: Source) -> Params:
        if self.offset == "fixed":
            return {}
        size = (shape[-1], shape[-2])  # x, y
        cell = (size[0] // self.grid[1], size[1] // self.grid[0])
        if min(cell) < 2:
            raise ValueError(
                f'offset="random" needs cells of at least 2x2 px, got {cell[1]}x{cell[0]} from a grid of '
                f"{self.grid[0]}x{self.grid[1]} on {shape[-2]}x{shape[-1]} px; use a coarser grid or larger images"
            )
        corners = [sampling.integers(0, length, shape[0], **source) for length in size]
        # Never a whole number of cells, so that no permutation is undone: a shift by cells is one of them.
        shifts = [sampling.integers(-(-side // 4), side * 3 // 4 + 1, shape[0], **source) for side in cell]
        return {"corners": torch.stack(corners, dim=1), "shifts": torch.stack(shifts, dim=1)}


class PatchShuffle(Jigsaw):
    """Shuffle the cells of a fine grid: what a model of local patches, such as a ViT, hardly notices.

    A :class:`Jigsaw` with a fine grid by default. For a ViT the cells should be a multiple of its patches: misaligned
    cells are easier to tell.

    Args:
        grid: Rows and columns, or one number for both; they divide the image's height and width.
        **common: ``offset``, ``feather``, ``p``, ``same_on_batch``, ``keepdim`` of :class:`Jigsaw`.

    Raises:
        ValueError: If the grid has fewer than two cells, or does not divide the images.

    Shape:
        ``(B, C, H, W)`` or ``(B, T, C, H, W)`` to the same. Parameters: ``permutation``, int64 ``(B, rows * cols)``.

    Example:
        >>> PatchShuffle(grid=(14, 14))(torch.rand(2, 3, 224, 224)).shape
        torch.Size([2, 3, 224, 224])

    Source: Qin et al., patch-based negative augmentation, 2021, "P-Shuffle".
    """

    card = Card(
        family="patch",
        breaks="layout, down to small parts",
        keeps="texture within small cells",
        guarantee="the permutation is not the identity",
        source="Qin et al., 2021",
    )

    def __init__(self, grid: Grid = (8, 8), **common: Unpack[_Seams]) -> None:
        super().__init__(grid, **common)


class CutPerm(Jigsaw):
    """Swap the halves of every image: the upper and the lower, the left and the right, or both.

    Three of the 23 jigsaws of a 2x2 grid, each with the same probability.

    Args:
        **common: ``offset``, ``feather``, ``p``, ``same_on_batch``, ``keepdim`` of :class:`Jigsaw`.

    Raises:
        ValueError: If the image's height or width is odd.

    Shape:
        ``(B, C, H, W)`` or ``(B, T, C, H, W)`` to the same. Parameters: ``permutation``, int64 ``(B, 4)``.

    Example:
        >>> CutPerm()(torch.rand(8, 3, 32, 32)).shape
        torch.Size([8, 3, 32, 32])

    Source: Tack et al., CSI, NeurIPS 2020, "CutPerm".
    """

    card = Card(
        family="patch",
        breaks="order of the halves",
        keeps="quarters, and most of the layout",
        guarantee="one of three swaps is made",
        source="Tack et al., CSI, 2020",
    )

    def __init__(self, **common: Unpack[_Seams]) -> None:
        super().__init__((2, 2), **common)

    @classmethod
    def defaults(cls) -> dict[str, object]:
        """Return all arguments of the constructor; the grid is none of them."""
        return {name: default for name, default in super().defaults().items() if name != "grid"}

    def make_params(self, shape: tuple[int, ...], **source: Unpack[Source]) -> Params:
        """Draw one of the three swaps per image, and where its grid begins."""
        check_grid(self.grid, (shape[-2], shape[-1]))
        permutation = _swapped(sampling.integers(1, 4, shape[0], **source))
        return {"permutation": permutation, **self._draw_offset(shape, source)}


class Swap(NegativeTransform):
    """Make the same swap of halves in every image: one of the three that :class:`CutPerm` draws from.

    Args:
        swap: Halves that change places, 1: left and right; 2: upper and lower; 3: both.
        **common: ``p``, ``same_on_batch``, ``keepdim`` of :class:`NegativeTransform`.

    Raises:
        ValueError: If the number is another one, or the image's height or width is odd.

    Shape:
        ``(B, C, H, W)`` or ``(B, T, C, H, W)`` to the same. No parameters.

    Example:
        >>> Swap(2)(torch.tensor([[1.0, 2.0], [3.0, 4.0]]))
        tensor([[3., 4.],
                [1., 2.]])

    Source: Tack et al., CSI, NeurIPS 2020, where each swap is a class of its own.
    """

    card = Card(
        family="patch",
        breaks="order of the halves, always in the same way",
        keeps="quarters, and most of the layout",
        guarantee="the swap is fixed",
        source="Tack et al., CSI, 2020",
    )

    moves_values = True

    def __init__(self, swap: int = 1, **common: Unpack[Common]) -> None:
        super().__init__(**common)
        self.swap = as_one_of(swap, "swap", (1, 2, 3))

    def make_params(self, shape: tuple[int, ...], **source: Unpack[Source]) -> Params:
        """Draw nothing."""
        check_grid(_QUARTERS, (shape[-2], shape[-1]))
        return {}

    def transform(self, images: Tensor, params: Params) -> Tensor:
        """Apply :func:`nda_augment.functional.jigsaw`."""
        swap = torch.full((len(images),), self.swap, device=images.device)
        return functional.jigsaw(images, _swapped(swap), _QUARTERS)


class CrossPatchShuffle(PairTransform):
    """Put an image together from cells of many other images, at other places than they had there.

    Each cell comes from an image drawn for it, never from the image itself; the places are a permutation that is not
    the identity, so that even with a single other image the result is broken.

    Args:
        grid: Rows and columns, or one number for both; they divide the image's height and width.
        **common: ``partner``, ``p``, ``same_on_batch``, ``keepdim`` of :class:`PairTransform`; only ``"any"`` partner
            is possible.

    Raises:
        ValueError: If the grid has fewer than two cells or does not divide the images, or a single image comes
            without a pool.

    Shape:
        ``(B, C, H, W)`` or ``(B, T, C, H, W)`` to the same. Parameters: ``sources`` and ``permutation``, int64
        ``(B, rows * cols)``.

    Example:
        >>> CrossPatchShuffle(grid=(4, 4))(torch.rand(8, 3, 32, 32)).shape
        torch.Size([8, 3, 32, 32])

    Source: after the patch shuffling across images of Panda (AAAI 2026) for test-time adaptation.
    """

    card = Card(
        family="patch",
        breaks="one scene, and its layout",
        keeps="cells of real images",
        guarantee="cells are foreign, places not the identity",
        source="after Panda, 2026",
    )

    moves_values = True

    def __init__(self, grid: Grid = (4, 4), **common: Unpack[PairCommon]) -> None:
        super().__init__(**common)
        as_one_of(self.partner, "partner", ("any",))
        self.grid = as_grid(grid)

    def make_params(self, shape: tuple[int, ...], **source: Unpack[Source]) -> Params:
        """Draw the places of the cells."""
        check_grid(self.grid, (shape[-2], shape[-1]))
        cells = self.grid[0] * self.grid[1]
        return {"permutation": sampling.permutations(shape[0], cells, **source)}

    def draw_partners(self, context: DrawContext) -> Params:
        """Draw one source image per cell."""
        pool_size = None if context.pool is None else len(context.pool)
        cells = self.grid[0] * self.grid[1]
        drawn = sampling.other_images(
            context.batch, cells, pool_size, same_on_batch=context.same_on_batch, **context.source
        )
        return {"sources": drawn}

    def transform(self, images: Tensor, params: Params) -> Tensor:
        """Apply :func:`nda_augment.functional.cross_patch_shuffle`."""
        return functional.cross_patch_shuffle(
            images, params["sources"], params["permutation"], self.grid, pool=params.get("pool")
        )

    def cells(self, shape: tuple[int, ...], params: Params) -> Cells | None:
        """Return the cells and their sources, where these are in the batch."""
        return None if "pool" in params else Cells(self.grid, params["sources"], params["permutation"])


class PatchRotate(NegativeTransform):
    """Turn every cell of a grid by a quarter, a half or three quarters, each by its own draw, none by nothing.

    Cells that are not square can only take the half turn, and do.

    Args:
        grid: Rows and columns, or one number for both; they divide the image's height and width.
        **common: ``p``, ``same_on_batch``, ``keepdim`` of :class:`NegativeTransform`.

    Raises:
        ValueError: If the grid has fewer than two cells, or does not divide the images.

    Shape:
        ``(B, C, H, W)`` or ``(B, T, C, H, W)`` to the same. Parameters: ``turns``, int64 ``(B, rows * cols)`` in
        1..3.

    Example:
        >>> PatchRotate(grid=(4, 4))(torch.rand(8, 3, 32, 32)).shape
        torch.Size([8, 3, 32, 32])

    Source: Qin et al., patch-based negative augmentation, 2021, "P-Rotate" (which also leaves cells unturned).
    """

    card = Card(
        family="patch",
        breaks="orientation of every cell",
        keeps="place and content of the cells",
        guarantee="no cell is left unturned",
        source="Qin et al., 2021",
    )

    moves_values = True

    def __init__(self, grid: Grid = (4, 4), **common: Unpack[Common]) -> None:
        super().__init__(**common)
        self.grid = as_grid(grid)

    def make_params(self, shape: tuple[int, ...], **source: Unpack[Source]) -> Params:
        """Draw the turns of each cell."""
        check_grid(self.grid, (shape[-2], shape[-1]))
        rows, cols = self.grid
        if (rows, cols) == tuple(shape[-2:]):
            raise ValueError(
                f"cells of one pixel cannot be turned; use a coarser grid than {self.grid} or larger images"
            )
        square = shape[-2] * cols == shape[-1] * rows
        low, high = (1, 4) if square else (2, 3)
        return {"turns": sampling.integers(low, high, shape[0], rows * cols, **source)}

    def transform(self, images: Tensor, params: Params) -> Tensor:
        """Apply :func:`nda_augment.functional.patch_rotate`."""
        return functional.patch_rotate(images, params["turns"], self.grid)


class PatchInfill(NegativeTransform):
    """Overwrite the centre of an image with cells from its border: the background stays, the object goes.

    There is nothing to draw: the layout is fixed. An image whose border equals its centre comes back as it was.

    Args:
        rate: Share of the image that is overwritten: 0.25 (a 4x4 grid) or 0.375 (a 4x8 grid).
        **common: ``p``, ``same_on_batch``, ``keepdim`` of :class:`NegativeTransform`.

    Raises:
        ValueError: If the rate is another one, or the grid does not divide the images.

    Shape:
        ``(B, C, H, W)`` or ``(B, T, C, H, W)`` to the same. No parameters.

    Example:
        >>> PatchInfill(rate=0.375)(torch.rand(8, 3, 32, 32)).shape
        torch.Size([8, 3, 32, 32])

    Source: Qin et al., patch-based negative augmentation, 2021, "P-Infill".
    """

    card = Card(
        family="patch",
        breaks="the centre of the image",
        keeps="its border",
        guarantee="the centre comes from the border",
        source="Qin et al., 2021",
    )

    moves_values = True

    def __init__(self, rate: float = 0.25, **common: Unpack[Common]) -> None:
        super().__init__(**common)
        self.rate = as_one_of(rate, "rate", tuple(INFILL_GRIDS))

    def make_params(self, shape: tuple[int, ...], **source: Unpack[Source]) -> Params:
        """Draw nothing."""
        check_grid(INFILL_GRIDS[self.rate], (shape[-2], shape[-1]))
        return {}

    def transform(self, images: Tensor, params: Params) -> Tensor:
        """Apply :func:`nda_augment.functional.patch_infill`."""
        return functional.patch_infill(images, self.rate)


def _swapped(swap: Tensor) -> Tensor:
    """Return the permutation of the quarters for swaps ``(B,)``, 1 to 3."""
    # The number of a cell in a 2x2 grid has its row in one bit and its column in the other.
    return swap.unsqueeze(1) ^ torch.arange(4, device=swap.device)
