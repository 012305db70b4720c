"""Negatives that join an image with another one."""

from typing import Literal, get_args

import torch
from torch import Tensor

from nda_augment import functional, sampling
from nda_augment.transforms.base import NegativeTransform, Params, as_range, one_of

Axis = Literal["random", "horizontal", "vertical"]
Keep = Literal["random", "first", "second"]

# The half-open ranges that the two draws of a stitch come from.
_CUT_AXIS = {"random": (0, 2), "horizontal": (0, 1), "vertical": (1, 2)}
_KEPT_HALF = {"random": (0, 2), "first": (0, 1), "second": (1, 2)}


class Stitch(NegativeTransform):
    """Join half of an image with half of another: each half is real, the whole is not.

    Args:
        axis: ``"horizontal"`` cuts along a horizontal line (top and bottom halves), ``"vertical"`` along a vertical
            one, ``"random"`` draws one of them per image.
        keep: The half that is the image's own: ``"first"`` (top or left), ``"second"``, or ``"random"``.
        p: Probability that an image becomes its negative.
        same_on_batch: One draw for the whole batch.
        keepdim: Return the shape that was given.

    Raises:
        ValueError: If the axis is an unknown word, the image has only one line along it, or a single image comes
            without a pool.

    Shape:
        ``(B, C, H, W)`` or ``(B, T, C, H, W)`` to the same. Parameters: ``partners``, ``axis``, ``keep``, int64
        ``(B,)``.

    Example:
        >>> Stitch()(torch.rand(8, 3, 32, 32)).shape
        torch.Size([8, 3, 32, 32])
        >>> Stitch()(torch.rand(1, 3, 32, 32), pool=torch.rand(100, 3, 32, 32)).shape
        torch.Size([1, 3, 32, 32])

    Source: Sinha et al., Negative Data Augmentation, ICLR 2021.
    """

    uses_partners = True

    def __init__(
        self,
        axis: Axis = "random",
        keep: Keep = "random",
        p: float = 1.0,
        same_on_batch: bool = False,
        keepdim: bool = True,
    ) -> None:
        super().__init__(p=p, same_on_batch=same_on_batch, keepdim=keepdim)
        self.axis: Axis = one_of(axis, get_args(Axis), "axis")
        self.keep: Keep = one_of(keep, get_args(Keep), "keep")

    def sample(
        self, batch: int, size: tuple[int, int], *, generator: torch.Generator | None, device: sampling.Device
    ) -> Params:
        """Draw the cut's direction and the side to keep."""
        low, high = _CUT_AXIS[self.axis]
        if min(size[low:high]) < 2:
            raise ValueError(f"an image of {size[0]}x{size[1]} px has no two halves along axis={self.axis!r}")
        return {
            "axis": sampling.integers(low, high, batch, generator=generator, device=device),
            "keep": sampling.integers(*_KEPT_HALF[self.keep], batch, generator=generator, device=device),
        }

    def negate(self, images: Tensor, params: Params) -> Tensor:
        """Apply :func:`nda_augment.functional.stitch`."""
        return functional.stitch(images, params["partners"], params["axis"], params["keep"], pool=params.get("pool"))


class CutMix(NegativeTransform):
    """Fill a box of an image from the same place of another: a foreign object in a real scene.

    Args:
        side: Smallest and largest side of the box as fractions of the image's height and width, drawn apart; or one
            number. The paper's 1/3 to 1/2 by default.
        p: Probability that an image becomes its negative.
        same_on_batch: One box, and the same shift to the partner, for the whole batch.
        keepdim: Return the shape that was given.

    Raises:
        ValueError: If the range is not within (0, 1], holds no whole number of pixels, or a single image comes
            without a pool.

    Shape:
        ``(B, C, H, W)`` or ``(B, T, C, H, W)`` to the same. Parameters: ``partners``, int64 ``(B,)``; ``boxes``,
        int64 ``(B, 4)`` of ``(x0, y0, x1, y1)``.

    Example:
        >>> CutMix()(torch.rand(8, 3, 32, 32)).shape
        torch.Size([8, 3, 32, 32])

    Source: Sinha et al., Negative Data Augmentation, ICLR 2021; Yun et al., CutMix, ICCV 2019.
    """

    uses_partners = True

    def __init__(
        self,
        side: tuple[float, float] | float = (1 / 3, 1 / 2),
        p: float = 1.0,
        same_on_batch: bool = False,
        keepdim: bool = True,
    ) -> None:
        super().__init__(p=p, same_on_batch=same_on_batch, keepdim=keepdim)
        self.side = as_range(side, "side")

    def sample(
        self, batch: int, size: tuple[int, int], *, generator: torch.Generator | None, device: sampling.Device
    ) -> Params:
        """Draw one box per image."""
        return {"boxes": sampling.boxes(batch, size, side=self.side, generator=generator, device=device)}

    def negate(self, images: Tensor, params: Params) -> Tensor:
        """Apply :func:`nda_augment.functional.cutmix`."""
        return functional.cutmix(images, params["partners"], params["boxes"], pool=params.get("pool"))


class Mixup(NegativeTransform):
    """Blend an image with another: two transparent scenes at once.

    Args:
        alpha: α > 0 of the weight's distribution Beta(α, α); 25, as in the paper's code, keeps weights near 1/2.
        p: Probability that an image becomes its negative.
        same_on_batch: One weight, and the same shift to the partner, for the whole batch.
        keepdim: Return the shape that was given.

    Raises:
        ValueError: If α is not positive and finite, or a single image comes without a pool.

    Shape:
        ``(B, C, H, W)`` or ``(B, T, C, H, W)`` to the same. Parameters: ``partners``, int64 ``(B,)``; ``weights``,
        float32 ``(B,)``, the image's own share.

    Example:
        >>> Mixup()(torch.rand(8, 3, 32, 32)).shape
        torch.Size([8, 3, 32, 32])

    Source: Sinha et al., Negative Data Augmentation, ICLR 2021; Zhang et al., mixup, ICLR 2018.
    """

    uses_partners = True

    def __init__(self, alpha: float = 25.0, p: float = 1.0, same_on_batch: bool = False, keepdim: bool = True) -> None:
        super().__init__(p=p, same_on_batch=same_on_batch, keepdim=keepdim)
        if not 0.0 < alpha < float("inf"):
            raise ValueError(f"alpha must be positive and finite, got {alpha}")
        self.alpha = float(alpha)

    def sample(
        self, batch: int, size: tuple[int, int], *, generator: torch.Generator | None, device: sampling.Device
    ) -> Params:
        """Draw one weight per image."""
        return {"weights": sampling.symmetric_beta(batch, self.alpha, generator=generator, device=device)}

    def negate(self, images: Tensor, params: Params) -> Tensor:
        """Apply :func:`nda_augment.functional.mixup`."""
        return functional.mixup(images, params["partners"], params["weights"], pool=params.get("pool"))
