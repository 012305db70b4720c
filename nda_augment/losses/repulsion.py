"""Negatives for methods whose loss has no denominator: BYOL, SimSiam, Barlow Twins, VICReg, DINO."""

import math

import torch
from torch import Tensor, nn

from nda_augment._checks import as_finite
from nda_augment.losses._embeddings import check_rank, unit
from nda_augment.losses._softmax import negative_parts
from nda_augment.losses.options import Scope, complete, describe


def repulsion(
    prediction: Tensor,
    negatives: Tensor,
    *,
    negative_mask: Tensor | None = None,
    floor: float = -1.0,
    scope: Scope = "own",
    negative_gradient: bool = False,
    gather_distributed: bool = False,
) -> Tensor:
    """The cosine similarity of predictions to negatives, a penalty to add to a loss without a denominator.

    ``loss + weight * repulsion(prediction, negatives)`` pulls an image to its other view, and pushes it away from its
    own negative. BYOL's own loss is ``2 − 2 cos``, so there a weight of 2 takes a negative as seriously as a positive.
    Source: Ge et al., "Robust Contrastive Learning Using Negative Samples with Diminished Semantics", NeurIPS 2021, for
    BYOL.

    The penalty has a shortcut: all images at one point and all negatives at the opposite one. BYOL and SimSiam have
    nothing against that but their asymmetry, so watch the spread of the embeddings there, and prefer ``floor=0``, which
    asks for no more than a right angle. Barlow Twins, VICReg and DINO spread the images by a term of their own.

    Args:
        prediction: Vectors to compare, ``(B, D)`` or ``(B, V, D)`` for ``V`` views: predictions (BYOL, SimSiam),
            embeddings (Barlow Twins, VICReg), outputs before the prototypes (DINO).
        negatives: Negatives as the prediction's targets are embedded, ``(B, D)``, ``(B, M, D)`` or, with
            ``scope="batch"``, ``(M, D)``.
        negative_mask: Booleans that say which negatives count; as in :func:`~nda_augment.losses.info_nce`.
        floor: Similarity in [−1, 1] below which a negative is left alone; −1 is never.
        scope: Word that says which images see a negative. ``"own"``: the image that it was made of. ``"batch"``: all.
        negative_gradient: Whether gradient flows into negatives; off, since they stand on the side of the targets.
        gather_distributed: Whether negatives of ``scope="batch"`` of all ranks are joined.

    Returns:
        The mean over the images of the mean over their negatives, a scalar in [−1, 1], in float32 or wider. An image
        whose negatives do not count contributes 0.

    Raises:
        TypeError: If a tensor is not floating point, or the mask is not boolean.
        ValueError: If a shape does not fit, a value is not finite (see :func:`~nda_augment.losses.info_nce`), ``floor``
            is not in [−1, 1], or ``scope`` is unknown.

    Example:
        >>> import torch
        >>> prediction = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
        >>> negatives = torch.tensor([[1.0, 0.0], [0.0, -1.0]])
        >>> repulsion(prediction, negatives)
        tensor(0.)
        >>> repulsion(prediction, negatives, floor=0.0)
        tensor(0.5000)
    """
    _check_floor(floor)
    check_rank(prediction, "prediction", (2, 3))
    settings = complete(
        {
            "temperature": 1.0,
            "scope": scope,
            "negative_gradient": negative_gradient,
            "gather_distributed": gather_distributed,
        }
    )
    views = unit(prediction if prediction.ndim == 3 else prediction[:, None], "prediction")
    (part,) = negative_parts(views, negatives, negative_mask, settings)
    counted = part.logits > -math.inf
    similarities = torch.where(counted, part.logits.clamp(min=floor), 0.0)
    return (similarities.sum(dim=1) / counted.sum(dim=1).clamp(min=1)).mean()


class RepulsionLoss(nn.Module):
    """Module twin of :func:`repulsion`, with the same settings.

    Example:
        >>> import torch
        >>> RepulsionLoss(floor=0.0)(torch.eye(2), -torch.eye(2))
        tensor(0.)
    """

    def __init__(
        self,
        floor: float = -1.0,
        *,
        scope: Scope = "own",
        negative_gradient: bool = False,
        gather_distributed: bool = False,
    ) -> None:
        super().__init__()
        _check_floor(floor)
        complete({"scope": scope})
        self.floor = floor
        self.scope: Scope = scope
        self.negative_gradient = negative_gradient
        self.gather_distributed = gather_distributed

    def forward(self, prediction: Tensor, negatives: Tensor, negative_mask: Tensor | None = None) -> Tensor:
        """The penalty on ``(B, D)`` predictions and their negatives; see :func:`repulsion`."""
        return repulsion(
            prediction,
            negatives,
            negative_mask=negative_mask,
            floor=self.floor,
            scope=self.scope,
            negative_gradient=self.negative_gradient,
            gather_distributed=self.gather_distributed,
        )

    def extra_repr(self) -> str:
        """The settings, as in the constructor."""
        names = ("floor", "scope", "negative_gradient", "gather_distributed")
        return describe({name: getattr(self, name) for name in names})


def _check_floor(floor: float) -> None:
    if not -1 <= as_finite(floor, "floor") <= 1:
        raise ValueError(f"floor must be a similarity in [-1, 1], got {floor}")
