"""Negatives that spoil a region of an image."""

import torch
from torch import Tensor

from nda_augment import functional, sampling
from nda_augment.functional.regions import Fill, check_fill
from nda_augment.transforms.base import NegativeTransform, Params, as_range


class Cutout(NegativeTransform):
    """Fill a box of every image with a flat colour: something is missing.

    A box that is flat already, in the colour of the fill, makes the result equal to the source.

    Args:
        side: Smallest and largest side of the box as fractions of the image's height and width, drawn apart; or one
            number. The paper's 1/3 to 1/2 by default.
        fill: ``"patch_mean"`` (the paper's: each channel's mean over the box), ``"image_mean"``, ``"zero"``, a number,
            or one number per channel, in the images' own range.
        square: Draw squares, their side a fraction of the image's shorter side.
        p: Probability that an image becomes its negative.
        same_on_batch: One box for the whole batch.
        keepdim: Return the shape that was given.

    Raises:
        ValueError: If the range is not within (0, 1] or holds no whole number of pixels, or the fill is unknown.

    Shape:
        ``(B, C, H, W)`` or ``(B, T, C, H, W)`` to the same. Parameters: ``boxes``, int64 ``(B, 4)`` of
        ``(x0, y0, x1, y1)``.

    Example:
        >>> Cutout()(torch.rand(8, 3, 32, 32)).shape
        torch.Size([8, 3, 32, 32])

    Source: Sinha et al., Negative Data Augmentation, ICLR 2021; DeVries and Taylor, Cutout, 2017.
    """

    def __init__(
        self,
        side: tuple[float, float] | float = (1 / 3, 1 / 2),
        fill: Fill = "patch_mean",
        square: bool = False,
        p: float = 1.0,
        same_on_batch: bool = False,
        keepdim: bool = True,
    ) -> None:
        super().__init__(p=p, same_on_batch=same_on_batch, keepdim=keepdim)
        self.side = as_range(side, "side")
        self.fill = check_fill(fill)
        self.square = square

    def sample(
        self, batch: int, size: tuple[int, int], *, generator: torch.Generator | None, device: sampling.Device
    ) -> Params:
        """Draw one box per image."""
        draw = sampling.squares if self.square else sampling.boxes
        return {"boxes": draw(batch, size, side=self.side, generator=generator, device=device)}

    def negate(self, images: Tensor, params: Params) -> Tensor:
        """Apply :func:`nda_augment.functional.cutout`."""
        return functional.cutout(images, params["boxes"], self.fill)
