"""Negatives for a classifier: images that belong to no class should not be classified with confidence.

Source: Qin et al., "Understanding and Improving Robustness of Vision Transformers through Patch-based Negative
Augmentation", NeurIPS 2022. Negatives there are patch-shuffled or patch-rotated copies of the batch, which a vision
transformer otherwise classifies almost as well as the originals.
"""

import math
from collections.abc import Mapping
from typing import Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nda_augment._checks import as_full_precision, as_positive, check_word
from nda_augment.losses.contrastive import sup_con

NegativeTerm = Literal["uniform", "distance", "contrastive"]
_TERMS = get_args(NegativeTerm)


def uniform_cross_entropy(logits: Tensor) -> Tensor:
    """The cross-entropy of predictions to the uniform distribution over the classes, ``mean(logsumexp − mean)``.

    Smallest, ``log C``, where every class gets the same logit. On negatives it is Qin et al.'s "uniform" term; on
    images of other data sets it is the outlier exposure of Hendrycks et al. 2019.

    Args:
        logits: Logits of negatives, ``(N, C)``.

    Returns:
        The mean over the images, a scalar in float32 or wider.

    Raises:
        TypeError: If ``logits`` are not floating point.
        ValueError: If ``logits`` are not ``(N, C)`` or empty.

    Example:
        >>> import torch
        >>> uniform_cross_entropy(torch.zeros(3, 10))
        tensor(2.3026)
    """
    logits = _matrix("logits", logits)
    return (logits.logsumexp(dim=1) - logits.mean(dim=1)).mean()


def probability_distance(logits: Tensor, negative_logits: Tensor) -> Tensor:
    """Minus the mean distance ``‖p − p̃‖₂`` between the class probabilities of images and of their negatives.

    Between −√2 (both certain, of different classes) and 0 (alike). Minimised, it drives the two predictions apart;
    Qin et al. take probabilities since distances between logits can grow without bound.

    Args:
        logits: Logits of images, ``(N, C)``.
        negative_logits: Logits of negatives, ``(N, C)``; row ``i`` is the negative of image ``i``.

    Returns:
        The mean over the pairs, a scalar in float32 or wider.

    Raises:
        TypeError: If logits are not floating point.
        ValueError: If logits are not ``(N, C)``, empty, or of different shapes.

    Example:
        >>> import torch
        >>> probability_distance(torch.tensor([[50.0, 0.0]]), torch.tensor([[0.0, 50.0]]))
        tensor(-1.4142)
    """
    logits = _matrix("logits", logits)
    negative_logits = _matrix("negative_logits", negative_logits)
    if logits.shape != negative_logits.shape:
        raise ValueError(
            f"logits and negative_logits are compared row by row, got {tuple(logits.shape)} and "
            f"{tuple(negative_logits.shape)}"
        )
    distance: Tensor = torch.linalg.vector_norm(logits.softmax(dim=1) - negative_logits.softmax(dim=1), dim=1)
    return -distance.mean()


