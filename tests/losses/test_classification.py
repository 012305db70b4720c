import inspect
import math
import pickle
from typing import get_args

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from nda_augment.losses import (
    ClassificationLoss,
    NegativeTerm,
    classification_loss,
    probability_distance,
    sup_con,
    uniform_cross_entropy,
)

KINDS = get_args(NegativeTerm)


def normal(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    return 3 * torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def probabilities(logits: list[float]) -> list[float]:
    total = sum(math.exp(x) for x in logits)
    return [math.exp(x) / total for x in logits]


def inputs(kind: str, images: int = 4, classes: int = 3) -> dict[str, Tensor]:
    """What a kind needs."""
    if kind == "contrastive":
        return {"features": normal(images, 5, seed=2), "negative_features": normal(images + 2, 5, seed=3)}
    return {"negative_logits": normal(images, classes, seed=1)}


LABELS = torch.tensor([0, 1, 0, 2])

sizes = given(images=st.integers(1, 6), classes=st.integers(1, 6), seed=st.integers(0, 2**31))


@settings(deadline=None, max_examples=40)
@sizes
def test_uniform_cross_entropy_written_out(images, classes, seed):
    logits = normal(images, classes, seed=seed)
    expected = 0.0
    for row in logits.tolist():
        expected -= sum(math.log(p) / classes for p in probabilities(row)) / images
    loss = uniform_cross_entropy(logits)
    assert loss.item() == pytest.approx(expected, rel=1e-9)
    assert loss >= math.log(classes) - 1e-12
    target = torch.full_like(logits, 1 / classes)
    torch.testing.assert_close(loss, F.cross_entropy(logits, target))


@settings(deadline=None, max_examples=40)
@sizes
def test_probability_distance_written_out(images, classes, seed):
    logits, negatives = normal(images, classes, seed=seed), normal(images, classes, seed=seed + 1)
    expected = 0.0
    for row, negative in zip(logits.tolist(), negatives.tolist(), strict=True):
        pairs = zip(probabilities(row), probabilities(negative), strict=True)
        expected -= math.sqrt(sum((p - q) ** 2 for p, q in pairs)) / images
    assert probability_distance(logits, negatives).item() == pytest.approx(expected, rel=1e-7, abs=1e-7)


def test_limits():
    assert uniform_cross_entropy(torch.full((2, 7), 5.0)).item() == pytest.approx(math.log(7))
    certain = 1000 * torch.eye(3)
    assert probability_distance(certain, certain.roll(1, 0)).item() == pytest.approx(-math.sqrt(2))
    same = normal(3, 4).requires_grad_()
    loss = probability_distance(same, same.detach())
    loss.backward()
    assert loss.item() == 0
    assert torch.equal(same.grad, torch.zeros(3, 4).double())  # and not the NaN of a square root at 0


@pytest.mark.parametrize("negative_weight", [0.5, 1.0, 1.5])
def test_the_sum(negative_weight):
    logits = normal(4, 3)
    plain = F.cross_entropy(logits, LABELS)
    for kind in KINDS:
        given = inputs(kind)
        term = {
            "uniform": lambda g: uniform_cross_entropy(g["negative_logits"]),
            "distance": lambda g: probability_distance(logits, g["negative_logits"]),
            "contrastive": lambda g: sup_con(g["features"], LABELS, negatives=g["negative_features"], temperature=0.2),
        }[kind](given)
        loss = classification_loss(logits, LABELS, **given, kind=kind, negative_weight=negative_weight, temperature=0.2)
        torch.testing.assert_close(loss, plain + negative_weight * term)


@pytest.mark.parametrize("kind", KINDS)
def test_weight_zero_is_plain_cross_entropy(kind):
    logits = normal(4, 3, dtype=torch.float32)
    plain = F.cross_entropy(logits, LABELS)
    assert torch.equal(classification_loss(logits, LABELS, kind=kind, negative_weight=0), plain)
    assert torch.equal(classification_loss(logits, LABELS, **inputs(kind), kind=kind, negative_weight=0), plain)


def test_defaults_are_those_of_the_paper():
    logits = normal(4, 3)
    for kind in KINDS:
        explicit = classification_loss(logits, LABELS, **inputs(kind), kind=kind, negative_weight=1.0, temperature=0.07)
        assert torch.equal(classification_loss(logits, LABELS, **inputs(kind), kind=kind), explicit)


def test_soft_labels():
    logits, soft = normal(4, 3), normal(4, 3, seed=5).softmax(1)
    loss = classification_loss(logits, soft, negative_logits=logits, kind="distance")
    torch.testing.assert_close(loss, F.cross_entropy(logits, soft))
    with pytest.raises(TypeError, match="labels must be integers"):
        classification_loss(logits, soft, **inputs("contrastive"), kind="contrastive")


@pytest.mark.parametrize("kind", KINDS)
def test_gradients(kind):
    names, tensors = zip(*inputs(kind).items(), strict=True)

    def loss(logits: Tensor, *given: Tensor) -> Tensor:
        return classification_loss(logits, LABELS, **dict(zip(names, given, strict=True)), kind=kind, temperature=0.5)

    assert torch.autograd.gradcheck(loss, [t.requires_grad_() for t in (normal(4, 3), *tensors)])


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("kind", KINDS)
def test_half_precision(kind, dtype):
    logits, given = normal(4, 3).to(dtype), {name: value.to(dtype) for name, value in inputs(kind).items()}
    loss = classification_loss(logits, LABELS, **given, kind=kind)
    full = classification_loss(logits.float(), LABELS, **{n: v.float() for n, v in given.items()}, kind=kind)
    assert loss.dtype == torch.float32
    assert torch.equal(loss, full)


@pytest.mark.parametrize("kind", KINDS)
def test_compiles_in_one_piece(kind):
    criterion = ClassificationLoss(kind)
    compiled = torch.compile(criterion, backend="aot_eager", fullgraph=True)
    given = inputs(kind)
    torch.testing.assert_close(compiled(normal(4, 3), LABELS, **given), criterion(normal(4, 3), LABELS, **given))


@pytest.mark.parametrize("kind", KINDS)
def test_module_equals_function(kind):
    logits, given = normal(4, 3), inputs(kind)
    options = {"kind": kind, "negative_weight": 0.5, "temperature": 0.3}
    criterion = pickle.loads(pickle.dumps(ClassificationLoss(**options)))
    assert torch.equal(criterion(logits, LABELS, **given), classification_loss(logits, LABELS, **given, **options))
    assert repr(criterion) == f"ClassificationLoss(kind={kind!r}, negative_weight=0.5, temperature=0.3)"
    parameters = inspect.signature(classification_loss).parameters
    for name, parameter in inspect.signature(ClassificationLoss).parameters.items():
        assert parameter.default == parameters[name].default


@pytest.mark.parametrize(
    ("kind", "given", "message"),
    [
        ("uniform", {}, "needs negative_logits and nothing else, got none of them"),
        (
            "distance",
            inputs("contrastive"),
            "needs negative_logits and nothing else, got features and negative_features",
        ),
        (
            "contrastive",
            inputs("uniform"),
            "needs features and negative_features and nothing else, got negative_logits",
        ),
        ("contrastive", {"features": normal(4, 5)}, "needs features and negative_features.*got features$"),
        (
            "uniform",
            {**inputs("uniform"), **inputs("contrastive")},
            "needs negative_logits and .* got negative_logits and features",
        ),
    ],
)
def test_missing_and_unused_inputs(kind, given, message):
    with pytest.raises(ValueError, match=f"kind={kind!r} {message}"):
        classification_loss(normal(4, 3), LABELS, **given, kind=kind)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kind": "uniforn"}, "kind must be one of .* got 'uniforn'. Did you mean 'uniform'"),
        ({"negative_weight": -0.5}, "negative_weight must be a finite number, 0 or more, got -0.5"),
        ({"negative_weight": math.nan}, "negative_weight must be .* got nan"),
        ({"negative_weight": math.inf}, "negative_weight must be .* got inf"),
        ({"temperature": 0}, "temperature must be a finite number above 0, got 0"),
    ],
)
def test_bad_settings(options, message):
    for call in (lambda: ClassificationLoss(**options), lambda: classification_loss(normal(4, 3), LABELS, **options)):
        with pytest.raises(ValueError, match=message):
            call()


