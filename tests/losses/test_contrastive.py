import math
import pickle

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from nda_augment.losses import (
    DCLLoss,
    InfoNCELoss,
    NTXentLoss,
    SupConLoss,
    dcl,
    hardness,
    info_nce,
    mix_hard_negatives,
    negative_logits,
    nt_xent,
    sup_con,
)
from tests.losses import ranks


def normal(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


# ---------------------------------------------------------------------------------------------------------------------
# The losses written out, one anchor and one candidate at a time
# ---------------------------------------------------------------------------------------------------------------------


def cosine(a: Tensor, b: Tensor) -> float:
    dot = sum(x * y for x, y in zip(a.tolist(), b.tolist(), strict=True))
    return dot / math.sqrt(sum(x * x for x in a.tolist())) / math.sqrt(sum(y * y for y in b.tolist()))


def seen_by(image: int, negatives: Tensor | None, scope: str, mask: Tensor | None) -> list[Tensor]:
    """The negatives that an image sees."""
    if negatives is None:
        return []
    if scope == "own":
        seen = list(negatives[image]) if negatives.ndim == 3 else [negatives[image]]
    else:
        seen = list(negatives.reshape(-1, negatives.shape[-1]))
    counted = [True] * len(seen) if mask is None else mask[image].reshape(-1).tolist()
    return [negative for negative, counts in zip(seen, counted, strict=True) if counts]


def written_out(
    anchors: list[Tensor],
    image: list[int],
    positives: list[list[Tensor]],
    others: list[list[Tensor]],
    *,
    negatives: Tensor | None,
    temperature: float,
    negative_scale: float = 1.0,
    negative_weight: float = 1.0,
    concentration: float = 0.0,
    feature_modification: float = 0.0,
    negative_mask: Tensor | None = None,
    scope: str = "own",
    decoupled: bool = False,
) -> float:
    """Mean over the anchors of −log(e^positive / Σ e^candidate), averaged over an anchor's positives."""
    total = 0.0
    for anchor, which, good, bad in zip(anchors, image, positives, others, strict=True):
        candidates = [(cosine(anchor, z) / temperature, 1.0) for z in bad]
        for z in seen_by(which, negatives, scope, negative_mask):
            candidates.append((negative_scale * cosine(anchor, z) / temperature, negative_weight))
        # With a concentration β, each candidate weighs e^(β·logit), and these weights are scaled to a mean of 1.
        importance = [weight * math.exp(concentration * e) for e, weight in candidates]
        scale = sum(weight for _, weight in candidates) / sum(importance) if candidates else 0.0
        for shift in (0.0, feature_modification / temperature):
            partition = sum(
                scale * share * math.exp(e + shift) for share, (e, _) in zip(importance, candidates, strict=True)
            )
            if not decoupled:
                partition += sum(math.exp(cosine(anchor, z) / temperature - shift) for z in good)
            if good and partition:
                log_odds = [math.log(partition) - cosine(anchor, z) / temperature + shift for z in good]
                total += sum(log_odds) / len(good) / 2
    return total / len(anchors)


def info_nce_written_out(query, key, queue=None, candidate_mask=None, in_batch=None, **kwargs):
    batch = range(len(query))
    others = [[] for _ in batch]
    candidates = list(key) if (queue is None if in_batch is None else in_batch) else []
    own = len(candidates)
    candidates += [] if queue is None else list(queue)
    for i in batch:
        for j, candidate in enumerate(candidates):
            if not (j < own and j == i) and (candidate_mask is None or candidate_mask[i, j]):
                others[i].append(candidate)
    return written_out(list(query), list(batch), [[k] for k in key], others, **kwargs)


def sup_con_written_out(features, labels, candidate_mask=None, **kwargs):
    """For ``(B, V, D)``; with every image a class of its own and two views, that is NT-Xent."""
    index = [(i, v) for i in range(features.shape[0]) for v in range(features.shape[1])]
    positives, others = [], []
    for i, v in index:
        rest = [(j, w) for j, w in index if (j, w) != (i, v)]
        counted = [(j, w) for j, w in rest if candidate_mask is None or candidate_mask[i, j]]
        positives.append([features[j, w] for j, w in rest if labels[j] == labels[i]])
        others.append([features[j, w] for j, w in counted if labels[j] != labels[i]])
    return written_out([features[i, v] for i, v in index], [i for i, _ in index], positives, others, **kwargs)


@st.composite
def batches(draw):
    """Sizes, settings and negatives of a random batch of at least two images."""
    images, features, seed = draw(st.integers(2, 5)), draw(st.integers(1, 4)), draw(st.integers(0, 2**31))
    scope = draw(st.sampled_from(["own", "batch"]))
    shapes = [None, (images,), (images, draw(st.integers(1, 3)))]
    if scope == "batch":
        shapes.append((draw(st.integers(1, 6)),))
    shape = draw(st.sampled_from(shapes))
    given = {
        "negatives": None if shape is None else normal(*shape, features, seed=seed + 9),
        "scope": scope,
        "temperature": draw(st.floats(0.05, 2)),
        "negative_scale": draw(st.floats(0.1, 3)),
        "negative_weight": draw(st.sampled_from([1.0, 0.3, 2.0])),
        "concentration": draw(st.sampled_from([0.0, 0.5, 2.0])),
        "feature_modification": draw(st.sampled_from([0.0, 0.1])),
        "negative_mask": None,
    }
    if shape is not None and draw(st.booleans()):
        given["negative_mask"] = booleans(*(shape if scope == "own" else (images, math.prod(shape))), seed=seed)
    return images, features, seed, given


def booleans(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed + 1)) < 0.6


