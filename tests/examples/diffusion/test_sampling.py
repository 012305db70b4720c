"""Guidance with a known answer: real data and negatives are Gaussians, so both denoisers are closed forms."""

import pytest
import torch

from examples.diffusion.sampling import edm_sigmas, euler, heun
from nda_augment.guidance import Guided, Kind


def gaussian_denoiser(means, variances):
    """E[image | noisy] of each kind's normal distribution."""

    def denoiser(noisy, sigma, kinds):
        mean, variance = torch.tensor(means)[kinds].view(-1, 1), torch.tensor(variances)[kinds].view(-1, 1)
        return (variance * noisy + sigma**2 * mean) / (variance + sigma**2)

    return denoiser


def gaussian_velocity(means, variances):
    """E[noise − image | noisy] for noisy = (1 − t) · image + t · noise."""

    def velocity(noisy, time, kinds):
        mean, variance = torch.tensor(means)[kinds].view(-1, 1), torch.tensor(variances)[kinds].view(-1, 1)
        total = (1 - time) ** 2 * variance + time**2
        centred = noisy - (1 - time) * mean
        return time / total * centred - (mean + (1 - time) * variance / total * centred)

    return velocity


@pytest.fixture
def noise():
    draws = torch.randn(2000, 1, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return (draws - draws.mean()) / draws.std()


@pytest.mark.parametrize("scale", [0.0, 0.5, 2.0])
class TestHeun:
    def test_negatives_elsewhere_move_the_mean(self, noise, scale):
        denoiser = Guided(gaussian_denoiser([1.0, 3.0], [0.25, 0.25]), scale)
        samples = heun(denoiser, noise, edm_sigmas(60))
        assert samples.mean().item() == pytest.approx(1 + scale * (1 - 3), abs=0.05)
        assert samples.var().item() == pytest.approx(0.25, rel=0.02)

    def test_wider_negatives_narrow_the_samples(self, noise, scale):
        denoiser = Guided(gaussian_denoiser([0.0, 0.0], [0.25, 1.0]), scale)
        samples = heun(denoiser, noise, edm_sigmas(60))
        assert samples.var().item() == pytest.approx(0.25 * (0.25 / 1.0) ** scale, rel=0.05)


@pytest.mark.parametrize("scale", [0.0, 1.0])
def test_flows_are_guided_as_well(noise, scale):
    velocity = Guided(gaussian_velocity([1.0, 3.0], [0.25, 0.25]), scale)
    samples = euler(velocity, noise, 400)
    assert samples.mean().item() == pytest.approx(1 + scale * (1 - 3), abs=0.05)
    assert samples.var().item() == pytest.approx(0.25, rel=0.05)


def test_guidance_above_a_noise_level_only(noise):
    denoiser = Guided(gaussian_denoiser([1.0, 3.0], [0.25, 0.25]), 1.0, interval=(1000.0, 2000.0))
    plain = heun(
        lambda images, sigma: gaussian_denoiser([1.0], [0.25])(images, sigma, kinds(images)), noise, edm_sigmas(9)
    )
    assert torch.equal(heun(denoiser, noise, edm_sigmas(9)), plain)


def kinds(images):
    return torch.full((len(images),), int(Kind.REAL))


def test_the_schedule_of_edm():
    sigmas = edm_sigmas(18)
    assert len(sigmas) == 19
    assert sigmas[0] == pytest.approx(80)
    assert sigmas[-2] == pytest.approx(0.002)
    assert sigmas[-1] == 0
    assert sigmas == sorted(sigmas, reverse=True)
