import pytest
import torch

from nda_augment.losses import diffusion


def twin(name, images, noise, signal, sigma):
    """The targets, one number at a time."""
    formulas = {
        "epsilon": lambda x, n, a, s: n,
        "sample": lambda x, n, a, s: x,
        "v_prediction": lambda x, n, a, s: a * n - s * x,
        "flow": lambda x, n, a, s: n - x,
    }
    rows = zip(images.tolist(), noise.tolist(), signal.tolist(), sigma.tolist(), strict=True)
    return torch.tensor([[formulas[name](x, n, a, s) for x, n in zip(xs, ns, strict=True)] for xs, ns, a, s in rows])


@pytest.mark.parametrize("prediction", ["epsilon", "sample", "v_prediction", "flow"])
def test_targets(prediction):
    images, noise = torch.randn(2, 4, 6)
    sigma = torch.rand(4)
    signal = (1 - sigma**2).sqrt()
    target = diffusion.denoising_target(images, noise, prediction, signal=signal, sigma=sigma)
    assert torch.allclose(target, twin(prediction, images, noise, signal, sigma))


def test_v_gives_back_image_and_noise():
    images, noise = torch.randn(2, 4, 6, dtype=torch.float64)
    sigma = torch.rand(4, dtype=torch.float64)
    signal = (1 - sigma**2).sqrt()
    v = diffusion.denoising_target(images, noise, "v_prediction", signal=signal, sigma=sigma)
    noisy = signal[:, None] * images + sigma[:, None] * noise
    assert torch.allclose(signal[:, None] * noisy - sigma[:, None] * v, images)
    assert torch.allclose(sigma[:, None] * noisy + signal[:, None] * v, noise)


def test_the_loss_is_a_weighted_mean():
    output, target = torch.randn(2, 3, 2, 4, 4)
    weight = torch.tensor([0.0, 1.0, 3.0])
    by_hand = sum(w * ((o - t) ** 2).mean() for w, o, t in zip(weight, output, target, strict=True)) / 3
    assert torch.allclose(diffusion.denoising_loss(output, target, weight), by_hand)
    plain = diffusion.denoising_loss(output, target)
    assert torch.equal(plain, torch.nn.functional.mse_loss(output, target))
    assert torch.equal(diffusion.denoising_loss(output, target, torch.ones(3)), plain)


def test_half_precision_is_summed_in_full():
    output = torch.full((1, 10_000), 200.0, dtype=torch.float16)
    assert diffusion.denoising_loss(output, torch.zeros_like(output)).item() == 40_000


def test_edm_weighs_every_level_of_an_ideal_start_alike():
    # Zero output of the network leaves c_skip · noisy, whose weighted error is 1 for unit-free data of sigma_data.
    torch.manual_seed(0)
    sigma = torch.tensor([0.01, 0.5, 20.0], dtype=torch.float64).repeat_interleave(20_000)
    images, noise = 0.5 * torch.randn(60_000, 1, dtype=torch.float64), torch.randn(60_000, 1, dtype=torch.float64)
    skip = 0.25 / (sigma**2 + 0.25)
    denoised = skip[:, None] * (images + sigma[:, None] * noise)
    per_level = [
        diffusion.edm_loss(*parts).item()
        for parts in zip(denoised.chunk(3), images.chunk(3), sigma.chunk(3), strict=True)
    ]
    assert per_level == pytest.approx([1, 1, 1], rel=0.05)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_edm_weighs_levels_of_half_precision_in_full(dtype):
    images, sigma = torch.full((3, 2), 0.25, dtype=dtype), torch.tensor([0.003, 0.5, 60.0]).to(dtype)
    assert torch.equal(diffusion.edm_weight(sigma), diffusion.edm_weight(sigma.float()))
    loss = diffusion.edm_loss(images.neg(), images, sigma)
    assert torch.equal(loss, diffusion.edm_loss(images.float().neg(), images.float(), sigma.float()))
    assert loss.isfinite()


class TestRepulsion:
    def test_it_is_the_formula(self):
        denoised, negatives = torch.randn(2, 3, 5)
        weight = torch.tensor([0.5, 1.0, 2.0])
        rows = zip(denoised.tolist(), negatives.tolist(), weight.tolist(), strict=True)
        by_hand = [1 / (w * ((d - n) ** 2 + 7.0)) for ds, ns, w in rows for d, n in zip(ds, ns, strict=True)]
        value = diffusion.repulsion_from_negatives(denoised, negatives, weight, offset=7.0)
        assert value.item() == pytest.approx(sum(by_hand) / 15, rel=1e-5)

    def test_its_gradient_is_as_small_as_documented(self):
        distance = torch.linspace(0, 50, 5001, dtype=torch.float64, requires_grad=True)
        total = 5001 * diffusion.repulsion_from_negatives(distance, torch.zeros_like(distance))
        (gradient,) = torch.autograd.grad(total, distance)
        assert gradient.abs().max().item() == pytest.approx(6.5e-4, rel=0.01)
        assert distance[gradient.abs().argmax()].item() == pytest.approx(5.8, abs=0.05)
        assert gradient[distance <= 2].abs().max().item() == pytest.approx(3.7e-4, rel=0.01)

    def test_it_pushes_away(self):
        denoised = torch.tensor([[0.5]], requires_grad=True)
        diffusion.repulsion_from_negatives(denoised, torch.zeros(1, 1), offset=0.1).backward()
        assert denoised.grad.item() < 0  # descending moves up, away from 0


def test_bad_input_is_named():
    images = torch.zeros(2, 3)
    with pytest.raises(ValueError, match=r"prediction must be one of.*'v_prediction'"):
        diffusion.denoising_target(images, images, "v_predictio")
    with pytest.raises(ValueError, match="needs signal= and sigma="):
        diffusion.denoising_target(images, images, "v_prediction")
    with pytest.raises(ValueError, match=r"noise must have shape \(2, 3\).*got \(2, 1\)"):
        diffusion.denoising_target(images, images[:, :1])
    with pytest.raises(ValueError, match=r"sigma must have shape \(2,\)"):
        diffusion.denoising_target(images, images, "v_prediction", signal=torch.ones(2), sigma=torch.ones(2, 1))
    with pytest.raises(ValueError, match=r"target must have shape"):
        diffusion.denoising_loss(images, images[:, :1])
    with pytest.raises(ValueError, match=r"weight must have shape \(2,\)"):
        diffusion.denoising_loss(images, images, torch.ones(3))
    with pytest.raises(TypeError, match="floating point"):
        diffusion.denoising_loss(images.long(), images.long())
    with pytest.raises(ValueError, match="sigma_data"):
        diffusion.edm_loss(images, images, torch.ones(2), sigma_data=0.0)
    with pytest.raises(ValueError, match="offset"):
        diffusion.repulsion_from_negatives(images, images, offset=0.0)