examples = settings(deadline=None, max_examples=60)
CLOSE = {"rel": 1e-9, "abs": 1e-9}


@examples
@given(batches(), st.sampled_from([None, 1, 4]), st.sampled_from([None, True, False]), st.booleans(), st.booleans())
def test_info_nce_equals_the_sum_written_out(batch, queue_size, in_batch, decoupled, masked):
    images, features, seed, given = batch
    query, key = normal(images, features, seed=seed), normal(images, features, seed=seed + 1)
    queue = None if queue_size is None else normal(queue_size, features, seed=seed + 2)
    if in_batch is False and queue is None and given["negatives"] is None:
        in_batch = True
    given |= {"in_batch": in_batch, "decoupled": decoupled}
    columns = (queue_size or 0) + (images if (queue is None if in_batch is None else in_batch) else 0)
    if masked:
        given["candidate_mask"] = booleans(images, columns, seed=seed + 5)
    expected = info_nce_written_out(query, key, queue, **given)
    assert info_nce(query, key, queue=queue, **given).item() == pytest.approx(expected, **CLOSE)


@examples
@given(batches(), st.booleans(), st.sampled_from([nt_xent, dcl]), st.integers(2, 4))
def test_losses_of_views_equal_the_sum_written_out(batch, masked, loss, count):
    images, features, seed, given = batch
    views = [normal(images, features, seed=seed + number) for number in range(count)]
    if masked:
        given["candidate_mask"] = booleans(images, images, seed=seed + 5)
    expected = sup_con_written_out(torch.stack(views, 1), torch.arange(images), decoupled=loss is dcl, **given)
    assert loss(views, **given).item() == pytest.approx(expected, **CLOSE)
    if count == 2:
        assert torch.equal(loss(*views, **given), loss(views, **given))


@examples
@given(batches(), st.integers(1, 3), st.booleans())
def test_sup_con_equals_the_sum_written_out(batch, views, masked):
    images, features, seed, given = batch
    embeddings = normal(images, views, features, seed=seed)
    labels = torch.randint(3, (images,), generator=torch.Generator().manual_seed(seed))
    if masked:
        given["candidate_mask"] = booleans(images, images, seed=seed + 5)
    expected = sup_con_written_out(embeddings, labels, **given)
    assert sup_con(embeddings, labels, **given).item() == pytest.approx(expected, **CLOSE)
    if views == 1:
        assert torch.equal(sup_con(embeddings[:, 0], labels, **given), sup_con(embeddings, labels, **given))


# ---------------------------------------------------------------------------------------------------------------------
# Limits and independent references
# ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("temperature", [0.05, 0.2, 1.0])
def test_info_nce_without_negatives_is_a_cross_entropy(temperature):
    query, key, queue = (F.normalize(normal(n, 16, seed=n, dtype=torch.float32), dim=1) for n in (8, 8, 33))
    key = key.flip(0)
    unit_query, unit_key, unit_queue = (F.normalize(z, dim=1) for z in (query, key, queue))
    positive = torch.einsum("nc,nc->n", unit_query, unit_key).unsqueeze(1)
    logits = torch.cat([positive, torch.einsum("nc,ck->nk", unit_query, unit_queue.T)], dim=1) / temperature
    expected = F.cross_entropy(logits, torch.zeros(8, dtype=torch.long))
    torch.testing.assert_close(info_nce(query, key, queue=queue, temperature=temperature), expected)
    in_batch = F.cross_entropy(unit_query @ unit_key.T / temperature, torch.arange(8))
    torch.testing.assert_close(info_nce(query, key, temperature=temperature), in_batch)


LIMITS = {
    "all negatives count": {"negative_mask": torch.ones(5, 2, dtype=torch.bool)},
    "all candidates count": {"candidate_mask": torch.ones(5, 5, dtype=torch.bool)},
    "a weight of 1": {"negative_weight": 1.0},
    "no concentration": {"concentration": 0.0},
    "no modification": {"feature_modification": 0.0},
}


@pytest.mark.parametrize("limit", LIMITS)
@pytest.mark.parametrize("loss", [info_nce, nt_xent, dcl, sup_con])
def test_limits_are_the_loss_without_the_setting_bit_for_bit(loss, limit):
    second = torch.tensor([0, 1, 0, 2, 1]) if loss is sup_con else normal(5, 4, seed=1)
    settings = {"negatives": normal(5, 2, 4, seed=2), "scope": "own"}
    assert torch.equal(loss(normal(5, 4), second, **settings, **LIMITS[limit]), loss(normal(5, 4), second, **settings))


