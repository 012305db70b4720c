"""Shifts: negatives that a detector applies one by one, each its own class, when it learns and when it scores.

Any list of negatives can be a bank of shifts. These are the ones of the literature, without randomness where that is
possible: Tack et al., CSI, NeurIPS 2020, tried all five.
"""

from collections.abc import Callable
from typing import Unpack

import torch
from kornia.filters import gaussian_blur2d, sobel
from torch import Tensor

from nda_augment import sampling
from nda_augment._checks import as_positive
from nda_augment.functional._precision import to_dtype, working_dtype
from nda_augment.sampling import Source
from nda_augment.transforms import CutPerm, NegativeTransform, Rotate90
from nda_augment.transforms.base import Common, Params


class Turn(Rotate90):
    """Turn every image by the same quarters; images that are not square can take the half turn only.

    Args:
        turns: 1, 2 or 3 quarters.
        **common: ``p``, ``same_on_batch``, ``keepdim`` of :class:`~nda_augment.NegativeTransform`.

    Example:
        >>> image = torch.tensor([[1.0, 2.0], [3.0, 4.0]])
        >>> Turn(2)(image)
        tensor([[4., 3.],
                [2., 1.]])
    """

    def __init__(self, turns: int = 1, **common: Unpack[Common]) -> None:
        super().__init__(**common)
        if turns not in (1, 2, 3):
            raise ValueError(f"turns must be 1, 2 or 3 quarters, got {turns}")
        self.turns = turns

    def make_params(self, shape: tuple[int, ...], **source: Unpack[Source]) -> Params:
        """Return the number of turns."""
        if self.turns != 2 and shape[-2] != shape[-1]:
            raise ValueError(f"images of {shape[-2]}x{shape[-1]} px take half turns only, got turns={self.turns}")
        return {"turns": torch.full((shape[0],), self.turns, device=source["device"])}


class Swap(CutPerm):
    """Make the same swap of halves in every image.

    Args:
        swap: 1: left and right; 2: upper and lower; 3: both.
        **common: ``p``, ``same_on_batch``, ``keepdim`` of :class:`~nda_augment.NegativeTransform`.

    Example:
        >>> Swap(2)(torch.tensor([[1.0, 2.0], [3.0, 4.0]]))
        tensor([[3., 4.],
                [1., 2.]])
    """

    def __init__(self, swap: int = 1, **common: Unpack[Common]) -> None:
        super().__init__(**common)
        if swap not in (1, 2, 3):
            raise ValueError(f"swap must be 1, 2 or 3, got {swap}")
        self.swap = swap

    def make_params(self, shape: tuple[int, ...], **source: Unpack[Source]) -> Params:
        """Return the permutation of the quarters."""
        drawn = super().make_params(shape, **source)["permutation"]
        return {"permutation": (self.swap ^ torch.arange(4, device=drawn.device)).expand_as(drawn)}


class Noise(NegativeTransform):
    """Add white noise.

    Args:
        std: Its standard deviation, in the units of the images.
        **common: ``p``, ``same_on_batch``, ``keepdim`` of :class:`~nda_augment.NegativeTransform`.

    Example:
        >>> Noise(0.5)(torch.rand(2, 3, 8, 8)).shape
        torch.Size([2, 3, 8, 8])
    """

    def __init__(self, std: float = 0.3, **common: Unpack[Common]) -> None:
        super().__init__(**common)
        self.std = as_positive(std, "std")

    def make_params(self, shape: tuple[int, ...], **source: Unpack[Source]) -> Params:
        """Draw the noise."""
        return {"noise": sampling.normal(*shape, **source)}

    def transform(self, images: Tensor, params: Params) -> Tensor:
        """Add it."""
        return to_dtype(images + self.std * params["noise"], images.dtype)


class Blur(NegativeTransform):
    """Blur with a Gaussian.

    Args:
        sigma: Its standard deviation as a share of the image's shorter side.
        **common: ``p``, ``same_on_batch``, ``keepdim`` of :class:`~nda_augment.NegativeTransform`.

    Example:
        >>> Blur()(torch.rand(2, 3, 8, 8)).shape
        torch.Size([2, 3, 8, 8])
    """

    def __init__(self, sigma: float = 0.06, **common: Unpack[Common]) -> None:
        super().__init__(**common)
        self.sigma = as_positive(sigma, "sigma")

    def make_params(self, shape: tuple[int, ...], **source: Unpack[Source]) -> Params:
        """Draw nothing."""
        return {}

    def transform(self, images: Tensor, params: Params) -> Tensor:
        """Convolve with a kernel of three deviations to either side."""
        sigma = self.sigma * min(images.shape[-2:])
        side = min(2 * max(1, round(3 * sigma)) + 1, (min(images.shape[-2:]) - 1) // 2 * 2 + 1)
        blurred = gaussian_blur2d(images.to(working_dtype(images)), (side, side), (sigma, sigma))
        return to_dtype(blurred, images.dtype)


class Sobel(NegativeTransform):
    """Replace every channel by the size of its gradient, that is by its edges.

    Args:
        **common: ``p``, ``same_on_batch``, ``keepdim`` of :class:`~nda_augment.NegativeTransform`.

    Example:
        >>> Sobel()(torch.rand(2, 3, 8, 8)).shape
        torch.Size([2, 3, 8, 8])
    """

    def make_params(self, shape: tuple[int, ...], **source: Unpack[Source]) -> Params:
        """Draw nothing."""
        return {}

    def transform(self, images: Tensor, params: Params) -> Tensor:
        """Apply kornia's filter."""
        return to_dtype(sobel(images.to(working_dtype(images))), images.dtype)


def rotations() -> list[NegativeTransform]:
    """The three turns that leave a square image square: CSI's and UniCon-HA's own choice.

    Example:
        >>> len(rotations())
        3
    """
    return [Turn(turns) for turns in (1, 2, 3)]


def cut_perms() -> list[NegativeTransform]:
    """The three swaps of halves.

    Example:
        >>> len(cut_perms())
        3
    """
    return [Swap(swap) for swap in (1, 2, 3)]


BANKS: dict[str, Callable[[], list[NegativeTransform]]] = {
    "rotation": rotations,
    "cut_perm": cut_perms,
    "noise": lambda: [Noise()],
    "blur": lambda: [Blur()],
    "sobel": lambda: [Sobel()],
}
"""The ready banks by name; each call builds a new list."""