def classification_loss(
    logits: Tensor,
    labels: Tensor,
    *,
    negative_logits: Tensor | None = None,
    features: Tensor | None = None,
    negative_features: Tensor | None = None,
    kind: NegativeTerm = "uniform",
    negative_weight: float = 1.0,
    temperature: float = 0.07,
) -> Tensor:
    """Cross-entropy on images plus ``negative_weight`` times a term on negatives.

    The term is, by ``kind``:

    - ``"uniform"``: :func:`uniform_cross_entropy` of ``negative_logits``.
    - ``"distance"``: :func:`probability_distance` of ``logits`` and ``negative_logits``.
    - ``"contrastive"``: :func:`~nda_augment.losses.sup_con` of the penultimate ``features``, where all
      ``negative_features`` of the batch are in every denominator; the one Qin et al. recommend. They use no projection
      head, so ``features`` are those that the last linear layer sees.

    Args:
        logits: Logits of images, ``(B, C)``.
        labels: Class indices ``(B,)``, or probabilities ``(B, C)`` where the term is not contrastive.
        negative_logits: Logits of negatives, ``(N, C)``; for ``"distance"`` row ``i`` is the negative of image ``i``.
        features: Features of images, ``(B, D)``.
        negative_features: Features of negatives, ``(M, D)``.
        kind: ``"uniform"``, ``"distance"`` or ``"contrastive"``.
        negative_weight: Weight of the term, 0 or more; the paper tries 0.5, 1 and 1.5. At 0 the loss is the
            cross-entropy exactly, and no negatives are needed.
        temperature: τ of the contrastive term, above 0.

    Returns:
        A scalar in float32 or wider.

    Raises:
        TypeError: If logits or features are not floating point.
        ValueError: If what ``kind`` needs is missing or something it does not use is given, ``negative_weight`` is
            negative or not finite, ``temperature`` is not above 0, ``kind`` is unknown, or a shape does not fit.

    Example:
        >>> import torch
        >>> logits, labels = torch.zeros(4, 10), torch.arange(4)
        >>> classification_loss(logits, labels, negative_logits=torch.zeros(4, 10), negative_weight=0.5)
        tensor(3.4539)
    """
    _check_settings(kind, negative_weight, temperature)
    cross_entropy = F.cross_entropy(_matrix("logits", logits), labels)
    if negative_weight == 0:
        return cross_entropy
    given = {"negative_logits": negative_logits, "features": features, "negative_features": negative_features}
    if kind == "contrastive":
        own, negatives = _take(kind, given, "features", "negative_features")
        term = sup_con(own, labels, negatives=negatives, temperature=temperature)
    elif kind == "distance":
        (negatives,) = _take(kind, given, "negative_logits")
        term = probability_distance(logits, negatives)
    else:
        (negatives,) = _take(kind, given, "negative_logits")
        term = uniform_cross_entropy(negatives)
        if negatives.shape[1] != logits.shape[1]:
            raise ValueError(
                f"negative_logits must have {logits.shape[1]} classes, as logits, got {negatives.shape[1]}"
            )
    return cross_entropy + negative_weight * term


class ClassificationLoss(nn.Module):
    """Module twin of :func:`classification_loss`, with the same settings.

    Example:
        >>> import torch
        >>> criterion = ClassificationLoss("contrastive", negative_weight=1.5)
        >>> logits, labels = torch.zeros(4, 10), torch.tensor([0, 1, 0, 1])
        >>> features, negative_features = torch.eye(4), torch.eye(4)
        >>> loss = criterion(logits, labels, features=features, negative_features=negative_features)
        >>> criterion
        ClassificationLoss(kind='contrastive', negative_weight=1.5, temperature=0.07)
    """

    def __init__(self, kind: NegativeTerm = "uniform", negative_weight: float = 1.0, temperature: float = 0.07) -> None:
        super().__init__()
        _check_settings(kind, negative_weight, temperature)
        self.kind: NegativeTerm = kind
        self.negative_weight = negative_weight
        self.temperature = temperature

    def forward(
        self,
        logits: Tensor,
        labels: Tensor,
        *,
        negative_logits: Tensor | None = None,
        features: Tensor | None = None,
        negative_features: Tensor | None = None,
    ) -> Tensor:
        """The loss of ``(B, C)`` logits, ``(B,)`` labels and what the kind needs; see :func:`classification_loss`."""
        return classification_loss(
            logits,
            labels,
            negative_logits=negative_logits,
            features=features,
            negative_features=negative_features,
            kind=self.kind,
            negative_weight=self.negative_weight,
            temperature=self.temperature,
        )

    def extra_repr(self) -> str:
        """The settings, as in the constructor."""
        return f"kind={self.kind!r}, negative_weight={self.negative_weight}, temperature={self.temperature}"


def _check_settings(kind: str, negative_weight: float, temperature: float) -> None:
    check_word(kind, "kind", _TERMS)
    as_positive(temperature, "temperature")
    if not 0 <= negative_weight < math.inf:
        raise ValueError(f"negative_weight must be a finite number, 0 or more, got {negative_weight}")


def _take(kind: str, given: Mapping[str, Tensor | None], *needed: str) -> list[Tensor]:
    """The tensors a kind needs; a missing one is an error, and so is one that would go unused."""
    present = {name: value for name, value in given.items() if value is not None}
    if present.keys() != set(needed):
        got = " and ".join(present) or "none of them"
        raise ValueError(f"kind={kind!r} needs {' and '.join(needed)} and nothing else, got {got}")
    return [present[name] for name in needed]


def _matrix(name: str, logits: Tensor) -> Tensor:
    if logits.ndim != 2:
        raise ValueError(f"{name} must have shape (N, C), got {tuple(logits.shape)}")
    return as_full_precision(logits, name)
