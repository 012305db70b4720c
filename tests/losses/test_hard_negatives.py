import inspect
import pickle

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from nda_augment.losses import HardNegativeMixing, info_nce, mix_hard_negatives


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def normal(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(shape, generator=seeded(seed), dtype=dtype)


def basis_case(rows: int = 6) -> tuple[Tensor, Tensor]:
    """A query more similar to each next basis vector, orthogonal vectors as queue, one axis that only the query has."""
    query = torch.cat([torch.arange(1.0, rows + 1), torch.tensor([20.0])])[None].double()
    return query, torch.eye(rows, rows + 1, dtype=torch.float64)


@settings(deadline=None, max_examples=40)
@given(
    images=st.integers(1, 4),
    features=st.integers(2, 5),
    queue_size=st.integers(2, 8),
    n_mix=st.integers(0, 5),
    n_mix_query=st.integers(0, 5),
    seed=st.integers(0, 2**31),
)
def test_shapes_and_lengths(images, features, queue_size, n_mix, n_mix_query, seed):
    if n_mix + n_mix_query == 0:
        return
    query, queue = normal(images, features, seed=seed), normal(queue_size, features, seed=seed + 1)
    mixed = mix_hard_negatives(query, queue, n_hardest=2, n_mix=n_mix, n_mix_query=n_mix_query)
    assert mixed.shape == (images, n_mix + n_mix_query, features)
    torch.testing.assert_close(mixed.norm(dim=-1), torch.ones_like(mixed[..., 0]))


def test_mixes_lie_between_two_different_ones_of_the_hardest():
    query, queue = basis_case()
    mixed = mix_hard_negatives(query, queue, n_hardest=3, n_mix=6000, n_mix_query=0, generator=seeded())[0]
    weights = mixed / mixed.sum(dim=1, keepdim=True)  # undoes the scaling: the queue is a basis
    assert (weights >= 0).all()
    assert ((weights > 0).sum(dim=1) == 2).all()
    assert (weights[:, [0, 1, 2, 6]] == 0).all()
    # Each of the three pairs equally often: 2000 of 6000, standard deviation 37.
    absent = (weights[:, 3:6] == 0).sum(dim=0)
    assert (absent - 2000).abs().max() < 5 * 37
    # a ~ U(0, 1), for whichever comes first.
    first = weights[weights[:, 3] > 0, 3].sort().values
    uniform = torch.linspace(0, 1, len(first), dtype=torch.float64)
    assert (first - uniform).abs().max() < 1.95 / len(first) ** 0.5  # Kolmogorov-Smirnov at 0.1 %


def test_mixes_with_the_query_keep_the_negative_dominant():
    query, queue = basis_case()
    mixed = mix_hard_negatives(query, queue, n_hardest=3, n_mix=0, n_mix_query=6000, generator=seeded())[0]
    unit_query = F.normalize(query, dim=1)[0]
    share = mixed[:, 6] / unit_query[6]  # only the query has this axis
    rest = mixed - share[:, None] * unit_query
    assert ((rest.abs() > 1e-9).sum(dim=1) == 1).all()
    row, amount = rest.argmax(dim=1), rest.amax(dim=1)
    assert (row.bincount(minlength=7)[3:6] - 2000).abs().max() < 5 * 37
    weight = share / (share + amount)
    uniform = torch.linspace(0, 0.5, len(weight), dtype=torch.float64)
    assert (weight.sort().values - uniform).abs().max() < 0.5 * 1.95 / len(weight) ** 0.5


def test_each_query_has_its_own_weights():
    query, queue = torch.ones(2, 1, dtype=torch.float64).repeat(1, 3), torch.eye(3, dtype=torch.float64)
    mixed = mix_hard_negatives(query, queue[:1], n_hardest=1, n_mix=0, n_mix_query=9, generator=seeded())
    assert not torch.isclose(mixed[0], mixed[1]).all(dim=1).any()


def test_each_query_has_its_own_hardest():
    query, queue = torch.eye(2, 4), torch.eye(4)
    queue = queue.roll(1, 0)
    mixed = mix_hard_negatives(query, queue, n_hardest=1, n_mix=0, n_mix_query=5)
    torch.testing.assert_close(mixed, query[:, None].expand(2, 5, 4))  # a query mixed with itself


def test_they_are_harder_than_the_queue():
    query, queue = normal(8, 16), normal(200, 16, seed=1)
    mixed = mix_hard_negatives(query, queue, n_hardest=10, n_mix=50, n_mix_query=50, generator=seeded())
    similarities = torch.einsum("bmd,bd->bm", mixed, F.normalize(query, dim=1))
    hardest = (F.normalize(query, dim=1) @ F.normalize(queue, dim=1).T).topk(10, dim=1).values
    assert (similarities.mean(1) > hardest.mean(1)).all()
    assert (similarities[:, :50] >= hardest[:, -1:]).all()


def test_draws_come_from_the_generator():
    def draw(seed: int) -> Tensor:
        return mix_hard_negatives(
            normal(3, 4), normal(9, 4, seed=1), n_hardest=5, n_mix=4, n_mix_query=3, generator=seeded(seed)
        )

    state = torch.get_rng_state()
    assert torch.equal(draw(0), draw(0))
    assert not torch.equal(draw(0), draw(1))
    assert torch.equal(torch.get_rng_state(), state)
    mix_hard_negatives(normal(3, 4), normal(9, 4), n_hardest=5, n_mix=4, n_mix_query=3)
    assert not torch.equal(torch.get_rng_state(), state)


def test_detach():
    query, queue = normal(3, 4).requires_grad_(), normal(9, 4, seed=1).requires_grad_()
    counts = {"n_hardest": 5, "n_mix": 4, "n_mix_query": 3}
    assert not mix_hard_negatives(query, queue, **counts).requires_grad
    mixed = mix_hard_negatives(query, queue, **counts, detach=False)
    mixed.sum().backward()
    assert query.grad.abs().sum() > 0
    assert queue.grad.abs().sum() > 0
    # Detached mixes leave the query the gradient of fixed negatives.
    fixed = mix_hard_negatives(query, queue, **counts, generator=seeded())
    loss = info_nce(query, normal(3, 4, seed=2), queue=queue.detach(), negatives=fixed)
    assert torch.autograd.grad(loss, query)[0].isfinite().all()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_and_autocast(dtype):
    query, queue = normal(3, 16).to(dtype), normal(40, 16, seed=1).to(dtype)

    def draw(query: Tensor, queue: Tensor) -> Tensor:
        return mix_hard_negatives(query, queue, n_hardest=9, n_mix=4, n_mix_query=3, generator=seeded())

    expected = draw(query.float(), queue.float())
    assert torch.equal(draw(query, queue), expected)
    with torch.autocast("cpu", dtype=dtype):
        assert torch.equal(draw(query.float(), queue.float()), expected)


def test_compiles_in_one_piece():
    mixing = torch.compile(HardNegativeMixing(4, 5, 3), backend="aot_eager", fullgraph=True)
    assert mixing(normal(3, 4), normal(9, 4)).shape == (3, 8, 4)


def test_module_equals_function():
    query, queue = normal(3, 4), normal(9, 4, seed=1)
    mixing = pickle.loads(pickle.dumps(HardNegativeMixing(5, 4, 3)))
    expected = mix_hard_negatives(query, queue, n_hardest=5, n_mix=4, n_mix_query=3, generator=seeded())
    assert torch.equal(mixing(query, queue, seeded()), expected)
    assert HardNegativeMixing(5, 4, 3, detach=False)(query.requires_grad_(), queue).requires_grad
    defaults = [inspect.signature(f).parameters["detach"].default for f in (HardNegativeMixing, mix_hard_negatives)]
    assert defaults == [True, True]


@pytest.mark.parametrize(
    ("counts", "message"),
    [
        ((10, 4, 3), "n_hardest=10 is more than the 9 rows of the queue"),
        ((0, 0, 3), "n_hardest must be at least 1 for n_mix=0, got 0"),
        ((1, 4, 3), "n_hardest must be at least 2 for n_mix=4, got 1"),
        ((5, 0, 0), "not both 0; got 0 and 0"),
        ((5, -1, 3), "0 or more.*got -1 and 3"),
        ((5, 4, -3), "0 or more.*got 4 and -3"),
    ],
)
def test_bad_counts(counts, message):
    n_hardest, n_mix, n_mix_query = counts
    with pytest.raises(ValueError, match=message):
        mix_hard_negatives(normal(3, 4), normal(9, 4), n_hardest=n_hardest, n_mix=n_mix, n_mix_query=n_mix_query)


def test_bad_embeddings():
    counts = {"n_hardest": 2, "n_mix": 1, "n_mix_query": 1}
    with pytest.raises(ValueError, match=r"query must have shape \(B, D\) and queue \(K, D\), got \(3, 4\) and \(4,\)"):
        mix_hard_negatives(normal(3, 4), normal(4), **counts)
    with pytest.raises(ValueError, match=r"^query has 12 values that are not finite"):
        mix_hard_negatives(normal(3, 4) / 0, normal(9, 4), **counts)
    with pytest.raises(ValueError, match=r"queue must have 4 features, got shape \(9, 5\)"):
        mix_hard_negatives(normal(3, 4), normal(9, 5), **counts)
    with pytest.raises(ValueError, match="queue has 36 values that are not finite"):
        mix_hard_negatives(normal(3, 4), normal(9, 4) / 0, **counts)
    with pytest.raises(ValueError, match="0 or more"):
        HardNegativeMixing(5, 0, 0)
