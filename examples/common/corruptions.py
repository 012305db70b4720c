"""What may happen to an image that leaves its class as it is, in five strengths, for images of 16 pixels or so."""

from torch import Tensor

import nda_augment as nda
from examples.common.randomness import generator
from nda_augment.transforms.corruptions import CorruptionKind

FIVE_STRENGTHS = (1, 2, 3, 4, 5)
STRENGTHS = FIVE_STRENGTHS[:3]  # under which the digits can still be read

# Images this small bear more than the photographs that the severities of nda.Corruption are made for. Lengths are in
# 16ths of a side.
_AMOUNTS: dict[CorruptionKind, tuple[float, ...]] = {
    "noise": (0.1, 0.2, 0.3, 0.4, 0.5),
    "salt_and_pepper": (0.05, 0.1, 0.2, 0.3, 0.4),
    "blur": (0.75 / 16, 1.25 / 16, 1.75 / 16, 2.25 / 16, 2.75 / 16),
    "motion_blur": (3 / 16, 5 / 16, 7 / 16, 9 / 16, 11 / 16),
    "pixelate": (0.5, 0.375, 0.25, 0.1875, 0.125),
    "darkness": (0.5, 0.3, 0.15, 0.1, 0.05),
}
CORRUPTIONS = tuple(_AMOUNTS)


def corrupt(images: Tensor, corruption: CorruptionKind, strength: int) -> Tensor:
    """Corrupt images ``(B, C, H, W)`` in [0, 1], always in the same way.

    Args:
        images: The images.
        corruption: One of ``CORRUPTIONS``.
        strength: One of ``FIVE_STRENGTHS``.

    Returns:
        As the images, in [0, 1].
    """
    amount = _AMOUNTS[corruption][FIVE_STRENGTHS.index(strength)]
    source = generator(0, corruption, strength, device=images.device)
    corrupted: Tensor = nda.Corruption(corruption, amount=amount)(images, generator=source)
    return corrupted
