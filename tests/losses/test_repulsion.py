import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from nda_augment.losses import RepulsionLoss, repulsion
from tests.losses.test_contrastive import booleans, cosine, normal, seen_by


def written_out(prediction: Tensor, negatives: Tensor, mask: Tensor | None, floor: float, scope: str) -> float:
    """The mean over images of the mean over their negatives, one pair at a time."""
    total = 0.0
    for image, mine in enumerate(prediction):
        seen = [max(cosine(mine, negative), floor) for negative in seen_by(image, negatives, scope, mask)]
        total += sum(seen) / len(seen) if seen else 0.0
    return total / len(prediction)


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 5), st.sampled_from([None, 1, 3]), st.sampled_from(["own", "batch"]), st.booleans(),
       st.sampled_from([-1.0, 0.0, 0.3]), st.integers(0, 2**31))  # fmt: skip
def test_it_equals_the_sum_written_out(images, several, scope, masked, floor, seed):
    shape = (images,) if several is None else (images, several)
    prediction, negatives = normal(images, 3, seed=seed), normal(*shape, 3, seed=seed + 1)
    mask = booleans(*(shape if scope == "own" else (images, math.prod(shape))), seed=seed) if masked else None
    expected = written_out(prediction, negatives, mask, floor, scope)
    found = repulsion(prediction, negatives, negative_mask=mask, floor=floor, scope=scope)
    assert found.item() == pytest.approx(expected, rel=1e-9, abs=1e-9)


def test_a_mask_that_is_all_true_changes_nothing():
    prediction, negatives = normal(3, 4), normal(3, 2, 4, seed=1)
    everything = torch.ones(3, 2, dtype=torch.bool)
    assert torch.equal(repulsion(prediction, negatives, negative_mask=everything), repulsion(prediction, negatives))


def test_a_negative_that_is_the_image_costs_one_and_its_opposite_minus_one():
    z = normal(3, 4)
    assert repulsion(z, 5 * z).item() == pytest.approx(1)
    assert repulsion(z, -z).item() == pytest.approx(-1)
    assert repulsion(z, -z, floor=0.0).item() == 0


def test_views_are_averaged():
    first, second, negatives = normal(3, 4), normal(3, 4, seed=1), normal(3, 4, seed=2)
    both = repulsion(torch.stack([first, second], dim=1), negatives)
    torch.testing.assert_close(both, (repulsion(first, negatives) + repulsion(second, negatives)) / 2)


def test_descent_drives_a_prediction_from_its_negative_and_stops_at_the_floor():
    prediction, negatives = normal(1, 4).requires_grad_(), normal(1, 4, seed=3)
    above = F.cosine_similarity(prediction, negatives).item()
    (gradient,) = torch.autograd.grad(repulsion(prediction, negatives), prediction)
    assert F.cosine_similarity(prediction - 0.1 * gradient, negatives).item() < above
    (stopped,) = torch.autograd.grad(repulsion(prediction, negatives, floor=min(above + 0.1, 1.0)), prediction)
    assert torch.equal(stopped, torch.zeros_like(stopped))


@pytest.mark.parametrize("asked", [True, False])
def test_gradient_into_negatives_is_a_choice(asked):
    prediction, negatives = normal(3, 4).requires_grad_(), normal(3, 4, seed=1).requires_grad_()
    repulsion(prediction, negatives, negative_gradient=asked).backward()
    assert prediction.grad.abs().sum() > 0
    assert (negatives.grad is not None) is asked


def test_gradients():
    tensors = [normal(3, 4).requires_grad_(), normal(3, 2, 4, seed=1).requires_grad_()]
    assert torch.autograd.gradcheck(lambda p, n: repulsion(p, n, floor=-0.2, negative_gradient=True), tensors)


def test_the_shortcut_that_the_docs_warn_of_is_the_lowest_loss_there_is():
    """All images at one point and all negatives at the opposite one: predictions agree, and nothing is learned."""
    images = torch.ones(8, 4).requires_grad_()
    loss = -F.cosine_similarity(images, images.detach()).mean() + repulsion(images, -images)
    assert loss.item() == pytest.approx(-2)


def test_the_module_is_the_function():
    prediction, negatives = normal(3, 4), normal(5, 4, seed=1)
    module = RepulsionLoss(0.1, scope="batch", negative_gradient=True)
    assert torch.equal(module(prediction, negatives), repulsion(prediction, negatives, floor=0.1, scope="batch"))
    assert repr(module) == "RepulsionLoss(floor=0.1, scope='batch', negative_gradient=True, gather_distributed=False)"


def test_bad_input():
    with pytest.raises(ValueError, match=r"floor must be a similarity in \[-1, 1\], got 1.5"):
        RepulsionLoss(1.5)
    with pytest.raises(ValueError, match="scope must be one of 'own', 'batch'"):
        RepulsionLoss(scope="bach")
    with pytest.raises(ValueError, match="3 images its own negatives"):
        repulsion(normal(3, 4), normal(2, 4))
    with pytest.raises(ValueError, match="prediction must have shape"):
        repulsion(normal(4), normal(4))
