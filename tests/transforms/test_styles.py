"""Adversarial styles against the same step written out, image by image and channel by channel."""

import re

import pytest
import torch
from torch import Tensor, nn

from nda_augment import AdversarialStyle
from nda_augment.functional import channel_statistics, restyle

IMAGES = torch.rand(3, 2, 5, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def curved(images: Tensor) -> Tensor:
    """A loss per image with a gradient that is known: the sum of squares of each channel, times its number."""
    weights = torch.arange(1, images.shape[-3] + 1, dtype=images.dtype).view(-1, 1, 1)
    return (weights * images.square()).flatten(1).sum(dim=1)


def test_one_step_up_the_loss_written_out() -> None:
    """Of w Σ (z·s + m)², with z standardised, the slopes are 2 w n m and 2 w n s."""
    styled, pixels = AdversarialStyle(rate=0.01)(IMAGES, curved), 20
    for image, result in zip(IMAGES, styled, strict=True):
        for channel in range(2):
            before, weight = image[channel], channel + 1
            mean, deviation = before.mean(), before.std(correction=0)
            moved_mean = mean + 0.01 * 2 * weight * pixels * mean
            moved_deviation = deviation + 0.01 * 2 * weight * pixels * deviation
            expected = (before - mean) / deviation * moved_deviation + moved_mean
            torch.testing.assert_close(result[channel], expected)


def test_a_mean_over_the_batch_is_a_smaller_step() -> None:
    each, mean = AdversarialStyle(rate=1.0), AdversarialStyle(rate=3.0)
    expected = each(IMAGES, curved)
    torch.testing.assert_close(mean(IMAGES, lambda images: curved(images).mean()), expected)


def test_it_raises_the_loss_of_a_network_whose_weights_get_no_gradient() -> None:
    network = nn.Sequential(nn.Conv2d(2, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(24, 3)).double()
    labels = torch.tensor([0, 1, 2])

    def loss(images: Tensor) -> Tensor:
        return nn.functional.cross_entropy(network(images), labels)

    style = AdversarialStyle(rate=0.1)
    with torch.no_grad():  # as everything else that augments
        styled = style(IMAGES, loss)
    assert loss(styled) > loss(IMAGES)
    assert not styled.requires_grad
    assert all(parameter.grad is None for parameter in network.parameters())
    assert torch.equal(style(IMAGES, params=style._params), styled)


def test_layout_and_dtype_stay_and_a_clip_has_one_style() -> None:
    style = AdversarialStyle()
    last = IMAGES.float().contiguous(memory_format=torch.channels_last)
    assert style(last, curved).is_contiguous(memory_format=torch.channels_last)
    assert style(IMAGES.bfloat16(), curved).dtype == torch.bfloat16
    clips = torch.stack([IMAGES, IMAGES.flip(-1)], dim=1)
    moved = style(clips, curved)
    assert style._params["means"].shape == (3, 2)
    torch.testing.assert_close(moved[:, 0].flip(-1), moved[:, 1])


def test_own_statistics_change_nothing_and_a_flat_channel_takes_the_mean() -> None:
    torch.testing.assert_close(restyle(IMAGES, *channel_statistics(IMAGES)), IMAGES)
    flat = torch.full((1, 1, 3, 3), 0.5)
    assert torch.equal(restyle(flat, torch.ones(1, 1), torch.ones(1, 1)), torch.ones_like(flat))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "give a loss to climb, or params"),
        ({"loss": curved, "params": {}}, "give a loss to climb, or params"),
        ({"params": {"means": torch.zeros(3, 2)}}, "params hold no 'deviations' for AdversarialStyle"),
        ({"loss": lambda images: images}, "a scalar or one value per image, got shape (3, 2, 5, 4)"),
        ({"loss": lambda images: torch.zeros(())}, "the loss has no gradient"),
    ],
)
def test_what_does_not_fit_is_named(arguments: dict, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        AdversarialStyle()(IMAGES, **arguments)


def test_bytes_and_rates_that_are_none_are_refused() -> None:
    with pytest.raises(TypeError, match=r"floating point, got torch\.uint8"):
        AdversarialStyle()((255 * IMAGES).to(torch.uint8), curved)
    with pytest.raises(ValueError, match="rate must be a finite number above 0"):
        AdversarialStyle(0)


def test_gradients_are_right_and_finite_on_a_flat_channel() -> None:
    source = torch.Generator().manual_seed(0)
    images = torch.rand(2, 3, 4, 5, dtype=torch.float64, generator=source, requires_grad=True)
    others = [torch.rand(2, 3, dtype=torch.float64, generator=source, requires_grad=True) for _ in range(2)]
    assert torch.autograd.gradcheck(restyle, (images, *others))
    flat = torch.ones(1, 2, 4, 4, requires_grad=True)
    restyle(flat, torch.zeros(1, 2), torch.ones(1, 2)).sum().backward()
    assert flat.grad is not None
    assert flat.grad.isfinite().all()


def test_a_loss_of_other_things_is_refused() -> None:
    weight = torch.ones(3, requires_grad=True)
    with pytest.raises(ValueError, match="it must be computed from the images"):
        AdversarialStyle()(torch.rand(2, 3, 4, 4), lambda images: weight.sum())
