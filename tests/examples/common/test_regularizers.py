import math

import pytest
import torch
from torch import nn

from examples.common.regularizers import LeCam, consistency, gradient_penalty, r1_penalty


def normal(*shape, seed=0, dtype=torch.float64):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def linear(slope):
    return lambda images: (images * slope).sum(dim=(1, 2, 3))


def test_r1_of_a_linear_discriminator_is_half_its_squared_slope():
    slope, images = normal(3, 4, 4, seed=1), normal(5, 3, 4, 4).requires_grad_()
    assert r1_penalty(linear(slope)(images), images).item() == pytest.approx(0.5 * slope.square().sum().item())


def test_r1_of_a_quadratic_discriminator_is_the_images_own_square():
    """D = ½ Σx² has the slope x."""
    images = normal(5, 3, 4, 4).requires_grad_()
    penalty = r1_penalty(0.5 * images.square().sum(dim=(1, 2, 3)), images)
    assert penalty.item() == pytest.approx(0.5 * images.detach().square().sum().item() / 5)


def test_r1_of_many_logits_per_image_adds_them_up():
    """A patch discriminator: each logit is one pixel, its slope 2 there."""
    images = normal(2, 1, 3, 3).requires_grad_()
    assert r1_penalty(2 * images, images).item() == pytest.approx(0.5 * 9 * 4)


def test_r1_needs_images_with_gradients():
    with pytest.raises(ValueError, match="must require gradients before"):
        r1_penalty(torch.zeros(2), torch.zeros(2, 1, 2, 2))


def test_gradient_penalty_of_a_linear_discriminator():
    slope = normal(3, 4, 4, seed=1)
    penalty = gradient_penalty(linear(slope), normal(5, 3, 4, 4), normal(5, 3, 4, 4, seed=2))
    assert penalty.item() == pytest.approx((slope.norm().item() - 1) ** 2)
    unit = gradient_penalty(linear(slope / slope.norm()), normal(5, 3, 4, 4), normal(5, 3, 4, 4, seed=2))
    assert unit.item() == pytest.approx(0, abs=1e-12)


def test_gradient_penalty_looks_at_every_place_between_real_and_fake():
    """D = ½ Σx² has the slope x; from 0 to an image of norm r that is t·r with t uniform: E(tr − 1)² is known."""
    r, n = 2.0, 4000
    fake = torch.full((n, 1, 1, 1), r, dtype=torch.float64)
    penalty = gradient_penalty(
        lambda x: 0.5 * x.square().flatten(1).sum(dim=1),
        torch.zeros_like(fake),
        fake,
        generator=torch.Generator().manual_seed(0),
    )
    assert penalty.item() == pytest.approx(r**2 / 3 - r + 1, abs=4 * 0.3 / math.sqrt(n))


def test_gradient_penalty_repeats_with_its_generator_and_leaves_the_images_alone():
    real, fake = normal(3, 1, 2, 2), normal(3, 1, 2, 2, seed=1).requires_grad_()
    network = nn.Sequential(nn.Flatten(), nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 1)).double()
    first, second = (gradient_penalty(network, real, fake, generator=torch.Generator().manual_seed(7)) for _ in "ab")
    assert torch.equal(first, second)
    first.backward()
    assert fake.grad is None
    assert not real.requires_grad
    assert network[1].weight.grad.abs().sum() > 0


def test_gradient_penalty_refuses_batches_that_do_not_match():
    with pytest.raises(ValueError, match=r"one shape, got \(2, 1, 4, 4\) and \(3, 1, 4, 4\)"):
        gradient_penalty(linear(1.0), torch.zeros(2, 1, 4, 4), torch.zeros(3, 1, 4, 4))


def test_consistency_is_the_mean_squared_difference():
    a, b = normal(4, 2), normal(4, 2, seed=1)
    expected = sum((x - y) ** 2 for x, y in zip(a.flatten().tolist(), b.flatten().tolist(), strict=True)) / 8
    assert consistency(a, b).item() == pytest.approx(expected)
    assert consistency(a, a).item() == 0
    with pytest.raises(ValueError, match=r"one shape, got \(4, 2\) and \(4,\)"):
        consistency(a, b[:, 0])


def test_lecam_keeps_each_kind_near_the_running_mean_of_the_other():
    lecam, real, fake = LeCam(decay=0.9), normal(5, 7), normal(5, 7, seed=1)
    mean_real, mean_fake = real[0].mean().item(), fake[0].mean().item()
    lecam.update(real[0].mean(), fake[0].mean())
    for one, other in zip(real[1:], fake[1:], strict=True):
        lecam.update(one.mean(), other.mean())
        mean_real = 0.9 * mean_real + 0.1 * one.mean().item()
        mean_fake = 0.9 * mean_fake + 0.1 * other.mean().item()
    expected = sum(max(0, x - mean_fake) ** 2 for x in real[4].tolist()) / 7
    expected += sum(max(0, mean_real - x) ** 2 for x in fake[4].tolist()) / 7
    assert lecam(real[4], fake[4]).item() == pytest.approx(expected)
    assert lecam(torch.tensor([-9.0]), torch.tensor([9.0])).item() == 0


def test_penalties_train_the_discriminator():
    """A step down each makes it flatter."""
    network = nn.Sequential(nn.Flatten(), nn.Linear(16, 8), nn.Tanh(), nn.Linear(8, 1)).double()
    images = (normal(6, 1, 4, 4)).requires_grad_()
    before = r1_penalty(network(images), images)
    before.backward()
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.grad is not None:
                parameter -= 0.01 * parameter.grad
    assert r1_penalty(network(images), images) < before
