"""The one formula of the contrastive losses: how likely a softmax over candidates finds the positive.

Every loss names its candidates in parts, without joining them into one matrix: with 4,096 images a matrix of
similarities is 256 MB, and the copies are what such a loss costs.
"""

import math
from collections.abc import Callable, Sequence
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


def surprise(positive: Tensor, parts: Sequence[Part], options: ContrastiveOptions) -> Tensor:
    """Return ``log Σ candidates − positive`` for each anchor, and 0 for an anchor without candidates.

    Args:
        positive: Logit of the positive, ``(A,)``, or the mean over several.
        parts: The candidates.
        options: Complete options.
    """
    hard = [part for part in parts if part.negative]
    easy = [part for part in parts if not part.negative]
    top = _top(parts)
    negatives = _hard_total(hard, top, options["concentration"]) if hard else torch.zeros_like(top)
    positives = _total(easy, top) if easy else torch.zeros_like(top)
    plain = _surprise(positive, top, positives + negatives)
    if not options["feature_modification"]:
        return plain
    # A positive lowered and all others raised by ε: in the ratio of the two, only the others count, and by 2 ε.
    raised = math.exp(2 * options["feature_modification"] / options["temperature"])
    return (plain + _surprise(positive, top, positives + raised * negatives)) / 2


def negative_parts(
    anchors: Tensor,
    negatives: Tensor | None,
    mask: Tensor | None,
    options: ContrastiveOptions,
    prepare: Callable[..., Tensor] = unit,
) -> list[Part]:
    """Return the part that negatives are of the candidates, if there are any.

    Args:
        anchors: Prepared embeddings, ``(B, V, D)``, ``V`` views of each image.
        negatives: Embeddings of negatives, as the public functions take them.
        mask: Mask of the negatives that count, as the public functions take it.
        options: Complete options.
        prepare: Checks embeddings, and scales them as the anchors are.
    """
    if negatives is None:
        if mask is not None:
            raise ValueError("negative_mask says which negatives count, but there are none: pass negatives too")
        return []
    check_rank(negatives, "negatives", (2, 3))
    negatives = prepare(negatives, "negatives", features=anchors.shape[-1])
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


def hide_diagonal(matrix: Tensor, offset: int, value: float = -math.inf) -> None:
    """Take what each anchor has at its own place out, as :func:`hide` does."""
    with torch.no_grad():
        matrix.diagonal(offset).fill_(value)


def offset_of(rows: Tensor, options: ContrastiveOptions) -> int:
    """Where this rank's rows begin among those of all ranks."""
    return distributed.rank() * len(rows) if options["gather_distributed"] else 0


def check_mask(mask: Tensor, name: str, shape: tuple[int, ...]) -> None:
    """Refuse a mask that is not boolean or of another shape."""
    if not isinstance(mask, Tensor) or mask.dtype != torch.bool:
        kind = mask.dtype if isinstance(mask, Tensor) else type(mask).__name__
        raise TypeError(f"{name} must be a boolean tensor, True where a candidate counts, got {kind}")
    if tuple(mask.shape) != shape:
        raise ValueError(f"{name} must have shape {shape}, got {tuple(mask.shape)}")


def _top(parts: Sequence[Part], factor: float = 1.0) -> Tensor:
    """The largest finite logit of each anchor, times ``factor``: what exponents are taken relative to."""
    highest = torch.stack([part.logits.detach().amax(dim=1) for part in parts]).amax(dim=0)
    return factor * highest.clamp(min=torch.finfo(highest.dtype).min / (1 + factor))


def _total(parts: Sequence[Part], top: Tensor, factor: float = 1.0) -> Tensor:
    """Return ``Σ weight · exp(factor · logit − top)`` for each anchor.

    ``torch.logsumexp`` would keep the logits for its backward pass and make two matrices more in it; an exponential
    keeps itself.
    """
    scaled = [part.logits if factor == 1 else factor * part.logits for part in parts]
    sums = [part.weight * (x - top[:, None]).exp_().sum(dim=1) for part, x in zip(parts, scaled, strict=True)]
    return torch.stack(sums).sum(dim=0)


def _hard_total(parts: Sequence[Part], top: Tensor, concentration: float) -> Tensor:
    """The total of negatives relative to ``top``, weighted towards the hard ones if there is a concentration β."""
    if not concentration:
        return _total(parts, top)
    # Each sum relative to its own largest exponent: with a low temperature they are far below the positive's.
    weight_top, product_top = _top(parts, concentration), _top(parts, 1 + concentration)
    weights, products = _total(parts, weight_top, concentration), _total(parts, product_top, 1 + concentration)
    counts = [part.weight * (part.logits > -math.inf).sum(dim=1, dtype=top.dtype) for part in parts]
    # The mean weight divides the sum, so that together the candidates count as often as without a concentration.
    mean = weights / torch.stack(counts).sum(dim=0).clamp(min=torch.finfo(top.dtype).tiny)
    total = products / mean.clamp(min=torch.finfo(top.dtype).tiny)
    # The largest negative is at most the largest candidate; without negatives, the two mean nothing.
    return total * (product_top - weight_top - top).clamp(max=0.0).exp()


def _surprise(positive: Tensor, top: Tensor, total: Tensor) -> Tensor:
    some = total.clamp(min=torch.finfo(total.dtype).tiny)
    # The difference first: it is small where the loss is, and a logit of 20 would round off the rest.
    return torch.where(total == 0, 0.0, some.log() + (top - positive))
