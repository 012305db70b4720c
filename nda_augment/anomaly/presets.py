"""Two settings, since defects and foreign objects need different negatives.

CutPaste's negatives reach a mean AUROC of 95.2 on the defects of MVTec and of 69.4 on one-class CIFAR-10 (Li et al.
2021); shifted instances reach 94.3 (Tack et al. 2020) and 95.4 (Wang et al. 2023) on the latter. These are the papers'
numbers, from full trainings.
"""

from typing import Any

from kornia.augmentation import ColorJiggle, ImageSequential, RandomGrayscale, RandomHorizontalFlip, RandomResizedCrop
from torch import nn

from nda_augment.anomaly._training import Training
from nda_augment.anomaly.segmentation import SegmentationDetector
from nda_augment.anomaly.shifted import Method, ShiftDetector
from nda_augment.anomaly.shifts import rotations
from nda_augment.transforms import CutPaste, CutPasteScar, NegativeTransform, PerlinBlend


def defect_negatives() -> list[NegativeTransform]:
    """Small and local damage: CutPaste, its scar, and islands of Perlin noise.

    Example:
        >>> [str(negative) for negative in defect_negatives()]
        ['cutpaste', 'cutpastescar', 'perlinblend']
    """
    return [CutPaste(), CutPasteScar(), PerlinBlend()]


def defect(channels: int = 3, *, training: Training | None = None, **options: Any) -> SegmentationDetector:
    """A detector for damaged surfaces and parts: which pixels are unlike those of normal images?

    It learns to outline synthetic damage. On cracks in roads and faults in solar cells it is ahead of what needs no
    training and knows no place, as :class:`ClassifierDetector` with :func:`defect_negatives`, after CutPaste, is on the
    second alone: see docs/results/anomaly.md.

    Args:
        channels: Channels of the images.
        training: Settings of the training; ``None`` is that of :class:`SegmentationDetector`.
        **options: Options of :class:`SegmentationDetector`.

    Example:
        >>> defect(channels=1).has_heatmap
        True
    """
    return SegmentationDetector(channels, training=training, **options)


def semantic(
    backbone: nn.Module,
    features: int,
    size: tuple[int, int],
    *,
    channels: int = 3,
    method: Method = "csi",
    training: Training | None = None,
    **options: Any,
) -> ShiftDetector:
    """A detector for foreign objects: is this the kind of thing that the normal images show?

    The shifts are rotations, for data that have an upright position.

    Args:
        backbone: Images ``(B, C, H, W)`` to features ``(B, D)``.
        features: ``D``.
        size: Height and width of the images.
        channels: Number of channels of the images; colours of RGB images are augmented.
        method: ``"csi"`` or ``"uniclr"``.
        training: Settings of the training.
        **options: Options of :class:`ShiftDetector`.

    Example:
        >>> from nda_augment.anomaly import Encoder
        >>> backbone = Encoder(channels=3, width=8)
        >>> len(semantic(backbone, backbone.features, (32, 32)).shifts)
        3
    """
    views = options.pop("views", None) or simclr_views(size, color=channels == 3)
    return ShiftDetector(backbone, features, rotations(), method, views=views, training=training, **options)


def simclr_views(
    size: tuple[int, int], *, color: bool = False, flip: bool = False, min_scale: float = 0.5, strength: float = 1.0
) -> ImageSequential:
    """Views of images in [0, 1] that keep what an image shows: crops and, if asked for, mirror images and colours.

    Args:
        size: Height and width of the images.
        color: Change brightness, contrast, saturation and hue of RGB images, and take the colour from some.
        flip: Mirror half of them from left to right.
        min_scale: Smallest share of the image in a crop.
        strength: Share in (0, 1] of how far crops and colours go.

    Example:
        >>> import torch
        >>> simclr_views((8, 8))(torch.rand(2, 1, 8, 8)).shape
        torch.Size([2, 1, 8, 8])
    """
    steps: list[nn.Module] = [RandomResizedCrop(size, scale=(1.0 - strength * (1.0 - min_scale), 1.0))]
    if flip:
        steps.append(RandomHorizontalFlip())
    if color:
        change = 0.4 * strength
        steps += [ColorJiggle(change, change, change, 0.1 * strength, p=0.8), RandomGrayscale(p=0.2 * strength)]
    return ImageSequential(*steps)


def rising_views(size: tuple[int, int], stages: int, *, color: bool = False, flip: bool = False) -> list[nn.Module]:
    """Views of images in [0, 1] for the ``stages`` before the last one, the weaker the earlier.

    The share ``k / (stages + 1)`` of what :func:`simclr_views` does: of how far crops go below the whole image, of the
    change of colours and of how often the colour is taken away. How UniCon-HA's strengths rise is not published.

    Args:
        size: Height and width of the images.
        stages: Number of stages before the last.
        color: Whether to change colours of RGB images.
        flip: Whether to mirror half of the images from left to right.

    Example:
        >>> len(rising_views((8, 8), stages=2))
        2
    """
    shares = [number / (stages + 1) for number in range(1, stages + 1)]
    return [simclr_views(size, color=color, flip=flip, strength=share) for share in shares]
