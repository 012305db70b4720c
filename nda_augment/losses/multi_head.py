"""Several projection heads, each with temperatures of its own for every pair: AMCL, with negatives in it."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nda_augment._checks import as_deviation, as_positive, as_whole
from nda_augment.functional._precision import without_autocast
from nda_augment.losses._embeddings import check_rank, similarity, unit


class AdaptiveMultiHead(nn.Module):
    """NT-Xent of several heads, where a network says the temperature of each pair; made negatives join each head.

    For head ``c`` with embeddings ``z`` of length one and ``s_ij = ⟨z_i, z_j⟩``, the temperature of a pair is ``τ_ij =
    lowest + (highest − lowest) · sigmoid(MLP_c[z_i; z_j])``, and the loss of a view ``i`` with the other view ``p`` of
    its image is ``log Σ_j exp(s_ij / τ_ij) − s_ip / τ_ip`` over all other views, and the negatives of its image, plus
    ``β`` times the mean of ``(D/2) log τ_ij + 1/τ_ij`` over the same candidates. The last term reads a temperature as
    the variance of a similarity; it keeps one from making every loss small by being large. Losses of heads are added
    up.

    Use it where images are augmented in many ways at once, which one head with one temperature does not tell apart.
    Its parameters belong to the optimizer, and it takes features from before any head. Memory grows as heads · (2B)² ·
    ``temperature_hidden``.

    Args:
        features: Length of a feature vector.
        heads: Number of heads, 1 or more.
        hidden: Width of a head's hidden layer.
        dim: Length ``D`` of an embedding.
        temperature_hidden: Width of the hidden layer of the networks that say temperatures.
        lowest: Lowest temperature, above 0.
        highest: Highest temperature, above the lowest.
        regularizer: Weight β of the term on temperatures, 0 or more.
        negative_weight: Number of times that each made negative counts in the denominator, above 0.

    Raises:
        ValueError: If a number is out of bounds.

    Shape:
        Features ``(B, F)`` of two views, and ``(B, F)`` or ``(B, M, F)`` of each image's own negatives, to a scalar.

    Example:
        >>> criterion = AdaptiveMultiHead(features=16, heads=2, hidden=8, dim=4, temperature_hidden=4)
        >>> first, second, negatives = torch.rand(3, 8, 16).unbind()
        >>> criterion(first, second, negatives=negatives).shape
        torch.Size([])

    Source: Wang et al., Adaptive Multi-head Contrastive Learning, ECCV 2024, whose three heads, bounds and β these
    defaults are. The exact loss is derived here from its description; that negatives join is this package's.
    """

    def __init__(
        self,
        features: int,
        heads: int = 3,
        hidden: int = 512,
        dim: int = 128,
        *,
        temperature_hidden: int = 128,
        lowest: float = 1e-5,
        highest: float = 2.0,
        regularizer: float = 0.1,
        negative_weight: float = 1.0,
    ) -> None:
        super().__init__()
        sizes = {
            "features": features,
            "heads": heads,
            "hidden": hidden,
            "dim": dim,
            "temperature_hidden": temperature_hidden,
        }
        for name, size in sizes.items():
            as_whole(size, name, 1)
        self.lowest, self.highest = as_positive(lowest, "lowest"), as_positive(highest, "highest")
        if self.lowest >= self.highest:
            raise ValueError(f"lowest must be below highest, got {lowest} and {highest}")
        self.regularizer = as_deviation(regularizer, "regularizer")
        self.negative_weight = as_positive(negative_weight, "negative_weight")
        self.heads = nn.ModuleList(
            nn.Sequential(nn.Linear(features, hidden), nn.ReLU(), nn.Linear(hidden, dim)) for _ in range(heads)
        )
        self.temperatures = nn.ModuleList(PairNetwork(dim, temperature_hidden) for _ in range(heads))

    def forward(self, first: Tensor, second: Tensor, *, negatives: Tensor | None = None) -> Tensor:
        """The loss of features of two views and of negatives.

        Args:
            first: Features of the first views, ``(B, F)``.
            second: Features of the second views, ``(B, F)``.
            negatives: Features of the images' own negatives, ``(B, F)`` or ``(B, M, F)``.

        Returns:
            The sum over heads of the mean over views, a scalar in float32 or wider.

        Raises:
            TypeError: If features are not tensors of floating point.
            ValueError: If a shape does not fit.
        """
        check_rank(first, "first", (2,))
        check_rank(second, "second", (2,))
        if first.shape != second.shape:
            shapes = f"{tuple(first.shape)}, {tuple(second.shape)}"
            raise ValueError(f"first and second are views of one batch, got {shapes}")
        if negatives is not None:
            check_rank(negatives, "negatives", (2, 3))
            if len(negatives) != len(first):
                raise ValueError(f"each of {len(first)} images has its own negatives, got {tuple(negatives.shape)}")
            negatives = negatives if negatives.ndim == 3 else negatives.unsqueeze(1)
        views = torch.cat([first, second])
        losses = [
            self._of_head(head, temperature, views, negatives)
            for head, temperature in zip(self.heads, self.temperatures, strict=True)
        ]
        return torch.stack(losses).sum()

    def _of_head(self, head: nn.Module, temperature: nn.Module, views: Tensor, negatives: Tensor | None) -> Tensor:
        z = unit(head(views), "views")
        batch = len(z) // 2
        candidates = [z.expand(len(z), -1, -1)]
        if negatives is not None:
            own = unit(head(negatives), "negatives")
            candidates.append(torch.cat([own, own]))
        logits, costs = [], []
        for others in candidates:
            tau = self.lowest + (self.highest - self.lowest) * temperature(z, others).sigmoid()
            logits.append(similarity(z.unsqueeze(1), others).squeeze(1) / tau)
            costs.append(z.shape[1] / 2 * tau.log() + 1 / tau)
        oneself = torch.eye(len(z), dtype=torch.bool, device=z.device)
        positive = logits[0].gather(1, torch.arange(len(z), device=z.device).roll(batch).unsqueeze(1)).squeeze(1)
        logits[0] = logits[0].masked_fill(oneself, -math.inf)
        if negatives is not None and self.negative_weight != 1:
            logits[1] = logits[1] + math.log(self.negative_weight)
        loss: Tensor = torch.cat(logits, dim=1).logsumexp(dim=1) - positive
        if self.regularizer == 0:
            return loss.mean()
        counted = torch.cat([costs[0][~oneself].view(len(z), -1), *costs[1:]], dim=1)
        return (loss + self.regularizer * counted.mean(dim=1)).mean()

    def extra_repr(self) -> str:
        """The settings that are not the shape of a part."""
        return (
            f"lowest={self.lowest}, highest={self.highest}, regularizer={self.regularizer}, "
            f"negative_weight={self.negative_weight}"
        )


class PairNetwork(nn.Module):
    """A network of two layers on pairs of embeddings, ``MLP[z_i; z_j]``.

    The first layer is computed for either half apart, so that a pair costs its hidden layer and not its inputs.

    Args:
        dim: Length of an embedding.
        hidden: Width of the hidden layer.
    """

    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(dim, hidden), nn.Linear(dim, hidden, bias=False)
        self.out = nn.Linear(hidden, 1)

    def forward(self, anchors: Tensor, others: Tensor) -> Tensor:
        """Return ``(N, K)`` of anchors ``(N, D)`` and the ``K`` others of each, ``(N, K, D)``."""
        with without_autocast(anchors):
            pairs = _linear(self.first, anchors).unsqueeze(1) + _linear(self.second, others)
            return _linear(self.out, pairs.relu()).squeeze(-1)


def _linear(layer: nn.Linear, values: Tensor) -> Tensor:
    """Apply a layer in the precision of the values, which is full where the layer's may be half."""
    bias = None if layer.bias is None else layer.bias.to(values.dtype)
    return F.linear(values, layer.weight.to(values.dtype), bias)
