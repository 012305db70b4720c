"""The one formula of the contrastive losses: how likely a softmax over candidates finds the positive.

Every loss names its candidates in parts, without joining them into one matrix: with 4,096 images a matrix of
similarities is 256 MB, and the copies are what such a loss costs.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from nda_augment.losses import _distributed as distributed
from nda_augment.losses._embeddings import check_rank, similarity, unit
from nda_augment.losses.options import ContrastiveOptions


class Part(NamedTuple):
    """Some of the candidates of every anchor.

    Attributes:
        logits: Similarities / τ, ``(A, K)``; −∞ where a candidate does not count for an anchor.
        weight: Number of times that each counts.
        negative: Whether a concentration weighs them; positives it does not.
    """

    logits: Tensor
    weight: float = 1.0
    negative: bool = True


def surprise(positive: Tensor, parts: Sequence[Part], concentration: float = 0.0) -> Tensor:
    """Return ``log Σ candidates − positive`` for each anchor, and 0 for an anchor without candidates.

    Args:
        positive: Logit of the positive, ``(A,)``, or the mean over several.
        parts: The candidates.
        concentration: β, the weighting towards hard negatives.
    """
    if not concentration:
        return _surprise(positive, *_log_sum(parts))
    hard = [part for part in parts if part.negative]
    top, total = _log_sum([part._replace(logits=(1 + concentration) * part.logits) for part in hard])
    weights_top, weights = _log_sum([part._replace(logits=concentration * part.logits) for part in hard])
    count = torch.stack([part.weight * (part.logits > -math.inf).sum(dim=1, dtype=total.dtype) for part in hard]).sum(
        dim=0
    )
    # The mean weight divides the sum, so the candidates together count as often as without a concentration.
    total = torch.where(count > 0, total * count / weights.clamp(min=torch.finfo(weights.dtype).tiny), 0.0)
    top = top - weights_top
    rest = [part for part in parts if not part.negative]
    if rest:
        rest_top, rest_total = _log_sum(rest)
        highest = torch.where(count > 0, torch.maximum(top, rest_top), rest_top)
        total = torch.where(count > 0, total * (top - highest).exp(), 0.0) + rest_total * (rest_top - highest).exp()
        top = highest
    return _surprise(positive, top, total)


def negative_parts(
    anchors: Tensor, negatives: Tensor | None, mask: Tensor | None, options: ContrastiveOptions
) -> list[Part]:
    """Return the part that negatives are of the candidates, if there are any.

    Args:
        anchors: Embeddings of length one, ``(B, V, D)``, ``V`` views of each image.
        negatives: Embeddings of negatives, as the public functions take them.
        mask: Mask of the negatives that count, as the public functions take it.
        options: Complete options.
    """
    if negatives is None:
        if mask is not None:
            raise ValueError("negative_mask says which negatives count, but there are none: pass negatives too")
        return []
    check_rank(negatives, "negatives", (2, 3))
    negatives = unit(negatives, "negatives", features=anchors.shape[-1])
    if not options["negative_gradient"]:
        negatives = negatives.detach()
    anchors = anchors * (options["negative_scale"] / options["temperature"])
    if options["scope"] == "own":
        if len(negatives) != len(anchors):
            raise ValueError(
                f'scope="own" gives each of the {len(anchors)} images its own negatives, got negatives of shape '
                f'{tuple(negatives.shape)}; for negatives that all images share pass scope="batch"'
            )
        logits = similarity(anchors, negatives if negatives.ndim == 3 else negatives[:, None])
    else:
        shared = negatives.flatten(0, -2)
        logits = similarity(anchors, distributed.gather(shared) if options["gather_distributed"] else shared)
    if mask is not None:
        images, _, columns = logits.shape
        shape = tuple(negatives.shape[:-1]) if options["scope"] == "own" else (images, columns)
        check_mask(mask, "negative_mask", shape)
        hide(logits, ~mask.view(images, 1, columns))
    return [Part(logits.flatten(0, 1), options["negative_weight"])]


def hide(logits: Tensor, hidden: Tensor) -> None:
    """Take candidates out of the softmax, in place.

    What is −∞ has probability 0, hence gradient 0: the step needs no backward pass, and no copy of the matrix for one.
    """
    with torch.no_grad():
        logits.masked_fill_(hidden, -math.inf)


def check_mask(mask: Tensor, name: str, shape: tuple[int, ...]) -> None:
    """Refuse a mask that is not boolean or of another shape."""
    if not isinstance(mask, Tensor) or mask.dtype != torch.bool:
        kind = mask.dtype if isinstance(mask, Tensor) else type(mask).__name__
        raise TypeError(f"{name} must be a boolean tensor, True where a candidate counts, got {kind}")
    if tuple(mask.shape) != shape:
        raise ValueError(f"{name} must have shape {shape}, got {tuple(mask.shape)}")


def _log_sum(parts: Sequence[Part]) -> tuple[Tensor, Tensor]:
    """Return a ``top`` and a ``total`` of each anchor; the sum over its candidates is ``total · exp(top)``.

    ``torch.logsumexp`` would keep the logits for its backward pass and make two matrices more in it; an exponential
    keeps itself.
    """
    tops = torch.stack([part.logits.detach().amax(dim=1) for part in parts]).amax(dim=0)
    top = tops.clamp(min=torch.finfo(tops.dtype).min)
    sums = [part.weight * (part.logits - top[:, None]).exp_().sum(dim=1) for part in parts]
    return top, torch.stack(sums).sum(dim=0)


def _surprise(positive: Tensor, top: Tensor, total: Tensor) -> Tensor:
    some = total.clamp(min=torch.finfo(total.dtype).tiny)
    # The difference first: it is small where the loss is, and a logit of 20 would round off the rest.
    return torch.where(total == 0, 0.0, some.log() + (top - positive))