@pytest.mark.parametrize("concentration", [0.0, 1.5])
@pytest.mark.parametrize("loss", [info_nce, nt_xent, dcl, sup_con])
def test_a_weight_of_two_is_every_negative_twice(loss, concentration):
    second = torch.tensor([0, 1, 0]) if loss is sup_con else normal(3, 4, seed=1)
    negatives = normal(3, 2, 4, seed=2)
    settings = {"concentration": concentration, "scope": "own"}
    twice = loss(normal(3, 4), second, negatives=negatives.repeat(1, 2, 1), **settings)
    torch.testing.assert_close(loss(normal(3, 4), second, negatives=negatives, negative_weight=2.0, **settings), twice)


@pytest.mark.parametrize("loss", [info_nce, nt_xent, dcl, sup_con])
def test_no_negative_counts_equals_none_given(loss):
    second = torch.tensor([0, 1, 0]) if loss is sup_con else normal(3, 4, seed=1)
    none = torch.zeros(3, dtype=torch.bool)
    masked = loss(normal(3, 4), second, negatives=normal(3, 4, seed=2), negative_mask=none, scope="own")
    torch.testing.assert_close(masked, loss(normal(3, 4), second))


def test_a_queue_beside_the_batch_is_one_longer_queue_without_the_key():
    query, key, queue = normal(3, 4), normal(3, 4, seed=1), normal(5, 4, seed=2)
    both = info_nce(query, key, queue=queue, in_batch=True)
    each = [info_nce(query[[i]], key[[i]], queue=torch.cat([queue, key[torch.arange(3) != i]])) for i in range(3)]
    torch.testing.assert_close(both, torch.stack(each).mean())


def test_explicit_negatives_only():
    query, key, negatives = normal(3, 4), normal(3, 4, seed=1), normal(7, 4, seed=2)
    alone = info_nce(query, key, negatives=negatives, scope="batch", in_batch=False)
    torch.testing.assert_close(alone, info_nce(query, key, queue=negatives))


def test_decoupled_info_nce_with_a_queue_is_minus_the_positive_plus_the_log_sum_of_the_queue():
    query, key, queue = (F.normalize(normal(n, 4, seed=n), dim=1) for n in (3, 3, 6))
    key = key.flip(0)
    expected = ((query @ queue.T / 0.2).logsumexp(1) - (query * key).sum(1) / 0.2).mean()
    torch.testing.assert_close(info_nce(query, key, queue=queue, decoupled=True), expected)


def test_an_anchor_without_candidates_contributes_nothing_and_no_gradient():
    z0 = normal(3, 4).requires_grad_()
    nobody = torch.zeros(3, 3, dtype=torch.bool)
    for concentration in (0.0, 1.0):
        loss = dcl(z0, normal(3, 4, seed=1), candidate_mask=nobody, concentration=concentration)
        (gradient,) = torch.autograd.grad(loss, z0)
        assert loss.item() == 0
        assert torch.equal(gradient, torch.zeros_like(gradient))


def test_a_concentration_equals_the_reference_form_of_hard_negatives():
    """Robinson et al.'s estimator with a class prior of 0, as they write it: everything in exponentials."""
    z0, z1, beta, temperature = normal(6, 4), normal(6, 4, seed=1), 1.5, 0.5
    out = F.normalize(torch.cat([z0, z1]), dim=1)
    similarity = (out @ out.T / temperature).exp()
    others = ~(torch.eye(6, dtype=torch.bool).repeat(2, 2))
    negative = similarity[others].view(12, 10)
    importance = negative**beta
    reweighted = (importance * negative).sum(1) / importance.mean(1)
    positive = ((out * out.roll(6, 0)).sum(1) / temperature).exp()
    expected = -(positive / (positive + reweighted)).log().mean()
    torch.testing.assert_close(nt_xent(z0, z1, concentration=beta, temperature=temperature), expected)


def test_a_modification_equals_the_reference_form_of_two_cross_entropies():
    """Robinson et al.'s MoCo: the positive's similarity lowered by ε, the queue's raised, before the temperature."""
    query, key, queue = (F.normalize(normal(n, 4, seed=n), dim=1) for n in (3, 3, 6))
    positive, others, epsilon = (query * key.flip(0)).sum(1, keepdim=True), query @ queue.T, 0.1
    target = torch.zeros(3, dtype=torch.long)
    plain = F.cross_entropy(torch.cat([positive, others], 1) / 0.2, target)
    modified = F.cross_entropy(torch.cat([positive - epsilon, others + epsilon], 1) / 0.2, target)
    found = info_nce(query, key.flip(0), queue=queue, temperature=0.2, feature_modification=epsilon)
    torch.testing.assert_close(found, (plain + modified) / 2)


def test_a_concentration_survives_a_low_temperature():
    z0, z1 = normal(6, 4, dtype=torch.float32).requires_grad_(), normal(6, 4, seed=1, dtype=torch.float32)
    loss = nt_xent(z0, z1, temperature=0.01, concentration=3.0)
    exact = nt_xent(z0.detach().double(), z1.double(), temperature=0.01, concentration=3.0)
    torch.testing.assert_close(loss.double(), exact, rtol=1e-4, atol=1e-4)
    assert torch.autograd.grad(loss, z0)[0].isfinite().all()


