"""Ranks taken in turn, in one process: quick, seen by a debugger, and it says which tensors a loss joins.

What real ranks do, gradients included, is tested in ``test_contrastive``.
"""

import functools

import pytest
import torch
from torch import Tensor

from nda_augment.losses import _distributed, contrastive
from tests.losses import ranks


class Turns:
    """A process group of ranks that take turns: what each gives is noted first, and handed out joined after."""

    def __init__(self) -> None:
        self.rank = 0
        self.given: list[list[Tensor]] = [[] for _ in range(ranks.WORLD_SIZE)]
        self.joined: list[Tensor] | None = None
        self.calls = 0

    def gather(self, local: Tensor) -> Tensor:
        self.calls += 1
        if self.joined is None:
            self.given[self.rank].append(local)
            return local.repeat(ranks.WORLD_SIZE, *(1 for _ in local.shape[1:]))
        return self.joined[self.calls - 1]

    def start(self, rank: int) -> None:
        self.rank, self.calls = rank, 0


@pytest.fixture
def turns(monkeypatch: pytest.MonkeyPatch) -> Turns:
    group = Turns()
    monkeypatch.setattr(_distributed, "gather", group.gather)
    monkeypatch.setattr(_distributed, "rank", lambda: group.rank)
    return group


@functools.cache
def embedded() -> ranks.Batch:
    return {name: value.detach() for name, value in ranks.embed(ranks.make_encoder(), ranks.make_batch()).items()}


@pytest.mark.parametrize("name", ranks.forms(gather=True))
def test_shares_average_to_the_loss_of_the_joined_batch(name: str, turns: Turns) -> None:
    expected = ranks.forms(gather=False)[name](embedded())
    assert turns.calls == 0
    loss = ranks.forms(gather=True)[name]
    shares = [ranks.shard(embedded(), rank) for rank in range(ranks.WORLD_SIZE)]
    for rank, share in enumerate(shares):
        turns.start(rank)
        loss(share)
    turns.joined = [torch.cat(parts) for parts in zip(*turns.given, strict=True)]
    values = []
    for rank, share in enumerate(shares):
        turns.start(rank)
        values.append(loss(share))
    torch.testing.assert_close(torch.stack(values).mean(), expected)


@pytest.mark.parametrize("loss", [contrastive.info_nce, contrastive.nt_xent, contrastive.dcl], ids=lambda f: f.__name__)
def test_nothing_is_joined_unless_told(loss, turns: Turns) -> None:
    batch = embedded()
    turns.start(1)
    loss(batch["x0"], batch["x1"], negatives=batch["negatives"], scope="batch")
    contrastive.sup_con(batch["x0"], batch["labels"], negatives=batch["negatives"], scope="batch")
    contrastive.negative_logits(batch["x0"], batch["negatives"], scope="batch", temperature=1.0)
    assert turns.calls == 0


def test_negatives_count_once_by_default() -> None:
    batch = embedded()
    plain = contrastive.negative_logits(batch["x0"], batch["negatives"], temperature=1.0)
    assert torch.equal(
        plain, contrastive.negative_logits(batch["x0"], batch["negatives"], temperature=1.0, negative_scale=1.0)
    )
    assert plain.abs().max() <= 1 + 1e-9
