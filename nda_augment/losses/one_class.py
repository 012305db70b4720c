"""Losses that learn one class from normal images and shifted copies of them, which are negatives.

Both contrast embeddings. CSI tells every image, and every shifted copy of it, from all others; UniCLR draws all normal
images together and pushes every negative away, from them and from each other.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nda_augment._checks import as_full_precision, as_positive
from nda_augment.losses._embeddings import similarity, unit
from nda_augment.losses.contrastive import nt_xent


def csi(z0: Tensor, z1: Tensor, shift_logits: Tensor, *, temperature: float = 0.5, shift_weight: float = 1.0) -> Tensor:
    """NT-Xent in which every shifted copy is an image of its own, plus the classification of the shifts.

    The positive of an embedding is the other view of the same image under the same shift; all other embeddings, those
    of the image's own shifted copies among them, are pushed away.

    Source: Tack et al., "CSI: Novelty Detection via Contrastive Learning on Distributionally Shifted Instances",
    NeurIPS 2020.

    Args:
        z0: The first views, ``(B, K, D)`` for ``B`` images under ``K`` shifts, the first of which is none.
        z1: The second views, ``(B, K, D)``.
        shift_logits: Logits over the shifts, ``(N, K, K)``; entry ``[n, k]`` holds the logits, over the shifts, of an
            image under shift ``k``.
        temperature: τ of the contrastive term, above 0.
        shift_weight: Weight of the classification, 0 or more.

    Returns:
        A scalar in float32 or wider.

    Raises:
        TypeError: If a tensor is not floating point.
        ValueError: If a shape does not fit, a value is not finite, ``temperature`` is not above 0, or
            ``shift_weight`` is negative or not finite.

    Example:
        >>> import torch
        >>> z = torch.eye(4).view(2, 2, 4)
        >>> csi(z, z, torch.zeros(2, 2, 2), temperature=1.0)
        tensor(1.8586)
    """
    _check_csi(temperature, shift_weight)
    if z0.ndim != 3 or z0.shape != z1.shape:
        raise ValueError(f"z0 and z1 must both be (B, K, D), got {tuple(z0.shape)} and {tuple(z1.shape)}")
    shifts = z0.shape[1]
    if shift_logits.ndim != 3 or shift_logits.shape[1:] != (shifts, shifts):
        raise ValueError(f"shift_logits must be (N, {shifts}, {shifts}) here, got {tuple(shift_logits.shape)}")
    contrast = nt_xent(z0.flatten(0, 1), z1.flatten(0, 1), temperature=temperature)
    logits = as_full_precision(shift_logits, "shift_logits")
    labels = torch.arange(shifts, device=logits.device).repeat(len(logits))
    return contrast + shift_weight * F.cross_entropy(logits.flatten(0, 1), labels)


def uniclr(
    inliers: Tensor, outliers: Tensor, *, temperature: float = 0.5, aggregation_temperature: float | None = None
) -> Tensor:
    """One class of normal images, and every negative a class of its own.

    The positives of a normal view are all other normal views, those of a negative's view its twins; candidates are all
    views but oneself. An anchor's loss is minus the mean of its positives' log-probabilities, and the loss is the mean
    over all anchors: a supervised contrastive loss with these labels.

    With ``aggregation_temperature``, the soft aggregation, normal positives are weighted by how typical they are,
    ``A(p) = Σ exp(z_p · z_j / τ_w)`` over the other normal views ``j``, without gradient. The weights stand outside
    the logarithm, ``−Σ A(p) log P(p) / Σ A(p)``. (Within the logarithm, as it is printed, weights that carry no
    gradient would change nothing but the loss's value; the anchor's own weight cancels in either form.)

    Source: Wang et al., "Unilaterally Aggregated Contrastive Learning with Hierarchical Augmentation for Anomaly
    Detection", ICCV 2023.

    Args:
        inliers: Embeddings of ``V`` views of ``B`` normal images, ``(B, V, D)``; two in all at least.
        outliers: Embeddings of ``V`` views of ``M`` negatives, ``(M, V, D)``; two views at least.
        temperature: τ, above 0.
        aggregation_temperature: τ_w, above 0; the paper uses 0.5. ``None``: all normal positives weigh the same.

    Returns:
        A scalar in float32 or wider.

    Raises:
        TypeError: If a tensor is not floating point.
        ValueError: If a shape does not fit, a value is not finite, or a temperature is not above 0.

    Example:
        >>> import torch
        >>> inliers = torch.tensor([[1.0, 0.0]]).expand(2, 2, 2)
        >>> uniclr(inliers, torch.tensor([[0.0, 1.0]]).expand(1, 2, 2), temperature=1.0)
        tensor(1.1802)
    """
    _check_uniclr(temperature, aggregation_temperature)
    for name, embeddings, fewest in (("inliers", inliers, 1), ("outliers", outliers, 2)):
        if embeddings.ndim != 3 or embeddings.shape[1] < fewest:
            wanted = "(N, views, D)" + (" with two views at least" if fewest == 2 else "")
            raise ValueError(f"{name} must be {wanted}, got {tuple(embeddings.shape)}")
    normal = unit(inliers, "inliers")
    negative = unit(outliers, "outliers", features=inliers.shape[-1])
    count = normal.shape[0] * normal.shape[1]
    if count < 2:
        raise ValueError("a single normal view has no other to be drawn to; give two views, or two images")

    views = torch.cat([normal.flatten(0, 1), negative.flatten(0, 1)])
    similarities = similarity(views, views)
    oneself = torch.eye(len(views), dtype=torch.bool, device=views.device)
    logits = similarities / temperature

    image = torch.arange(len(negative), device=views.device).repeat_interleave(negative.shape[1])
    weights = torch.zeros_like(logits)
    weights[:count, :count] = _typicality(similarities[:count, :count], aggregation_temperature)
    weights[count:, count:] = (image[:, None] == image).to(weights.dtype)
    weights = weights.masked_fill(oneself, 0)
    weights = weights / weights.sum(dim=1, keepdim=True)
    return (logits.masked_fill(oneself, -math.inf).logsumexp(dim=1) - (logits * weights).sum(dim=1)).mean()


def _typicality(similarities: Tensor, temperature: float | None) -> Tensor:
    """How much normal views look like the other normal views: one weight per column, without gradient."""
    if temperature is None:
        return torch.ones_like(similarities[0])
    scaled = (similarities.detach() / temperature).fill_diagonal_(-math.inf)
    return scaled.logsumexp(dim=0).softmax(dim=0)


class CSILoss(nn.Module):
    """Module twin of :func:`csi`, with the same settings.

    Example:
        >>> import torch
        >>> z = torch.eye(4).view(2, 2, 4)
        >>> CSILoss(temperature=1.0, shift_weight=0.0)(z, z, torch.zeros(2, 2, 2))
        tensor(1.1654)
    """

    def __init__(self, temperature: float = 0.5, *, shift_weight: float = 1.0) -> None:
        super().__init__()
        _check_csi(temperature, shift_weight)
        self.temperature, self.shift_weight = temperature, shift_weight

    def forward(self, z0: Tensor, z1: Tensor, shift_logits: Tensor) -> Tensor:
        """The loss of ``(B, K, D)`` embeddings of two views and ``(N, K, K)`` logits; see :func:`csi`."""
        return csi(z0, z1, shift_logits, temperature=self.temperature, shift_weight=self.shift_weight)

    def extra_repr(self) -> str:
        """Return the settings."""
        return f"temperature={self.temperature}, shift_weight={self.shift_weight}"


class UniCLRLoss(nn.Module):
    """Module twin of :func:`uniclr`, with the same settings.

    Example:
        >>> import torch
        >>> UniCLRLoss(temperature=1.0)(torch.eye(2)[None], -torch.eye(2)[None])
        tensor(0.8620)
    """

    def __init__(self, temperature: float = 0.5, *, aggregation_temperature: float | None = None) -> None:
        super().__init__()
        _check_uniclr(temperature, aggregation_temperature)
        self.temperature, self.aggregation_temperature = temperature, aggregation_temperature

    def forward(self, inliers: Tensor, outliers: Tensor) -> Tensor:
        """The loss of embeddings ``(B, V, D)`` and ``(M, V, D)``; see :func:`uniclr`."""
        settings = {"temperature": self.temperature, "aggregation_temperature": self.aggregation_temperature}
        return uniclr(inliers, outliers, **settings)  # type: ignore[arg-type]  # the first is never None

    def extra_repr(self) -> str:
        """Return the settings."""
        return f"temperature={self.temperature}, aggregation_temperature={self.aggregation_temperature}"


def _check_csi(temperature: float, shift_weight: float) -> None:
    as_positive(temperature, "temperature")
    if not 0 <= shift_weight < math.inf:
        raise ValueError(f"shift_weight must be a finite number of 0 or more, got {shift_weight}")


def _check_uniclr(temperature: float, aggregation_temperature: float | None) -> None:
    as_positive(temperature, "temperature")
    if aggregation_temperature is not None:
        as_positive(aggregation_temperature, "aggregation_temperature")
