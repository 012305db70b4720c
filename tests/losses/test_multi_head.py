"""Several heads against loops over heads, views and candidates."""

import math
import re

import pytest
import torch
from torch import Tensor

from nda_augment.losses import AdaptiveMultiHead, nt_xent


def made(**settings) -> AdaptiveMultiHead:
    torch.manual_seed(0)
    sizes = {"features": 5, "heads": 2, "hidden": 6, "dim": 4, "temperature_hidden": 3}
    return AdaptiveMultiHead(**(sizes | settings)).double()


def features(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def temperature_of(criterion: AdaptiveMultiHead, head: int, one: Tensor, other: Tensor) -> float:
    """The network on the two embeddings joined, as it is written."""
    network = criterion.temperatures[head]
    joined = torch.cat([network.first.weight, network.second.weight], dim=1) @ torch.cat([one, other])
    value = network.out((joined + network.first.bias).relu())
    return float(criterion.lowest + (criterion.highest - criterion.lowest) * value.detach().sigmoid())


def written_out(criterion: AdaptiveMultiHead, first: Tensor, second: Tensor, negatives: Tensor | None) -> float:
    total, batch = 0.0, len(first)
    for number, head in enumerate(criterion.heads):
        views = [z / z.norm() for z in head(torch.cat([first, second]))]
        for i, anchor in enumerate(views):
            others = [(z, 1.0, j == (i + batch) % (2 * batch)) for j, z in enumerate(views) if j != i]
            if negatives is not None:
                own = head(negatives[i % batch])
                others += [(z / z.norm(), criterion.negative_weight, False) for z in own]
            denominator, cost, positive = 0.0, 0.0, 0.0
            for z, weight, is_positive in others:
                tau = temperature_of(criterion, number, anchor, z)
                logit = float(anchor @ z) / tau
                denominator += weight * math.exp(logit)
                cost += (len(anchor) / 2 * math.log(tau) + 1 / tau) / len(others)
                positive += logit if is_positive else 0.0
            total += (math.log(denominator) - positive + criterion.regularizer * cost) / (2 * batch)
    return total


@pytest.mark.parametrize("regularizer", [0.0, 0.1])
@pytest.mark.parametrize(("made_negatives", "weight"), [(0, 1.0), (1, 1.0), (2, 3.0)])
@torch.no_grad()
def test_is_its_formula(regularizer: float, made_negatives: int, weight: float) -> None:
    criterion = made(regularizer=regularizer, negative_weight=weight)
    first, second = features(3, 5), features(3, 5, seed=1)
    negatives = features(3, made_negatives, 5, seed=2) if made_negatives else None
    loss = criterion(first, second, negatives=negatives)
    assert loss.item() == pytest.approx(written_out(criterion, first, second, negatives), rel=1e-9)
    if made_negatives == 1:
        torch.testing.assert_close(criterion(first, second, negatives=negatives[:, 0]), loss)


def test_one_head_of_one_temperature_is_nt_xent() -> None:
    criterion = made(heads=1, regularizer=0.0)
    for parameter in (criterion.temperatures[0].out.weight, criterion.temperatures[0].out.bias):
        torch.nn.init.zeros_(parameter)
    tau = criterion.lowest + (criterion.highest - criterion.lowest) / 2
    first, second, negatives = features(3, 4, 5).unbind()
    embedded = [criterion.heads[0](each) for each in (first, second, negatives)]
    expected = nt_xent(*embedded[:2], negatives=embedded[2], temperature=tau)
    torch.testing.assert_close(criterion(first, second, negatives=negatives), expected)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_in_half_precision_it_is_itself_and_learns(dtype: torch.dtype) -> None:
    criterion, inputs = made().to(dtype), [views.to(dtype) for views in features(3, 4, 5)]
    loss = criterion(*inputs[:2], negatives=inputs[2])
    loss.backward()
    assert loss.dtype == torch.float32
    assert all(parameter.grad.dtype == dtype for parameter in criterion.parameters())
    full = criterion.double()(*(views.double() for views in inputs[:2]), negatives=inputs[2].double())
    torch.testing.assert_close(loss.double(), full, rtol=0.02, atol=0.0)


def test_every_part_learns_and_the_regularizer_keeps_temperatures_where_it_is_lowest() -> None:
    criterion = made(regularizer=100.0, heads=1)
    first, second, negatives = features(3, 4, 5).unbind()
    optimizer = torch.optim.Adam(criterion.parameters(), 0.05)
    for _ in range(150):
        optimizer.zero_grad()
        criterion(first, second, negatives=negatives).backward()
        assert all(parameter.grad is not None for parameter in criterion.parameters())
        optimizer.step()
    z = [z / z.norm() for z in criterion.heads[0](first).detach()]
    taus = [temperature_of(criterion, 0, a, b) for a in z for b in z if a is not b]
    assert taus == pytest.approx([2 / 4] * len(taus), rel=0.1)  # where D/2 log τ + 1/τ is lowest


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"heads": 0}, "heads must be a whole number from 1 on, got 0"),
        ({"dim": -1}, "dim must be a whole number from 1 on, got -1"),
        ({"lowest": 3.0}, "lowest must be below highest, got 3.0 and 2.0"),
        ({"regularizer": -1.0}, "regularizer must be finite and not negative, got -1.0"),
        ({"negative_weight": 0.0}, "negative_weight must be a finite number above 0, got 0.0"),
    ],
)
def test_settings_out_of_bounds_are_named(settings: dict, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        made(**settings)


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ((features(3, 5), features(4, 5), None), "views of one batch, got (3, 5), (4, 5)"),
        ((features(3, 5), features(3, 5), features(4, 5)), "each of 3 images has its own negatives, got (4, 5)"),
        ((features(3, 5), features(3, 5), features(5)), "negatives must have shape (N, D) or (B, M, D), got (5,)"),
    ],
)
def test_shapes_that_do_not_fit_are_named(inputs: tuple, message: str) -> None:
    first, second, negatives = inputs
    with pytest.raises(ValueError, match=re.escape(message)):
        made()(first, second, negatives=negatives)
