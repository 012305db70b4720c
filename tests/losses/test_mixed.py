"""Decoupled mixup against its formula, written out."""

import math
import re

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from nda_augment.losses import decoupled_mixup


def given(batch: int = 12, classes: int = 5) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    source = torch.Generator().manual_seed(0)
    logits = 3 * torch.randn(batch, classes, generator=source, dtype=torch.float64)
    labels = torch.randint(classes, (2, batch), generator=source)
    labels[1, 0] = labels[0, 0]
    weights = torch.rand(batch, generator=source, dtype=torch.float64)
    weights[1:4] = torch.tensor([0.0, 0.5, 1.0])
    return logits, labels[0], labels[1], weights


def surprise(logits: list[float], label: int, without: int | None = None) -> float:
    """Minus the log-probability of a class, with another one out of the competition."""
    return math.log(sum(math.exp(x) for c, x in enumerate(logits) if c != without)) - logits[label]


def written_out(logits: Tensor, labels: Tensor, others: Tensor, weights: Tensor, eta: float, power: float) -> float:
    total = 0.0
    for row, a, b, share in zip(logits.tolist(), labels.tolist(), others.tolist(), weights.tolist(), strict=True):
        total += share * surprise(row, a) + (1 - share) * surprise(row, b)
        if a != b:
            total += eta * share**power * surprise(row, a, without=b) if share else 0
            total += eta * (1 - share) ** power * surprise(row, b, without=a) if share < 1 else 0
    return total / len(logits)


@pytest.mark.parametrize("eta", [0.0, 0.1, 2.0])
@pytest.mark.parametrize("power", [0.0, 1.0, 2.0])
def test_is_its_formula(eta: float, power: float) -> None:
    inputs = given()
    loss = decoupled_mixup(*inputs, decoupled_weight=eta, power=power)
    assert loss.item() == pytest.approx(written_out(*inputs, eta, power), rel=1e-10)


def test_without_the_second_term_it_is_the_loss_of_mixup() -> None:
    logits, labels, others, weights = given()
    mixed = weights * F.cross_entropy(logits, labels, reduction="none")
    mixed += (1 - weights) * F.cross_entropy(logits, others, reduction="none")
    assert torch.equal(decoupled_mixup(logits, labels, others, weights, decoupled_weight=0), mixed.mean())


def test_each_class_becomes_certain_without_pushing_the_other_down() -> None:
    """At the right shares the plain loss has no gradient; the decoupled one raises both classes over the third."""
    logits = torch.tensor([[0.0, 0.0, -9.0]], requires_grad=True)
    labels, others, weights = torch.tensor([0]), torch.tensor([1]), torch.tensor([0.5])
    (plain,) = torch.autograd.grad(decoupled_mixup(logits, labels, others, weights, decoupled_weight=0), logits)
    (both,) = torch.autograd.grad(decoupled_mixup(logits, labels, others, weights, decoupled_weight=9), logits)
    assert plain.isfinite().all()
    assert both[0, 0] < plain[0, 0]
    assert both[0, 1] < plain[0, 1]
    assert both[0, 2] > plain[0, 2]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"logits": torch.zeros(3)}, "logits must have shape (B, C), got (3,)"),
        ({"labels": torch.tensor([0, 9])}, "labels must be from 0 to 2, got values from 0 to 9"),
        ({"partner_labels": torch.zeros(3, dtype=torch.long)}, "partner_labels must have shape (2,)"),
        ({"weights": torch.tensor([0.0, 2.0])}, "weights must be from 0 to 1, got values from 0.0 to 2.0"),
        ({"decoupled_weight": -1.0}, "decoupled_weight must be finite and not negative, got -1.0"),
        ({"power": math.inf}, "power must be finite and not negative, got inf"),
    ],
)
def test_what_does_not_fit_is_named(change: dict, message: str) -> None:
    classes = torch.tensor([0, 1])
    inputs = {"logits": torch.zeros(2, 3), "labels": classes, "partner_labels": classes, "weights": torch.ones(2)}
    with pytest.raises(ValueError, match=re.escape(message)):
        decoupled_mixup(**(inputs | change))
