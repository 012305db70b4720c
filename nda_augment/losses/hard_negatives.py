"""Negatives mixed in feature space, harder than those of the queue (MoCHi)."""

import torch
from torch import Tensor, nn

from nda_augment.losses._embeddings import similarity, unit


def mix_hard_negatives(
    query: Tensor,
    queue: Tensor,
    *,
    n_hardest: int,
    n_mix: int,
    n_mix_query: int,
    generator: torch.Generator | None = None,
    detach: bool = True,
) -> Tensor:
    """For every query, new negatives between the hardest ones of the queue, and between those and the query.

    Of the ``n_hardest`` rows of the queue that are most similar to the query, ``n_mix`` pairs of two different rows are
    mixed as ``a·n₁ + (1 − a)·n₂`` with ``a ~ U(0, 1)``, and ``n_mix_query`` rows are mixed with the query as
    ``b·q + (1 − b)·n`` with ``b ~ U(0, ½)``, so that the negative outweighs the query; each mix is scaled to length
    one. Source: Kalantidis et al., "Hard Negative Mixing for Contrastive Learning", NeurIPS 2020.

    The result goes to :func:`~nda_augment.losses.info_nce` as ``negatives`` with ``scope="own"``, alone or with
    augmented negatives: ``torch.cat([augmented[:, None], mixed], dim=1)``. Start it after a few epochs, when what is
    hard has become meaningful.

    Args:
        query: Queries ``(B, D)``.
        queue: Queue ``(K, D)``, without the positives.
        n_hardest: Number of rows of the queue to draw from, at most ``K``; at least 2 where ``n_mix`` is not 0.
        n_mix: Number of mixes of two rows per query.
        n_mix_query: Number of mixes with the query per query.
        generator: Source of the draws; torch's default without one. It may live on another device than the query.
        detach: Whether the result carries no gradient. ``False`` lets it flow into ``query`` and ``queue``; then
            ``info_nce`` needs ``negative_gradient=True`` too.

    Returns:
        ``(B, n_mix + n_mix_query, D)``, rows of length one, the ``n_mix`` first, in float32 or wider.

    Raises:
        TypeError: If ``query`` or ``queue`` is not floating point.
        ValueError: If a shape does not fit, a value is not finite (see :func:`~nda_augment.losses.info_nce`), or a
            count is out of its range.

    Example:
        >>> import torch
        >>> query, queue = torch.eye(2, 3), torch.eye(3)
        >>> mixed = mix_hard_negatives(query, queue, n_hardest=2, n_mix=4, n_mix_query=1)
        >>> mixed.shape
        torch.Size([2, 5, 3])
    """
    _check_counts(n_hardest, n_mix, n_mix_query)
    if query.ndim != 2 or queue.ndim != 2:
        raise ValueError(
            f"query must have shape (B, D) and queue (K, D), got {tuple(query.shape)} and {tuple(queue.shape)}"
        )
    query = unit(query, "query")
    queue = unit(queue, "queue", features=query.shape[1])
    if n_hardest > len(queue):
        raise ValueError(f"n_hardest={n_hardest} is more than the {len(queue)} rows of the queue")

    hardest = similarity(query.detach(), queue.detach()).topk(n_hardest, dim=1).indices
    device = query.device if generator is None else generator.device

    def pick(count: int, below: int) -> Tensor:
        return torch.randint(below, (len(query), count), generator=generator, device=device).to(query.device)

    def weigh(count: int) -> Tensor:
        weights = torch.rand(len(query), count, 1, generator=generator, device=device, dtype=query.dtype)
        return weights.to(query.device)

    mixes = []
    if n_mix:
        first = pick(n_mix, n_hardest)
        # A step of 1 to n_hardest − 1 never leads back: a row mixed with itself would be no new negative.
        second = (first + 1 + pick(n_mix, n_hardest - 1)) % n_hardest
        mixes.append(torch.lerp(queue[hardest.gather(1, second)], queue[hardest.gather(1, first)], weigh(n_mix)))
    if n_mix_query:
        row = pick(n_mix_query, n_hardest)
        mixes.append(torch.lerp(queue[hardest.gather(1, row)], query[:, None], weigh(n_mix_query) / 2))
    mixed = unit(torch.cat(mixes, dim=1), "mixes")
    return mixed.detach() if detach else mixed


class HardNegativeMixing(nn.Module):
    """Module twin of :func:`mix_hard_negatives`, with the same settings.

    Example:
        >>> import torch
        >>> mixing = HardNegativeMixing(n_hardest=2, n_mix=4, n_mix_query=1)
        >>> mixing(torch.eye(2, 3), torch.eye(3)).shape
        torch.Size([2, 5, 3])
        >>> mixing
        HardNegativeMixing(n_hardest=2, n_mix=4, n_mix_query=1, detach=True)
    """

    def __init__(self, n_hardest: int, n_mix: int, n_mix_query: int, detach: bool = True) -> None:
        super().__init__()
        _check_counts(n_hardest, n_mix, n_mix_query)
        self.n_hardest = n_hardest
        self.n_mix = n_mix
        self.n_mix_query = n_mix_query
        self.detach = detach

    def forward(self, query: Tensor, queue: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Negatives for ``(B, D)`` queries from a ``(K, D)`` queue; see :func:`mix_hard_negatives`."""
        return mix_hard_negatives(
            query,
            queue,
            n_hardest=self.n_hardest,
            n_mix=self.n_mix,
            n_mix_query=self.n_mix_query,
            generator=generator,
            detach=self.detach,
        )

    def extra_repr(self) -> str:
        """The settings, as in the constructor."""
        return f"n_hardest={self.n_hardest}, n_mix={self.n_mix}, n_mix_query={self.n_mix_query}, detach={self.detach}"


def _check_counts(n_hardest: int, n_mix: int, n_mix_query: int) -> None:
    if n_mix < 0 or n_mix_query < 0 or n_mix + n_mix_query == 0:
        raise ValueError(f"n_mix and n_mix_query must be 0 or more, not both 0; got {n_mix} and {n_mix_query}")
    smallest = 2 if n_mix else 1
    if n_hardest < smallest:
        raise ValueError(f"n_hardest must be at least {smallest} for n_mix={n_mix}, got {n_hardest}")
