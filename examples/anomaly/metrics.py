"""How well scores tell anomalies from normal images; anomalies are the positive class in all three."""

import torch
from torch import Tensor
from torchmetrics.functional.classification import binary_auroc, binary_average_precision, binary_roc

Measures = dict[str, float]
MEASURES = ("AUROC", "AP", "FPR95")


def detection(normal: Tensor, anomalous: Tensor) -> Measures:
    """AUROC, average precision, and the false positive rate at a true positive rate of 95 %, in percent.

    FPR95 is the share of normal images above the highest threshold that at least 95 % of the anomalies reach.

    Args:
        normal: Scores ``(N,)`` of normal images.
        anomalous: Scores ``(M,)`` of anomalies; higher is more anomalous.
    """
    if not len(normal) or not len(anomalous):
        raise ValueError(f"needs scores of both kinds, got {len(normal)} normal and {len(anomalous)} anomalous")
    labels = torch.cat([torch.zeros(len(normal)), torch.ones(len(anomalous))]).long()
    ranks = _ranks(torch.cat([normal, anomalous]).cpu())
    false_positives, true_positives, _ = binary_roc(ranks, labels)
    return {
        "AUROC": 100 * binary_auroc(ranks, labels).item(),
        "AP": 100 * binary_average_precision(ranks, labels).item(),
        "FPR95": 100 * false_positives[true_positives >= 0.95].min().item(),
    }


def _ranks(scores: Tensor) -> Tensor:
    """Scores as ranks in [0, 1], equal ones alike: torchmetrics squashes others by a sigmoid, which makes ties."""
    if not scores.isfinite().all():
        raise ValueError(f"{int((~scores.isfinite()).sum())} scores are not finite")
    _, places = torch.unique(scores, return_inverse=True)
    ranks: Tensor = places.double() / max(int(places.max()), 1)
    return ranks