def test_bad_logits():
    with pytest.raises(ValueError, match=r"logits must have shape \(N, C\), got \(4,\)"):
        uniform_cross_entropy(normal(4))
    with pytest.raises(ValueError, match="logits is empty"):
        uniform_cross_entropy(normal(0, 3))
    with pytest.raises(TypeError, match=r"logits must be floating point, got torch.int64"):
        uniform_cross_entropy(torch.zeros(4, 3, dtype=torch.long))
    with pytest.raises(ValueError, match=r"^logits must have shape \(N, C\), got \(4,\)"):
        probability_distance(normal(4), normal(4, 3))
    with pytest.raises(ValueError, match=r"^negative_logits must have shape \(N, C\), got \(4,\)"):
        probability_distance(normal(4, 3), normal(4))
    with pytest.raises(ValueError, match=r"^logits must have shape \(N, C\), got \(4,\)"):
        classification_loss(normal(4), LABELS, **inputs("uniform"))
    with pytest.raises(ValueError, match="negative_logits must have 3 classes, as logits, got 4"):
        classification_loss(normal(4, 3), LABELS, negative_logits=normal(5, 4))
    with pytest.raises(ValueError, match=r"compared row by row, got \(4, 3\) and \(5, 3\)"):
        probability_distance(normal(4, 3), normal(5, 3))
    with pytest.raises(ValueError, match=r"compared row by row, got \(4, 3\) and \(1, 3\)"):
        probability_distance(normal(4, 3), normal(1, 3))