@pytest.mark.parametrize("temperature", [0.05, 0.5])
def test_without_negatives_equals_lightly(temperature):
    loss = pytest.importorskip("lightly.loss", exc_type=(ImportError, RuntimeError, OSError))
    z0, z1 = normal(9, 16), normal(9, 16, seed=1)
    torch.testing.assert_close(nt_xent(z0, z1, temperature=temperature), loss.NTXentLoss(temperature)(z0, z1))
    torch.testing.assert_close(dcl(z0, z1, temperature=temperature), loss.DCLLoss(temperature)(z0, z1))


def test_negatives_only_widen_the_denominator():
    """log((P + N) / e^s) − log(P / e^s) = log(1 + N / P) for every anchor."""
    query, key, negatives = normal(5, 4), normal(5, 4, seed=1), normal(5, 3, 4, seed=2)
    similarities = F.normalize(query, dim=1) @ F.normalize(key, dim=1).T
    partition = (similarities / 0.2).exp().sum(1)
    extra = negative_logits(query, negatives, temperature=0.2, negative_scale=2.0).exp().sum(1)
    difference = info_nce(query, key, negatives=negatives, negative_scale=2.0) - info_nce(query, key)
    torch.testing.assert_close(difference, torch.log1p(extra / partition).mean())


def test_negative_scale_multiplies_the_similarity():
    anchors, negatives = torch.tensor([[3.0, 0.0]]), torch.tensor([[0.6, 0.8]])
    columns = negative_logits(anchors, negatives, temperature=0.2, negative_scale=2.0)
    torch.testing.assert_close(columns, torch.tensor([[2.0 * 0.6 / 0.2]]))
    # A weight on the exponential would be the same for every similarity: log 2 more.
    assert columns.item() != pytest.approx(0.6 / 0.2 + math.log(2))


def test_a_negative_on_the_positive_halves_its_probability():
    key = torch.eye(3)
    assert info_nce(key, key, negatives=key, temperature=0.01).item() == pytest.approx(math.log(2), abs=1e-6)
    assert info_nce(key, key, negatives=-key, temperature=0.01).item() == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("scope", ["own", "batch"])
def test_hardness_is_the_similarity_to_a_negative_beyond_that_to_the_positive(scope):
    anchors, positives, negatives = normal(3, 4).requires_grad_(), normal(3, 4, seed=1), normal(3, 2, 4, seed=2)
    found = hardness(anchors, positives, negatives, scope=scope)
    assert not found.requires_grad
    for image, anchor in enumerate(anchors):
        seen, positive = seen_by(image, negatives, scope, None), cosine(anchor, positives[image])
        assert found[image].tolist() == pytest.approx([cosine(anchor, negative) - positive for negative in seen])


def test_the_positive_itself_is_as_hard_as_it_gets_before_it_is_harder():
    anchors, positives = normal(3, 4), normal(3, 4, seed=1)
    torch.testing.assert_close(hardness(anchors, positives, positives), torch.zeros(3, 1, dtype=torch.float64))
    assert (hardness(anchors, positives, anchors) > 0).all()


def test_scopes():
    anchors, negatives = normal(3, 4), normal(3, 2, 4, seed=1)
    settings = {"temperature": 0.5, "scope": "batch"}
    own = negative_logits(anchors, negatives, temperature=0.5)
    everybody = negative_logits(anchors, negatives, **settings)
    assert own.shape == (3, 2)
    assert everybody.shape == (3, 6)
    torch.testing.assert_close(torch.stack([everybody[i, 2 * i : 2 * i + 2] for i in range(3)]), own)
    torch.testing.assert_close(everybody, negative_logits(anchors, negatives.flatten(0, 1), **settings))
    views = torch.stack([anchors, -anchors], 1)
    assert negative_logits(views, negatives, temperature=0.5).shape == (3, 2, 2)
    torch.testing.assert_close(negative_logits(views, negatives, **settings)[:, 1], -everybody)


def test_supervised_loss_of_single_images_is_nt_xent():
    z0, z1, negatives = normal(5, 4), normal(5, 4, seed=1), normal(5, 4, seed=2)
    pairs = sup_con(torch.stack([z0, z1], 1), torch.arange(5), negatives=negatives, temperature=0.5, scope="own")
    torch.testing.assert_close(pairs, nt_xent(z0, z1, negatives=negatives))


def test_an_anchor_without_positive_contributes_nothing():
    features = normal(3, 4).requires_grad_()
    loss = sup_con(features, torch.tensor([0, 1, 2]), negatives=normal(2, 4, seed=1))
    loss.backward()
    assert loss.item() == 0
    assert torch.equal(features.grad, torch.zeros(3, 4).double())


@pytest.mark.parametrize("loss", [info_nce, nt_xent, dcl])
def test_the_length_of_an_embedding_does_not_matter(loss):
    z0, z1, negatives = normal(4, 3), normal(4, 3, seed=1), normal(4, 3, seed=2)
    torch.testing.assert_close(loss(5 * z0, 0.1 * z1, negatives=3 * negatives), loss(z0, z1, negatives=negatives))


