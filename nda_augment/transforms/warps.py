"""Negatives that bend an image or its colours by random fields; mild settings are positives."""

import math
from typing import Unpack

import torch
from torch import Tensor

from nda_augment import functional, sampling
from nda_augment._checks import as_deviation, as_share
from nda_augment.sampling import Source
from nda_augment.transforms.base import Common, NegativeTransform, Params
from nda_augment.transforms.card import Card

__all__ = ["RandomFieldColor", "RandomFieldWarp"]


class _RandomField(NegativeTransform):
    """What both share: a correlation length, a strength, and fields with given standard deviations."""

    def __init__(self, correlation: float, strength: float, **common: Unpack[Common]) -> None:
        super().__init__(**common)
        if not isinstance(correlation, (int, float)) or not 0.01 <= correlation <= 10.0:
            raise ValueError(f"correlation must be a fraction of the sides in [0.01, 10], got {correlation!r}")
        self.correlation = float(correlation)
        self.strength = as_share(strength, "strength")

    def deviations(self) -> tuple[float, ...]:
        """Return the standard deviation of each field at full strength."""
        raise NotImplementedError

    def make_params(self, shape: tuple[int, ...], **source: Unpack[Source]) -> Params:
        """Draw the noise that the fields are made of."""
        if self.channels not in (None, shape[-3]):
            raise ValueError(f"{type(self).__name__} needs {self.channels} channels, got images of shape {shape}")
        deviations = self.deviations()
        nodes = functional.gaussian_field_nodes(self.correlation)
        noise = sampling.normal(shape[0], len(deviations), nodes, nodes, **source)
        scales = [deviation * self.strength for deviation in deviations]
        return {"noise": torch.stack([field * scale for field, scale in zip(noise.unbind(1), scales, strict=True)], 1)}


class RandomFieldWarp(_RandomField):
    """Warp an image by an affine map that varies from place to place as Gaussian random fields.

    The passage from a positive to a negative is ``strength``: while the shifts' standard deviation is small against
    the correlation length the image bends and stays whole; where ``strength * displacement`` exceeds 1 it folds over
    itself, and neighbours are torn apart. The default is a negative; 0.1 to 0.2 of it is a positive for most data.
    That no image comes back as it was holds with probability one, not by construction.

    Args:
        correlation: Correlation length ℓ of the fields as a fraction of the sides.
        displacement: Standard deviation of the shifts in units of ℓ; above 1 the image folds.
        rotation: Standard deviation of the turn in degrees.
        scale: Standard deviation of the log of the scales.
        shear: Standard deviation of the shear.
        strength: Scales all of them, in [0, 1].
        **common: ``p``, ``same_on_batch``, ``keepdim`` of :class:`NegativeTransform`.

    Raises:
        ValueError: If the correlation is out of bounds or the strength not in [0, 1].

    Shape:
        ``(B, C, H, W)`` or ``(B, T, C, H, W)`` to the same. Parameters: ``noise``, float32 ``(B, 6, N, N)``.

    Example:
        >>> RandomFieldWarp(strength=0.5)(torch.rand(8, 3, 32, 32)).shape
        torch.Size([8, 3, 32, 32])

    Source: inspired by Mansfield et al., Random Field Augmentations, 2023, whose values are not published.
    """

    card = Card(
        family="field",
        breaks="shape and neighbourhood",
        keeps="local colours",
        guarantee="with probability one, not by construction",
        source="inspired by Mansfield et al., 2023",
    )

    def __init__(
        self,
        correlation: float = 0.15,
        displacement: float = 1.5,
        rotation: float = 30.0,
        scale: float = 0.3,
        shear: float = 0.3,
        strength: float = 1.0,
        **common: Unpack[Common],
    ) -> None:
        super().__init__(correlation, strength, **common)
        self.displacement, self.rotation = (
            as_deviation(displacement, "displacement"),
            as_deviation(rotation, "rotation"),
        )
        self.scale, self.shear = as_deviation(scale, "scale"), as_deviation(shear, "shear")

    def deviations(self) -> tuple[float, ...]:
        """Return the standard deviations of turn, scales, shear and shifts."""
        shift = self.displacement * self.correlation
        return math.radians(self.rotation), self.scale, self.scale, self.shear, shift, shift

    def transform(self, images: Tensor, params: Params) -> Tensor:
        """Apply :func:`nda_augment.functional.field_warp`."""
        return functional.field_warp(images, params["noise"], self.correlation)


class RandomFieldColor(_RandomField):
    """Turn hues and stretch saturation and contrast by amounts that vary from place to place.

    Linear at every pixel and free of any range; strong settings leave the range of the images. A grey image keeps
    its colours, and is changed in contrast only. That no image comes back as it was holds with probability one.

    Args:
        correlation: Correlation length ℓ of the fields as a fraction of the sides.
        hue: Standard deviation of the hue's turn in degrees.
        saturation: Standard deviation of the log of the saturation's factor.
        contrast: Standard deviation of the log of the contrast's factor.
        strength: Scales all of them, in [0, 1]; 0.1 to 0.2 of the default is a positive for most data.
        **common: ``p``, ``same_on_batch``, ``keepdim`` of :class:`NegativeTransform`.

    Raises:
        ValueError: If the images have not three channels, the correlation is out of bounds or the strength not in
            [0, 1].

    Shape:
        ``(B, 3, H, W)`` or ``(B, T, 3, H, W)`` to the same. Parameters: ``noise``, float32 ``(B, 3, N, N)``.

    Example:
        >>> RandomFieldColor()(torch.rand(8, 3, 32, 32)).shape
        torch.Size([8, 3, 32, 32])

    Source: inspired by Mansfield et al., Random Field Augmentations, 2023, whose values are not published.
    """

    card = Card(
        family="field",
        breaks="agreement of colours across the image",
        keeps="shape",
        guarantee="with probability one, not by construction",
        source="inspired by Mansfield et al., 2023",
    )

    channels = 3

    def __init__(
        self,
        correlation: float = 0.15,
        hue: float = 90.0,
        saturation: float = 0.6,
        contrast: float = 0.6,
        strength: float = 1.0,
        **common: Unpack[Common],
    ) -> None:
        super().__init__(correlation, strength, **common)
        self.hue, self.saturation = as_deviation(hue, "hue"), as_deviation(saturation, "saturation")
        self.contrast = as_deviation(contrast, "contrast")

    def deviations(self) -> tuple[float, ...]:
        """Return the standard deviations of hue, saturation and contrast."""
        return math.radians(self.hue), self.saturation, self.contrast

    def transform(self, images: Tensor, params: Params) -> Tensor:
        """Apply :func:`nda_augment.functional.field_color`."""
        return functional.field_color(images, params["noise"], self.correlation)
