"""Negatives that pass every pixel through a filter, or drown it in noise: for models of sharp and clean images."""

from typing import Unpack

from torch import Tensor

from nda_augment import functional, sampling
from nda_augment._checks import as_positive
from nda_augment.sampling import Source
from nda_augment.transforms.base import Common, NegativeTransform, Params
from nda_augment.transforms.card import Card

__all__ = ["Blur", "Noise", "Sobel"]


class Noise(NegativeTransform):
    """Add white noise to every image; to a clip the same on all frames.

    A flat channel has no deviation and gets no noise. That no other image comes back as it was holds with probability
    one.

    Args:
        std: Standard deviation of the noise, in standard deviations of each channel of each image.
        **common: ``p``, ``same_on_batch``, ``keepdim`` of :class:`NegativeTransform`.

    Raises:
        ValueError: If the deviation is not positive and finite.

    Shape:
        ``(B, C, H, W)`` or ``(B, T, C, H, W)`` to the same. Parameters: ``noise``, float32 ``(B, C, H, W)``.

    Example:
        >>> import torch
        >>> Noise(0.5)(torch.rand(2, 3, 8, 8)).shape
        torch.Size([2, 3, 8, 8])

    Source: Tack et al., CSI, NeurIPS 2020, "Noise".
    """

    card = Card(
        family="filter",
        breaks="smoothness of surfaces",
        keeps="layout, and the mean colours",
        guarantee="with probability one, not by construction",
        source="Tack et al., CSI, 2020",
    )

    def __init__(self, std: float = 1.0, **common: Unpack[Common]) -> None:
        super().__init__(**common)
        self.std = as_positive(std, "std")

    def make_params(self, shape: tuple[int, ...], **source: Unpack[Source]) -> Params:
        """Draw the noise of one frame per image."""
        return {"noise": self.std * sampling.normal(shape[0], *shape[-3:], **source)}

    def transform(self, images: Tensor, params: Params) -> Tensor:
        """Apply :func:`nda_augment.functional.add_noise`."""
        return functional.add_noise(images, params["noise"])


class Blur(NegativeTransform):
    """Blur every image with a Gaussian. There is nothing to draw.

    A flat image comes back as it was.

    Args:
        sigma: Standard deviation of the Gaussian as a share of the image's shorter side.
        **common: ``p``, ``same_on_batch``, ``keepdim`` of :class:`NegativeTransform`.

    Raises:
        ValueError: If the deviation is not positive and finite, or less than 0.4 pixels of the image, which changes
            next to nothing.

    Shape:
        ``(B, C, H, W)`` or ``(B, T, C, H, W)`` to the same. No parameters.

    Example:
        >>> import torch
        >>> Blur()(torch.rand(2, 3, 8, 8)).shape
        torch.Size([2, 3, 8, 8])

    Source: Tack et al., CSI, NeurIPS 2020, "Blur".
    """

    card = Card(
        family="filter",
        breaks="sharpness of edges and of texture",
        keeps="layout, and the mean colours",
        guarantee="the Gaussian averages several pixels",
        source="Tack et al., CSI, 2020",
    )

    def __init__(self, sigma: float = 0.06, **common: Unpack[Common]) -> None:
        super().__init__(**common)
        self.sigma = as_positive(sigma, "sigma")

    def make_params(self, shape: tuple[int, ...], **source: Unpack[Source]) -> Params:
        """Draw nothing."""
        height, width = shape[-2:]
        pixels = self.sigma * min(height, width)
        if min(height, width) < 3 or pixels < 0.4:
            raise ValueError(
                f"sigma={self.sigma} is {pixels:.2f} px of an image of {height}x{width} px, which changes next to "
                "nothing; use 0.4 px or more of an image of 3x3 px or more"
            )
        return {}

    def transform(self, images: Tensor, params: Params) -> Tensor:
        """Apply :func:`nda_augment.functional.blur`."""
        return functional.blur(images, self.sigma)


class Sobel(NegativeTransform):
    """Replace every channel by the size of its gradient, that is by its edges. There is nothing to draw.

    A black image comes back as it was.

    Args:
        **common: ``p``, ``same_on_batch``, ``keepdim`` of :class:`NegativeTransform`.

    Shape:
        ``(B, C, H, W)`` or ``(B, T, C, H, W)`` to the same. No parameters.

    Example:
        >>> import torch
        >>> Sobel()(torch.rand(2, 3, 8, 8)).shape
        torch.Size([2, 3, 8, 8])

    Source: Tack et al., CSI, NeurIPS 2020, "Sobel".
    """

    card = Card(
        family="filter",
        breaks="colours, and the light on surfaces",
        keeps="edges and their places",
        guarantee="slopes take the place of values",
        source="Tack et al., CSI, 2020",
    )

    def make_params(self, shape: tuple[int, ...], **source: Unpack[Source]) -> Params:
        """Draw nothing."""
        return {}

    def transform(self, images: Tensor, params: Params) -> Tensor:
        """Apply :func:`nda_augment.functional.sobel`."""
        return functional.sobel(images)