# ---------------------------------------------------------------------------------------------------------------------
# Gradients, precision, compilation
# ---------------------------------------------------------------------------------------------------------------------


def pair_losses(scope: str, temperature: float = 0.3):
    """Every loss as a function of two views and negatives, all of which carry gradient."""
    labels = torch.tensor([0, 1, 0])
    options = {"scope": scope, "negative_gradient": True, "negative_scale": 1.5, "temperature": temperature}
    return {
        "info_nce": lambda a, b, n: info_nce(a, b, negatives=n, **options),
        "queue": lambda a, b, n: info_nce(a, b, queue=b.detach().flip(0), negatives=n, **options),
        "nt_xent": lambda a, b, n: nt_xent(a, b, negatives=n, **options),
        "dcl": lambda a, b, n: dcl(a, b, negatives=n, **options),
        "sup_con": lambda a, b, n: sup_con(torch.stack([a, b], 1), labels, negatives=n, **options),
        "concentration": lambda a, b, n: nt_xent(
            a, b, negatives=n, concentration=1.0, feature_modification=0.1, **options
        ),
        "masks": lambda a, b, n: dcl(
            a,
            b,
            negatives=n,
            candidate_mask=torch.ones(3, 3, dtype=torch.bool).tril(),
            negative_mask=torch.ones(n.shape[:-1] if scope == "own" else (3, n[..., 0].numel())) > 0,
            negative_weight=0.5,
            **options,
        ),
    }


NAMES = list(pair_losses("own"))


@pytest.mark.parametrize("scope", ["own", "batch"])
@pytest.mark.parametrize("name", NAMES)
def test_gradients(name, scope):
    loss = pair_losses(scope)[name]
    tensors = [normal(3, 4, seed=0), normal(3, 4, seed=1), normal(3, 2, 4, seed=2)]
    tensors = [tensor.requires_grad_() for tensor in tensors]
    if name == "queue":  # the finite differences of gradcheck would move the queue, which is detached
        fixed = normal(4, 4, seed=3)
        loss = lambda a, b, n: info_nce(a, b, queue=fixed, negatives=n, scope=scope, negative_gradient=True)  # noqa: E731
    assert torch.autograd.gradcheck(loss, tensors)


@pytest.mark.parametrize(
    ("loss", "default"), [(info_nce, False), (nt_xent, True), (dcl, True), (sup_con, True), (negative_logits, True)]
)
def test_gradient_into_negatives_is_a_choice(loss, default):
    second = torch.tensor([0, 0, 1]) if loss is sup_con else normal(3, 4, seed=1)

    def gradient(**choice: bool) -> Tensor | None:
        first, negatives = normal(3, 4).requires_grad_(), normal(3, 4, seed=2).requires_grad_()
        if loss is negative_logits:
            result = loss(first, negatives, temperature=1.0, **choice).sum()
        else:
            result = loss(first, second, negatives=negatives, **choice)
        result.backward()
        assert first.grad.abs().sum() > 0
        return negatives.grad

    assert gradient(negative_gradient=False) is None
    assert gradient(negative_gradient=True).abs().sum() > 0
    assert (gradient() is not None) is default


def test_keys_are_not_detached():
    query, key = normal(3, 4), normal(3, 4, seed=1).requires_grad_()
    for queue in (None, normal(5, 4, seed=2)):
        (gradient,) = torch.autograd.grad(info_nce(query, key, queue=queue), key)
        assert gradient.abs().sum() > 0


