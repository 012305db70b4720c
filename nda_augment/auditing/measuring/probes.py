"""Linear classifiers, and whether they tell two sets apart."""

import torch
from torch import Tensor
from torch.nn import functional as F

# The penalty of linear classifiers of features, which are in units of their deviation.
FEATURE_RIDGE = 0.01
# A prediction of 0 is a coin that stands on its edge; what rounding leaves of 0 must not make it fall.
_ROUNDING = 1e-9


def leave_groups_out(features: Tensor, targets: Tensor, groups: Tensor, *, ridge: float) -> Tensor:
    """Predict every target by a linear ridge regression on the other groups' features.

    All regressions come from one Cholesky factor. With ``H`` the matrix that maps targets to fitted values, what is
    left over of group ``g`` when it is left out is ``(1 − H_gg)⁻¹`` times what is left over of it when it is not. The
    intercept is that of all groups together.

    Args:
        features: Features ``(N, D)``.
        targets: Targets ``(N, K)``.
        groups: Number of the group of each, ``(N,)``, from 0.
        ridge: Penalty on the squared weights, per example.

    Returns:
        Predictions ``(N, K)``, in double precision.
    """
    centred = features - features.mean(0)
    features = centred.double()
    means = targets.double().mean(0)
    targets = targets.double() - means
    penalty = ridge * len(features)
    wide = features.shape[1] >= len(features)
    # Where it is large and the penalty is too, products need not be more precise than the pixels are.
    gram = (centred @ centred.T).double() if wide else features.T @ features
    factor = torch.linalg.cholesky(gram.diagonal_scatter(gram.diagonal() + penalty))
    # Wide: 1 − H is penalty · gram⁻¹, and its blocks are products of columns of the factor's inverse.
    inverse = _triangular_inverse(factor) if wide else torch.linalg.solve_triangular(factor, features.T, upper=False)
    residuals = inverse.T @ (inverse @ targets) if wide else targets - inverse.T @ (inverse @ targets)
    predictions = torch.empty_like(targets)
    for group in range(int(groups.max()) + 1):
        own = (groups == group).nonzero().squeeze(1)
        columns = inverse[:, own]
        block = columns.T @ columns
        if not wide:
            block = torch.eye(len(own), dtype=block.dtype, device=block.device) - block
        predictions[own] = targets[own] - torch.cholesky_solve(residuals[own], torch.linalg.cholesky(block))
    return predictions + means


def _triangular_inverse(factor: Tensor) -> Tensor:
    eye = torch.eye(len(factor), dtype=factor.dtype, device=factor.device)
    inverse: Tensor = torch.linalg.solve_triangular(factor, eye, upper=False)
    return inverse


def ridge_regression(features: Tensor, targets: Tensor, *, ridge: float) -> Tensor:
    """Return the weights ``(D + 1, K)`` of a linear regression; the last are the intercept, which is not penalised."""
    mean, centre = features.mean(0), targets.mean(0)
    centred = features - mean
    gram = centred.T @ centred
    gram = gram.diagonal_scatter(gram.diagonal() + ridge * len(features))
    weights = torch.linalg.solve(gram, centred.T @ (targets - centre))
    return torch.cat([weights, (centre - mean @ weights).unsqueeze(0)])


def with_one(features: Tensor) -> Tensor:
    """Append the constant 1 that the intercept is multiplied with."""
    return F.pad(features, (0, 1), value=1.0)


def told_apart(first: Tensor, second: Tensor, groups: Tensor, *, ridge: float) -> Tensor:
    """Run a classifier two-sample test: does a linear classifier tell two sets apart?

    Source: Lopez-Paz and Oquab, "Revisiting Classifier Two-Sample Tests", ICLR 2017.

    Args:
        first: Features ``(N, D)``.
        second: Features ``(N, D)``; what belongs to ``first[i]`` is ``second[i]``.
        groups: Number of the group of each pair, ``(N,)``; a group is judged by what the others taught.
        ridge: Penalty, as for :func:`leave_groups_out`.

    Returns:
        How much of each pair was told right, ``(N,)``: 0, 1/2 or 1. The mean is 1/2 where there is none to see.
    """
    signs = torch.cat([torch.full((len(first), 1), sign, device=first.device) for sign in (-1.0, 1.0)])
    predictions = leave_groups_out(torch.cat([first, second]), signs, groups.repeat(2), ridge=ridge)
    right = 0.5 + 0.5 * signs * predictions.where(predictions.abs() > _ROUNDING, 0.0).sign()
    return right.view(2, -1).mean(0)


def told_by_score(first: Tensor, second: Tensor) -> Tensor:
    """Say how often what was made of an image has a higher score than an image: ``(N,)`` and ``(N,)`` to ``(N,)``.

    The mean is the area under the ROC curve; ties count 1/2.
    """
    sorted_first = first.sort().values
    below = torch.searchsorted(sorted_first, second) + torch.searchsorted(sorted_first, second, right=True)
    return below.float() / (2 * len(first))
