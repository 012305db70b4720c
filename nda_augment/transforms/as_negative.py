"""Any transform as a negative."""

from collections.abc import Callable
from typing import Literal, Unpack, get_args

import torch
from torch import Tensor, nn

from nda_augment import sampling
from nda_augment._checks import as_one_of, as_positive, as_share, as_whole
from nda_augment._seeding import seeded
from nda_augment.functional._layout import in_layout_of
from nda_augment.sampling import Source
from nda_augment.transforms.base import Common, NegativeTransform, Params
from nda_augment.transforms.mixture import Mixture

__all__ = ["AsNegative"]

Measure = Literal["relative_l2", "pixels"]


class AsNegative(NegativeTransform):
    """Make a negative of any transform: kornia's, torchvision's v2, or a function of a batch.

    The transform is applied image by image, under a seed of its own, so that every image has its own draw whatever
    the transform shares over a batch. An image that did not change enough is drawn again, at most ``redraws`` times.
    Whether it changed is a question to the images: unlike the other negatives this one waits for the device, loops
    over the batch and does not compile.

    Args:
        module: Callable on a batch ``(1, C, H, W)`` (or a clip ``(1, T, C, H, W)``) that returns one of the same
            shape and dtype. Its randomness must come from torch's global generators, as kornia's and torchvision's
            does.
        min_change: Smallest change that counts.
        measure: ``"relative_l2"``, the norm of the change over that of the image; or ``"pixels"``, the share of
            pixels that changed in any channel.
        redraws: Number of times that an image is drawn again.
        **common: ``p``, ``same_on_batch``, ``keepdim`` of :class:`NegativeTransform`.

    Raises:
        ValueError: If an argument is out of bounds, or the transform changes shape or dtype.
        RuntimeError: If an image did not change enough in any draw; the message names it.

    Shape:
        ``(B, C, H, W)`` or ``(B, T, C, H, W)`` to the same. Parameters: ``seeds``, int64 ``(B,)``.

    Example:
        >>> import kornia.augmentation as K
        >>> negative = AsNegative(K.RandomSolarize(p=0.5), min_change=0.01)
        >>> images = torch.rand(4, 3, 16, 16)
        >>> bool((negative(images) != images).flatten(1).any(dim=1).all())
        True
    """

    def __init__(
        self,
        module: Callable[[Tensor], Tensor],
        min_change: float = 0.1,
        measure: Measure = "relative_l2",
        redraws: int = 10,
        **common: Unpack[Common],
    ) -> None:
        super().__init__(**common)
        self.redraws = as_whole(redraws, "redraws")
        self.measure: Measure = as_one_of(measure, "measure", get_args(Measure))
        self.min_change = as_positive(min_change, "min_change")
        if measure == "pixels":
            as_share(min_change, "min_change")
        parts = module.modules() if isinstance(module, nn.Module) else ()
        if any(isinstance(part, Mixture) and part.learns for part in parts):
            raise ValueError(
                "module is called on one image after the other, and LearnedMixture is told of whole batches; call that "
                "by itself, its members are negatives already"
            )
        self.module = module

    def make_params(self, shape: tuple[int, ...], **source: Unpack[Source]) -> Params:
        """Draw one seed per image."""
        return {"seeds": sampling.integers(0, 2**62, shape[0], **source)}

    def transform(self, images: Tensor, params: Params) -> Tensor:
        """Apply the transform to one image after the other."""
        if not len(images):
            return images.clone()
        seeds = params["seeds"].tolist()
        singles = torch.split(images, 1)
        parts = [self._negative(image, seeds[number], number) for number, image in enumerate(singles)]
        return in_layout_of(images, torch.cat(parts))

    def __str__(self) -> str:
        """Return the representation: a policy string cannot name a foreign transform."""
        return repr(self)

    def _negative(self, image: Tensor, seed: int, number: int) -> Tensor:
        for redraw in range(self.redraws + 1):
            with seeded(seed + redraw, image.device):
                negative = self.module(image.clone())
            if negative.shape != image.shape or negative.dtype != image.dtype:
                raise ValueError(
                    f"the wrapped transform made {tuple(negative.shape)} {negative.dtype} of "
                    f"{tuple(image.shape)} {image.dtype}; it must keep both"
                )
            if self._change(image, negative) >= self.min_change:
                return negative
        raise RuntimeError(
            f"image {number} changed by less than min_change={self.min_change} ({self.measure}) in each of "
            f"{self.redraws + 1} draws; use a stronger transform, more redraws or a smaller min_change"
        )

    def _change(self, image: Tensor, negative: Tensor) -> float:
        if self.measure == "pixels":
            return float((image != negative).any(dim=-3).float().mean())
        before, after = image.detach().double(), negative.detach().double()
        return float((after - before).norm() / before.norm().clamp(min=torch.finfo(torch.float64).tiny))
