import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from nda_augment.losses import DenseInfoNCELoss, dense_info_nce, dense_probabilities, info_nce


def normal(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def written_out(
    predictions: Tensor, features: Tensor, negatives: Tensor | None = None, **given: Any
) -> dict[str, float]:
    """The loss and the kinds' probabilities, one prediction and one candidate at a time, kinds by their coordinates."""
    temperature, scope = given.get("temperature", 1.0), given.get("scope", "own")
    scale, weight = given.get("negative_scale", 1.0), given.get("negative_weight", 1.0)

    def score(a: Tensor, b: Tensor) -> float:
        dot = sum(x * y for x, y in zip(a.tolist(), b.tolist(), strict=True))
        if given.get("normalize"):
            dot /= math.sqrt(sum(x * x for x in a.tolist()) * sum(y * y for y in b.tolist()))
        return dot / temperature

    coordinates = [(b, s, p) for b, s, p in torch.cartesian_prod(*map(torch.arange, predictions.shape[:3])).tolist()]
    found = dict.fromkeys(("loss", "positive", "temporal", "spatial", "easy", "negative"), 0.0)
    for b, s, p in coordinates:
        exponents = dict.fromkeys(("positive", "temporal", "spatial", "easy", "negative"), 0.0)
        for c, t, q in coordinates:
            if c != b:
                kind = "easy"
            elif q != p:
                kind = "spatial"
            else:
                kind = "positive" if t == s else "temporal"
            exponents[kind] += math.exp(score(predictions[b, s, p], features[c, t, q]))
        for c, clip in enumerate(() if negatives is None else negatives):
            if scope == "batch" or c == b:
                for feature in clip.flatten(0, 1):
                    exponents["negative"] += weight * math.exp(scale * score(predictions[b, s, p], feature))
        total = sum(exponents.values())
        found["loss"] -= math.log(exponents["positive"] / total) / len(coordinates)
        for kind, value in exponents.items():
            found[kind] += value / total / len(coordinates)
    return found


@st.composite
def batches(draw: Any) -> tuple[Tensor, Tensor, Tensor | None, dict[str, Any]]:
    clips, steps, places, size = (draw(st.integers(low, 3)) for low in (2, 1, 1, 1))
    seed, scope = draw(st.integers(0, 2**31)), draw(st.sampled_from(["own", "batch"]))
    negatives = None
    if draw(st.booleans()):
        others = clips if scope == "own" else draw(st.integers(1, 3))
        negatives = normal(others, draw(st.integers(1, 3)), draw(st.integers(1, 3)), size, seed=seed + 2)
    given = {
        "temperature": draw(st.floats(0.2, 2)),
        "normalize": draw(st.booleans()),
        "scope": scope,
        "negative_scale": draw(st.floats(0.1, 2)),
        "negative_weight": draw(st.sampled_from([1.0, 0.3, 2.0])),
    }
    shape = (clips, steps, places, size)
    return normal(*shape, seed=seed), normal(*shape, seed=seed + 1), negatives, given


@settings(max_examples=40, deadline=None)
@given(batches())
def test_loss_and_kinds_are_those_written_out(batch: Any) -> None:
    predictions, features, negatives, options = batch
    expected = written_out(predictions, features, negatives, **options)
    loss = dense_info_nce(predictions, features, negatives=negatives, **options)
    assert loss.item() == pytest.approx(expected["loss"], rel=1e-9)
    kinds = dense_probabilities(predictions, features, negatives=negatives, **options)._asdict()
    for kind, share in kinds.items():
        assert share.item() == pytest.approx(expected[kind], rel=1e-7, abs=1e-12), kind
    assert sum(kinds.values()).item() == pytest.approx(1)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_without_negatives_it_is_the_plain_loss_bit_for_bit(dtype: torch.dtype) -> None:
    """In value and gradient, as dense predictive coding writes it: cross-entropy on the matrix of scores."""
    pairs = []
    for plain in (True, False):
        predictions, features = (normal(3, 2, 4, 8, seed=seed, dtype=dtype).requires_grad_() for seed in (0, 1))
        if plain:
            scores = predictions.view(-1, 8) @ features.view(-1, 8).mT
            loss = F.cross_entropy(scores, torch.arange(len(scores)))
        else:
            loss = dense_info_nce(predictions, features)
        pairs.append((loss, *torch.autograd.grad(loss, [predictions, features])))
    assert all(torch.equal(*pair) for pair in zip(*pairs, strict=True))


def test_of_single_vectors_it_is_info_nce() -> None:
    query, key, negatives = (normal(5, 7, seed=seed) for seed in range(3))
    dense = [each[:, None, None] for each in (query, key, negatives)]
    options: dict[str, Any] = {"temperature": 0.3, "concentration": 0.5, "feature_modification": 0.1}
    loss = dense_info_nce(dense[0], dense[1], negatives=dense[2], normalize=True, **options)
    torch.testing.assert_close(loss, info_nce(query, key, negatives=negatives, **options))


def test_options_of_hard_candidates_reach_the_plain_loss_too() -> None:
    """β and ε near 0 are near the cross-entropy, which is torch's; and they change it where they are not."""
    predictions, features = normal(2, 2, 2, 4), normal(2, 2, 2, 4, seed=1)
    plain = dense_info_nce(predictions, features)
    torch.testing.assert_close(dense_info_nce(predictions, features, concentration=1e-9), plain)
    assert dense_info_nce(predictions, features, concentration=1.0) > plain
    assert dense_info_nce(predictions, features, feature_modification=0.5) > plain


def test_gradient_pushes_predictions_away_from_negatives() -> None:
    predictions, features = normal(2, 2, 3, 4).requires_grad_(), normal(2, 2, 3, 4, seed=1)
    negatives = normal(2, 2, 3, 4, seed=2).requires_grad_()
    dense_info_nce(predictions, features, negatives=negatives).backward()
    assert predictions.grad is not None
    assert negatives.grad is not None
    assert negatives.grad.abs().sum() > 0
    detached = dense_info_nce(predictions, features, negatives=negatives, negative_gradient=False)
    assert torch.autograd.grad(detached, negatives, allow_unused=True) == (None,)
    torch.autograd.gradcheck(lambda x, n: dense_info_nce(x, features, negatives=n), (predictions, negatives))


def test_half_precision_is_widened() -> None:
    predictions, features = normal(2, 2, 3, 4).half(), normal(2, 2, 3, 4, seed=1).half()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = dense_info_nce(predictions, features, negatives=features.flip(1))
    assert loss.dtype == torch.float32
    wide = dense_info_nce(predictions.float(), features.float(), negatives=features.float().flip(1))
    assert torch.equal(loss, wide)


@pytest.mark.parametrize("normalize", [False, True])
def test_what_cannot_be_is_refused(normalize: bool) -> None:
    good = normal(2, 2, 3, 4)

    def refuses(message: str, *tensors: Tensor, **given: Any) -> None:
        with pytest.raises(ValueError, match=message):
            dense_info_nce(*tensors, normalize=normalize, **given)
        with pytest.raises(ValueError, match=message):
            dense_probabilities(*tensors, normalize=normalize, **given)

    refuses(r"predictions must have shape \(B, S, P, D\), got \(2, 2, 12\)", good.flatten(2), good)
    refuses(r"same shape, got \(2, 2, 3, 4\) and \(2, 1, 3, 4\)", good, good[:, :1])
    refuses(r"negatives must have 4 features, got shape \(2, 6, 3\)", good, good, negatives=good[..., :3])
    refuses(r'scope="own" gives each of the 2 images its own', good, good, negatives=good[:1])
    refuses(r"features has 1 values that are not finite", good, good.masked_fill(good == good.max(), math.inf))
    refuses(r"temperature must be a finite number above 0", good, good, temperature=0.0)
    with pytest.raises(ValueError, match="nothing to contrast"):
        dense_info_nce(good[:1, :1, :1], good[:1, :1, :1], normalize=normalize)
    with pytest.raises(TypeError, match=r"not 'temprature'. Did you mean 'temperature'"):
        DenseInfoNCELoss(temprature=1.0)  # type: ignore[call-arg]


def test_nothing_is_read_back_from_the_device() -> None:
    features = torch.ones(2, 2, 3, 4, device="meta")
    assert dense_info_nce(features, features, negatives=features).device.type == "meta"
    assert dense_probabilities(features, features, negatives=features).negative.device.type == "meta"


def test_it_compiles_in_one_graph() -> None:
    torch._dynamo.reset()
    compiled = torch.compile(dense_info_nce, fullgraph=True, backend="eager")
    predictions, features = normal(2, 2, 3, 4), normal(2, 2, 3, 4, seed=1)
    for negatives in (None, features.flip(1)):
        expected = dense_info_nce(predictions, features, negatives=negatives)
        torch.testing.assert_close(compiled(predictions, features, negatives=negatives), expected)