@pytest.mark.parametrize("seed", range(5))
def test_descent_drives_a_query_from_its_negative(seed):
    query, negative = normal(1, 8, seed=seed).requires_grad_(), normal(1, 8, seed=seed + 10)
    (gradient,) = torch.autograd.grad(info_nce(query, query.detach(), negatives=negative), query)
    before, after = (F.cosine_similarity(q, negative) for q in (query, query - 0.1 * gradient))
    assert after < before


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("name", NAMES)
def test_half_precision_at_a_low_temperature(name, dtype):
    """The loss of half-precision embeddings is the full-precision loss of the values they hold."""
    loss = pair_losses("batch", temperature=0.05)[name]
    halves = [40 * normal(3, 64, seed=seed).to(dtype) for seed in range(3)]
    result = loss(*halves)
    assert result.dtype == torch.float32
    assert torch.equal(result, loss(*[half.float() for half in halves]))
    exact = loss(*[half.double() for half in halves])
    torch.testing.assert_close(result.double(), exact, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("name", NAMES)
def test_autocast_changes_nothing(name, dtype):
    loss = pair_losses("own")[name]
    tensors = [normal(3, 64, seed=seed, dtype=torch.float32).requires_grad_() for seed in range(3)]
    expected = loss(*tensors)
    with torch.autocast("cpu", dtype=dtype):
        result = loss(*tensors)
    assert torch.equal(result, expected)
    gradients, expected_gradients = (torch.autograd.grad(value, tensors) for value in (result, expected))
    assert all(torch.equal(a, b) for a, b in zip(gradients, expected_gradients, strict=True))


@pytest.mark.parametrize("name", NAMES)
def test_compiles_in_one_piece(name):
    loss = pair_losses("own")[name]
    compiled = torch.compile(loss, backend="aot_eager", fullgraph=True)
    tensors = [normal(3, 4, seed=seed).requires_grad_() for seed in range(3)]
    result, expected = compiled(*tensors), loss(*tensors)
    torch.testing.assert_close(result, expected)
    torch.testing.assert_close(torch.autograd.grad(result, tensors), torch.autograd.grad(expected, tensors))


# ---------------------------------------------------------------------------------------------------------------------
# Two ranks
# ---------------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ranks")
    torch.multiprocessing.spawn(ranks.run, (folder,), nprocs=ranks.WORLD_SIZE)
    shares = [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in range(ranks.WORLD_SIZE)]
    return shares, ranks.measure(ranks.make_encoder(), ranks.make_batch(), gather=False)


def test_two_ranks_equal_one_process_on_the_joined_batch(measured):
    shares, expected = measured
    assert len(expected) == 6 * (1 + 2 * 2 * 2) + 5 * 2 + 7
    for name, (value, gradient) in expected.items():
        for share in shares:
            torch.testing.assert_close(share[name][0], value, msg=lambda m, n=name: f"{n}: {m}")
            torch.testing.assert_close(share[name][1], gradient, msg=lambda m, n=name: f"{n}: {m}")
        assert gradient.abs().max() > 1e-3


def test_one_process_gathers_nothing():
    z0, z1, negatives = normal(3, 4), normal(3, 4, seed=1), normal(3, 4, seed=2)
    for loss in (info_nce, nt_xent, dcl):
        alone = loss(z0, z1, negatives=negatives, scope="batch")
        assert torch.equal(loss(z0, z1, negatives=negatives, scope="batch", gather_distributed=True), alone)


@pytest.mark.slow
def test_ranks_of_unequal_rows_are_an_error_on_each(tmp_path):
    torch.multiprocessing.spawn(ranks.run_unequal, (tmp_path,), nprocs=ranks.WORLD_SIZE)
    for rank in range(ranks.WORLD_SIZE):
        message = (tmp_path / f"{rank}.txt").read_text()
        assert message == "every rank must hold equally many rows, got [3, 2]: give the DataLoader drop_last=True"


# ---------------------------------------------------------------------------------------------------------------------
# Modules and bad input
# ---------------------------------------------------------------------------------------------------------------------

PAIRS = [(info_nce, InfoNCELoss), (nt_xent, NTXentLoss), (dcl, DCLLoss), (sup_con, SupConLoss)]


@pytest.mark.parametrize(("function", "module"), PAIRS)
def test_modules_equal_functions(function, module):
    first, second = normal(3, 4), torch.tensor([0, 1, 0]) if function is sup_con else normal(3, 4, seed=1)
    negatives = normal(3, 4, seed=2)
    changed = {"temperature": 0.3, "negative_scale": 2.0, "scope": "batch"}
    for options in ({}, changed):
        criterion = pickle.loads(pickle.dumps(module(**options)))
        expected = function(first, second, negatives=negatives, **options)
        assert torch.equal(criterion(first, second, negatives=negatives), expected)
        assert torch.equal(criterion(first, second), function(first, second, **options))
    assert "temperature=0.3, negative_scale=2.0, negative_weight=1.0" in repr(criterion)
    assert "scope='batch'" in repr(criterion)


def test_info_nce_module_takes_a_queue():
    query, key, queue = normal(3, 4), normal(3, 4, seed=1), normal(6, 4, seed=2)
    assert torch.equal(InfoNCELoss()(query, key, queue), info_nce(query, key, queue=queue))


@pytest.mark.parametrize(("function", "module"), PAIRS)
@pytest.mark.parametrize("name", ["temperature", "negative_scale"])
@pytest.mark.parametrize("value", [0, -0.2, math.nan, math.inf])
def test_numbers_out_of_range(function, module, name, value):
    second = torch.tensor([0, 1, 0]) if function is sup_con else normal(3, 4)
    for call in (lambda: function(normal(3, 4), second, **{name: value}), lambda: module(**{name: value})):
        with pytest.raises(ValueError, match=f"{name} must be a finite number above 0, got {value}"):
            call()


@pytest.mark.parametrize(("function", "module"), PAIRS)
def test_unknown_options_are_named(function, module):
    second = torch.tensor([0, 1, 0]) if function is sup_con else normal(3, 4)
    for call in (
        lambda: function(normal(3, 4), second, negative_scael=2.0),
        lambda: module(negative_scael=2.0),
        lambda: function(normal(3, 4), second, concentration=-1.0),
    ):
        with pytest.raises((TypeError, ValueError), match=r"mean 'negative_scale'|concentration must be finite"):
            call()


def test_columns_need_the_temperature_of_the_loss():
    with pytest.raises(TypeError, match="negative_logits needs the temperature"):
        negative_logits(normal(3, 4), normal(3, 4))


@pytest.mark.parametrize("loss", [info_nce, nt_xent, dcl, sup_con])
@pytest.mark.parametrize(
    ("masks", "error", "message"),
    [
        ({"negative_mask": torch.ones(3, 2)}, TypeError, "negative_mask must be a boolean tensor.*got torch.float32"),
        ({"negative_mask": [True]}, TypeError, "negative_mask must be a boolean tensor.*got list"),
        ({"negative_mask": booleans(3)}, ValueError, r"negative_mask must have shape \(3, 2\), got \(3,\)"),
        ({"candidate_mask": booleans(3)}, ValueError, r"candidate_mask must have shape \(3, 3\), got \(3,\)"),
        ({"negative_mask": booleans(3), "negatives": None}, ValueError, "there are none: pass negatives too"),
    ],
)
def test_bad_masks(loss, masks, error, message):
    second = torch.tensor([0, 1, 0]) if loss is sup_con else normal(3, 4)
    given = {"negatives": normal(3, 2, 4), "scope": "own"} | masks
    with pytest.raises(error, match=message):
        loss(normal(3, 4), second, **given)


def test_a_mask_of_shared_negatives_has_a_column_for_each():
    given = {"negatives": normal(3, 2, 4), "scope": "batch"}
    with pytest.raises(ValueError, match=r"negative_mask must have shape \(3, 6\), got \(3, 2\)"):
        nt_xent(normal(3, 4), normal(3, 4), negative_mask=booleans(3, 2), **given)


@pytest.mark.parametrize("views", [[normal(3, 4)], [], normal(3, 4)])
def test_views_come_in_two_or_more(views):
    with pytest.raises(TypeError, match="two tensors z0 and z1, or as one list of two"):
        nt_xent(views)
    with pytest.raises(TypeError, match="two tensors z0 and z1, or as one list of two"):
        dcl([normal(3, 4), normal(3, 4)], normal(3, 4))


def test_a_view_of_another_shape_is_named():
    with pytest.raises(ValueError, match=r"z0\[0\] and z0\[2\] must have the same shape"):
        nt_xent([normal(3, 4), normal(3, 4), normal(2, 4)])


def test_nothing_to_contrast_a_query_with():
    with pytest.raises(ValueError, match="no keys of the batch, no queue and no negatives"):
        info_nce(normal(3, 4), normal(3, 4), in_batch=False)
    with pytest.raises(ValueError, match="queue has no rows: pass queue=None"):
        info_nce(normal(3, 4), normal(3, 4), queue=normal(0, 4))


def test_rows_whose_length_overflows_are_named():
    with pytest.raises(ValueError, match="key has rows so long that their length overflows"):
        info_nce(normal(3, 4).float(), normal(3, 4).float() * 1e30)


@pytest.mark.parametrize(("function", "module"), PAIRS)
def test_unknown_scope(function, module):
    second = torch.tensor([0, 1, 0]) if function is sup_con else normal(3, 4)
    for call in (lambda: function(normal(3, 4), second, scope="batches"), lambda: module(scope="batches")):
        with pytest.raises(
            ValueError, match=r"scope must be one of 'own', 'batch', got 'batches'. Did you mean 'batch'"
        ):
            call()


@pytest.mark.parametrize("loss", [info_nce, nt_xent, dcl, lambda z, _, **k: sup_con(z, torch.tensor([0, 1, 0]), **k)])
@pytest.mark.parametrize(
    ("negatives", "error", "message"),
    [
        (normal(3, 5), ValueError, r"negatives must have 4 features, got shape \(3, 5\)"),
        (normal(3, 2, 5), ValueError, r"negatives must have 4 features"),
        (normal(2, 4), ValueError, r"3 images its own negatives, got .*\(2, 4\).*scope=\"batch\""),
        (normal(2, 3, 4), ValueError, r"3 images its own negatives, got .*\(2, 3, 4\)"),
        (normal(4), ValueError, r"negatives must have shape \(N, D\) or \(B, M, D\), got \(4,\)"),
        (normal(3, 0, 4), ValueError, r"negatives is empty \(shape \(3, 0, 4\)\)"),
        (torch.ones(3, 4, dtype=torch.long), TypeError, r"negatives must be floating point, got torch.int64"),
        (
            torch.tensor([[1.0, math.nan, math.inf, 0.0]]).expand(3, 4),
            ValueError,
            "negatives has 6 values that are not",
        ),
    ],
)
def test_bad_negatives(loss, negatives, error, message):
    with pytest.raises(error, match=message):
        loss(normal(3, 4), normal(3, 4), negatives=negatives.to(negatives.dtype), scope="own")


def test_a_list_of_negatives_is_named() -> None:
    with pytest.raises(TypeError, match=r"negatives must be a torch\.Tensor, got list"):
        info_nce(normal(3, 4), normal(3, 4), negatives=[normal(3, 4)])


@pytest.mark.parametrize("loss", [info_nce, nt_xent, dcl])
@pytest.mark.parametrize(
    ("first", "second", "message"),
    [
        (normal(3, 4), normal(2, 4), r"same shape, got \(3, 4\) and \(2, 4\)"),
        (normal(3, 4), normal(3, 5), r"same shape"),
        (normal(4), normal(4), r"must have shape \(N, D\), got \(4,\)"),
        (normal(0, 4), normal(0, 4), "is empty"),
        (normal(3, 4) / 0, normal(3, 4), "12 values that are not finite"),
        (normal(3, 4), normal(3, 4) * math.nan, "12 values that are not finite"),
    ],
)
def test_bad_pairs(loss, first, second, message):
    with pytest.raises(ValueError, match=message):
        loss(first, second)


@pytest.mark.parametrize(
    ("loss", "names"), [(info_nce, ("query", "key")), (nt_xent, ("z0", "z1")), (dcl, ("z0", "z1"))]
)
def test_bad_pairs_are_named(loss, names):
    good, flat, broken = normal(3, 4), normal(4), normal(3, 4) / 0
    with pytest.raises(ValueError, match=f"^{names[0]} must have shape"):
        loss(flat, good)
    with pytest.raises(ValueError, match=f"^{names[0]} and {names[1]} must have the same shape"):
        loss(good, normal(2, 4))
    for place, name in enumerate(names):
        with pytest.raises(ValueError, match=f"^{name} has 12 values that are not finite"):
            loss(*(broken if place == number else good for number in range(2)))


def test_bad_anchors_and_features_are_named():
    with pytest.raises(ValueError, match=r"^anchors must have shape \(N, D\)"):
        negative_logits(normal(4), normal(3, 4), temperature=1.0)
    with pytest.raises(ValueError, match=r"^anchors has 12 values that are not finite"):
        negative_logits(normal(3, 4) / 0, normal(3, 4), temperature=1.0)
    with pytest.raises(ValueError, match=r"^features must have shape \(N, D\)"):
        sup_con(normal(4), torch.arange(4))
    with pytest.raises(ValueError, match=r"^features has 12 values that are not finite"):
        sup_con(normal(3, 4) / 0, torch.arange(3))


def test_precisions_may_differ():
    query, key = normal(3, 4), normal(3, 4, seed=1)
    assert info_nce(query, key.float()).item() == pytest.approx(info_nce(query, key).item(), abs=1e-6)


def test_bad_queue():
    with pytest.raises(ValueError, match=r"queue must have 4 features, got shape \(4, 9\); transpose it"):
        info_nce(normal(3, 4), normal(3, 4), queue=normal(4, 9))
    with pytest.raises(ValueError, match=r"queue must have 4 features, got shape \(9, 5\)$"):
        info_nce(normal(3, 4), normal(3, 4), queue=normal(9, 5))
    with pytest.raises(ValueError, match=r"queue must have shape \(N, D\), got \(3, 2, 4\)"):
        info_nce(normal(3, 4), normal(3, 4), queue=normal(3, 2, 4))


@pytest.mark.parametrize(
    ("labels", "error", "message"),
    [
        (torch.zeros(3), TypeError, "labels must be integers, got torch.float32"),
        (torch.zeros(2, dtype=torch.long), ValueError, r"labels must have shape \(3,\).*got \(2,\)"),
        (torch.zeros(3, 1, dtype=torch.long), ValueError, r"labels must have shape \(3,\).*got \(3, 1\)"),
    ],
)
def test_bad_labels(labels, error, message):
    with pytest.raises(error, match=message):
        sup_con(normal(3, 4), labels)


def test_nothing_to_contrast_with():
    for call in (
        lambda **k: dcl(normal(1, 4), normal(1, 4), **k),
        lambda **k: sup_con(normal(1, 4), torch.tensor([0]), **k),
    ):
        with pytest.raises(ValueError, match="nothing to contrast"):
            call()
        assert call(negatives=normal(1, 4, seed=1)).isfinite()
    assert nt_xent(normal(1, 4), normal(1, 4, seed=1)).item() == pytest.approx(0)


def test_non_finite_values_are_a_nan_loss_when_compiled():
    compiled = torch.compile(info_nce, backend="aot_eager", fullgraph=True)
    assert compiled(normal(3, 4), normal(3, 4) * math.nan).isnan()


def test_mixed_negatives_compose():
    query, key, queue, augmented = (normal(n, 4, seed=n) for n in (5, 5, 9, 5))
    mixed = mix_hard_negatives(query, queue, n_hardest=4, n_mix=6, n_mix_query=3)
    both = torch.cat([augmented[:, None], mixed], dim=1)
    logits = torch.cat(
        [
            torch.einsum("bd,bd->b", *(F.normalize(z, dim=1) for z in (query, key)))[:, None],
            F.normalize(query, dim=1) @ F.normalize(queue, dim=1).T,
            torch.einsum("bd,bmd->bm", F.normalize(query, dim=1), F.normalize(both, dim=2)),
        ],
        dim=1,
    )
    expected = F.cross_entropy(logits / 0.2, torch.zeros(5, dtype=torch.long))
    torch.testing.assert_close(info_nce(query, key, queue=queue, negatives=both), expected)
