"""How well scores tell anomalies from what is normal: of images, of pixels, and of regions. Anomalies are positive.

Scores may be any numbers, higher is more anomalous; only their order counts. Values are exact, over all thresholds.
"""

import torch
from torch import Tensor
from torch.nn import functional as F


def auroc(scores: Tensor, anomalous: Tensor) -> float:
    """The area under the ROC curve: the chance that an anomaly scores higher than something normal, ties by half.

    Args:
        scores: Scores of images ``(N,)``, or of pixels, of any shape.
        anomalous: bool of the same shape, True for anomalies; both kinds must be there.

    Returns:
        A number in [0, 1], as torchmetrics' ``binary_auroc`` defines it.

    Raises:
        ValueError: If shapes differ, a score is not finite, or a kind is missing.
        TypeError: If what is anomalous is not bool.

    Example:
        >>> auroc(torch.tensor([0.1, 0.4, 0.35, 0.8]), torch.tensor([False, False, True, True]))
        0.75
    """
    scores, anomalous = _checked(scores, anomalous)
    false, true = _curve(scores, (~anomalous).double(), anomalous.double())
    return float(torch.trapezoid(true / true[-1], false / false[-1]))


def average_precision(scores: Tensor, anomalous: Tensor) -> float:
    """The mean precision over all recalls: ``Σ (R_n − R_{n−1}) P_n``, from the highest threshold down.

    It depends on the share of anomalies: scores without meaning reach that share.

    Args:
        scores: Scores of images ``(N,)``, or of pixels, of any shape.
        anomalous: bool of the same shape, True for anomalies; both kinds must be there.

    Returns:
        A number in [0, 1], as torchmetrics' ``binary_average_precision`` defines it.

    Raises:
        ValueError: If shapes differ, a score is not finite, or a kind is missing.
        TypeError: If what is anomalous is not bool.

    Example:
        >>> round(average_precision(torch.tensor([0.1, 0.4, 0.35, 0.8]), torch.tensor([False, False, True, True])), 4)
        0.8333
    """
    scores, anomalous = _checked(scores, anomalous)
    false, true = _curve(scores, (~anomalous).double(), anomalous.double())
    precision = true[1:] / (true[1:] + false[1:])
    return float((precision * true.diff()).sum() / true[-1])


def per_region_overlap(maps: Tensor, masks: Tensor, limit: float = 0.3) -> float:
    """The area under the curve of the per-region overlap (PRO) against the false positive rate of pixels.

    At a threshold the overlap is the share of a region that lies above it, in the mean over all regions of all images,
    so that a small one counts as much as a large one. A region is a part of a mask that holds together, by its
    sides or corners. The area up to ``limit`` is divided by it.

    Args:
        maps: Heat maps ``(N, 1, H, W)``, those of normal images too.
        masks: bool ``(N, 1, H, W)``, True where an anomaly is.
        limit: Largest false positive rate, in (0, 1].

    Returns:
        A number in [0, 1]; 1 is best, and scores without meaning reach ``limit / 2``.

    Raises:
        ValueError: If shapes differ, a score is not finite, a kind of pixels is missing, or the limit is out of bounds.
        TypeError: If the masks are not bool.

    Source: Bergmann et al., MVTec AD, CVPR 2019; with the limit: Uninformed Students, CVPR 2020.

    Example:
        >>> masks = torch.tensor([[[[True, False, False, False, True, True]]]])
        >>> maps = torch.tensor([[[[0.9, 0.1, 0.3, 0.2, 0.5, 0.0]]]])
        >>> round(per_region_overlap(maps, masks, limit=1.0), 4)
        0.75
    """
    if maps.ndim != 4 or masks.ndim != 4:
        raise ValueError(f"maps and masks must be (N, 1, H, W), got {tuple(maps.shape)} and {tuple(masks.shape)}")
    if not 0 < limit <= 1:
        raise ValueError(f"limit must be in (0, 1], got {limit}")
    scores, anomalous = _checked(maps, masks)
    share = torch.zeros(len(scores), dtype=torch.double, device=scores.device)
    names = regions(masks).to(scores.device).flatten()[anomalous]
    _, of_pixel, counts = torch.unique(names, return_inverse=True, return_counts=True)
    share[anomalous] = 1 / (counts[of_pixel] * len(counts)).double()
    false, overlap = _curve(scores, (~anomalous).double(), share)
    false = false / false[-1]
    inside = int((false <= limit).sum())
    area = torch.trapezoid(overlap[:inside], false[:inside])
    if inside < len(false):  # the piece up to the limit
        left, right = inside - 1, inside
        part = (limit - false[left]) / (false[right] - false[left])
        height = torch.lerp(overlap[left], overlap[right], part)
        area = area + (limit - false[left]) * (overlap[left] + height) / 2
    return float(area / limit)


def regions(masks: Tensor) -> Tensor:
    """Number the parts of masks that hold together, by sides or corners.

    Args:
        masks: bool ``(N, 1, H, W)``.

    Returns:
        int64 ``(N, 1, H, W)``: 0 outside, and a number of its own for each part of each image.

    Example:
        >>> regions(torch.tensor([[[[True, False, True, True]]]])).tolist()
        [[[[1, 0, 4, 4]]]]
    """
    names = torch.arange(1, masks.numel() + 1, device=masks.device).view(masks.shape) * masks
    while True:
        # Exact in float64 up to 2^53 pixels. Each part takes on the highest number in it.
        spread = F.max_pool2d(names.double(), 3, stride=1, padding=1).long() * masks
        if torch.equal(spread, names):
            return names
        names = spread


def _curve(scores: Tensor, false: Tensor, true: Tensor) -> tuple[Tensor, Tensor]:
    """Sums of two weights over all scores from each threshold up, from none to all; equal scores come together."""
    order = scores.argsort(descending=True)
    ordered = scores[order]
    last = torch.cat([ordered[1:] != ordered[:-1], ordered.new_ones(1, dtype=torch.bool)])
    sums = [weights[order].cumsum(0)[last] for weights in (false, true)]
    zero = false.new_zeros(1)
    return torch.cat([zero, sums[0]]), torch.cat([zero, sums[1]])


def _checked(scores: Tensor, anomalous: Tensor) -> tuple[Tensor, Tensor]:
    if scores.shape != anomalous.shape:
        raise ValueError(f"scores and anomalies must have one shape, got {scores.shape} and {anomalous.shape}")
    if anomalous.dtype is not torch.bool:
        raise TypeError(f"anomalies must be bool, got {anomalous.dtype}; of numbers: anomalous > 0")
    if not scores.isfinite().all():
        raise ValueError(f"{int((~scores.isfinite()).sum())} scores are not finite")
    anomalous = anomalous.flatten().to(scores.device)
    if anomalous.all() or not anomalous.any():
        raise ValueError(f"both kinds are needed, got {int(anomalous.sum())} anomalies of {anomalous.numel()}")
    return scores.detach().flatten(), anomalous
