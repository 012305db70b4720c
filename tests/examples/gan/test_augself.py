import pytest
import torch
from torch import nn

from examples.gan import augself
from examples.gan.augself import AugmentationHead
from examples.gan.positives import DiffAugment


def normal(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def draws(seed):
    return DiffAugment("color,cutout").sample((4, 3, 8, 8), generator=torch.Generator().manual_seed(seed))


def said(seed):
    return {"color": normal(4, 3, seed=seed), "cutout": normal(4, 2, seed=seed + 1)}


def mse(said, params, sign):
    total = 0.0
    for family in said:
        pairs = zip(said[family].flatten().tolist(), params[family].flatten().tolist(), strict=True)
        squares = [(a - sign * b) ** 2 for a, b in pairs]
        total += sum(squares) / len(squares)
    return total


def test_losses_are_the_formulas():
    real, fake, real_params, fake_params = said(0), said(2), draws(0), draws(1)
    loss = augself.discriminator_loss(real, fake, real_params, fake_params)
    assert loss.item() == pytest.approx(mse(real, real_params, 1) + mse(fake, fake_params, -1), rel=1e-5)
    expected = mse(fake, fake_params, 1) - mse(fake, fake_params, -1)
    assert augself.generator_loss(fake, fake_params).item() == pytest.approx(expected, rel=1e-5)


def test_the_generators_loss_is_linear():
    fake, params = said(0), draws(0)
    expected = sum(-4 * (fake[name] * params[name]).mean().item() for name in fake)
    assert augself.generator_loss(fake, params).item() == pytest.approx(expected, rel=1e-5)


def test_the_head_sees_nothing_but_the_difference():
    head = AugmentationHead(16, {"color": 3, "flip": 1}).double().eval()
    augmented, plain = normal(5, 16), normal(5, 16, seed=1)
    first, second = head(augmented, plain), head(augmented + 7, plain + 7)
    assert {name: value.shape for name, value in first.items()} == {"color": (5, 3), "flip": (5, 1)}
    for name in first:
        torch.testing.assert_close(first[name], second[name])
    same = head(plain, plain)
    torch.testing.assert_close(same["color"][0], same["color"][1])


def test_gradients_reach_both_branches():
    head = AugmentationHead(8, {"color": 3}).double()
    augmented, plain = normal(5, 8).requires_grad_(), normal(5, 8, seed=1).requires_grad_()
    head(augmented, plain)["color"].square().sum().backward()
    assert torch.equal(augmented.grad, -plain.grad)
    assert augmented.grad.abs().sum() > 0


def test_the_head_learns_how_images_were_augmented():
    """Features that show the mean brightness: what the head says of a brighter image follows the draw."""
    torch.manual_seed(0)
    positives, head = DiffAugment("color"), AugmentationHead(1, {"color": 3})
    images = torch.zeros(256, 3, 8, 8)
    optimizer = torch.optim.Adam(head.parameters(), lr=0.05)
    for _ in range(100):
        features = positives(images).mean(dim=(1, 2, 3)).unsqueeze(1)
        answer = head(features, torch.zeros_like(features))
        loss = augself.discriminator_loss(answer, {"color": -positives._params["color"]}, *[positives._params] * 2)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    brightness = positives._params["color"][:, 0]
    with torch.no_grad():
        answer = head(features, torch.zeros_like(features))["color"][:, 0]
    assert torch.corrcoef(torch.stack([answer, brightness]))[0, 1] > 0.99
    assert (answer - brightness).abs().max() < 0.1


def test_it_plugs_into_a_discriminators_features():
    body = nn.Sequential(nn.Conv2d(3, 6, 3), nn.ReLU(), nn.Flatten(), nn.Linear(6 * 36, 10))
    positives = DiffAugment("color,cutout")
    head = AugmentationHead(10, positives.sizes)
    fake = torch.rand(4, 3, 8, 8, requires_grad=True)
    answer = head(body(positives(fake)), body(fake))
    augself.generator_loss(answer, positives._params).backward()
    assert fake.grad.abs().sum() > 0


def test_bad_input_is_refused():
    with pytest.raises(ValueError, match="no augmentation to tell"):
        AugmentationHead(4, {})
    with pytest.raises(ValueError, match=r"one shape, got \(2, 4\) and \(3, 4\)"):
        AugmentationHead(4, {"flip": 1})(torch.zeros(2, 4), torch.zeros(3, 4))
    with pytest.raises(ValueError, match=r"must match the draws, {'flip': \(2, 1\)}, got {'color': \(2, 3\)}"):
        augself.generator_loss({"color": torch.zeros(2, 3)}, {"flip": torch.zeros(2, 1)})
    with pytest.raises(ValueError, match=r"got {'flip': \(2,\)}"):
        augself.generator_loss({"flip": torch.zeros(2)}, {"flip": torch.zeros(2, 1)})
