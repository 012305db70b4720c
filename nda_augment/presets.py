"""The settings of the paper, and those of its authors' code.

Both return the five negatives by name, to be used one at a time; the authors' code does so with the hinge loss and λ =
:data:`PAPER_FAKE_WEIGHT` from the first step on. ``nda_augment.Mixture(paper())`` draws from all five.
"""

from typing import Unpack

from nda_augment import sampling
from nda_augment.sampling import Source
from nda_augment.transforms import CutMix, Cutout, Jigsaw, Mixup, NegativeTransform, Stitch
from nda_augment.transforms.base import Params

PAPER_FAKE_WEIGHT = 0.25
"""λ of the paper and of its authors' code; the default of the losses is :data:`nda_augment.losses.FAKE_WEIGHT`."""


def paper() -> dict[str, NegativeTransform]:
    """Return the negatives as the paper defines them; they are this package's defaults.

    Boxes have sides of 1/3 to 1/2 of the image, height and width drawn apart, and everything is drawn per image.
    The paper gives no α for Mixup; 25 is that of the code.

    Returns:
        ``jigsaw``, ``stitch``, ``mixup``, ``cutout``, ``cutmix``.

    Example:
        >>> str(paper()["jigsaw"])
        'jigsaw'

    Source: Sinha et al., Negative Data Augmentation, ICLR 2021.
    """
    return {"jigsaw": Jigsaw(), "stitch": Stitch(), "mixup": Mixup(), "cutout": Cutout(), "cutmix": CutMix()}


def reference() -> dict[str, NegativeTransform]:
    """Return the negatives as the authors' code makes them, less its defects.

    As there: Stitch draws one direction per batch and always keeps the top or left half; Mixup draws one weight per
    batch; Cutout is a square of 10 to 19 pixels of a 32-pixel image, here the same fractions at any size; CutMix draws
    one box per batch whose area is uniform between nothing and the whole image before it is clipped at the border.

    Not reproduced, on purpose: the 2x2 jigsaw that returns the untouched image once in 23 draws; partners that are
    the image itself, about one per batch; empty CutMix boxes, one in 230, here one pixel wide or high at least; the
    last row and column that Cutout never reaches; absolute pixel sizes; the rotation of every pair in a batch by one
    common random permutation (here a derangement, or a shift where one draw is shared).

    Returns:
        ``jigsaw``, ``stitch``, ``mixup``, ``cutout``, ``cutmix``.

    Example:
        >>> reference()["cutout"].square
        True

    Source: the code released with Sinha et al., Negative Data Augmentation, ICLR 2021.
    """
    return {
        "jigsaw": Jigsaw(grid=(2, 2)),
        "stitch": Stitch(keep="first", same_on_batch=True),
        "mixup": Mixup(alpha=25.0, same_on_batch=True),
        "cutout": Cutout(side=(10 / 32, 19 / 32), square=True),
        "cutmix": _UniformAreaCutMix(same_on_batch=True),
    }


class _UniformAreaCutMix(CutMix):
    """CutMix with the box of Yun et al.: uniform area, the image's aspect, centred anywhere, clipped at the border."""

    def make_params(self, shape: tuple[int, ...], **source: Unpack[Source]) -> Params:
        """Draw one box per image."""
        return {"boxes": sampling.clipped_boxes(shape[0], (shape[-2], shape[-1]), **source)}
