"""It runs; and its sampler, with guidance, does what can be computed: real data and negatives are Gaussians."""

import pytest
import torch

from examples.quick import diffusion
from nda_augment.guidance import Guided


def test_it_runs(capsys):
    samples = diffusion.main(steps=2)
    assert all(images.shape == (8, 1, 8, 8) and images.isfinite().all() for images in samples.values())
    assert not torch.equal(*samples.values())
    assert "scale 1" in capsys.readouterr().out


def gaussian_denoiser(means, variances):
    """E[image | noisy] of each kind's normal distribution."""

    def denoiser(noisy, sigma, kinds):
        mean, variance = torch.tensor(means)[kinds].view(-1, 1), torch.tensor(variances)[kinds].view(-1, 1)
        return (variance * noisy + sigma**2 * mean) / (variance + sigma**2)

    return denoiser


@pytest.fixture
def noise():
    draws = torch.randn(2000, 1, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return (draws - draws.mean()) / draws.std()


LEVELS = {"steps": 60, "lowest": 0.002, "highest": 80.0}


@pytest.mark.parametrize("scale", [0.0, 0.5, 2.0])
class TestGuidanceOfGaussians:
    def test_negatives_elsewhere_move_the_mean(self, noise, scale):
        samples = diffusion.sample(Guided(gaussian_denoiser([1.0, 3.0], [0.25, 0.25]), scale), noise, **LEVELS)
        assert samples.mean().item() == pytest.approx(1 + scale * (1 - 3), abs=0.05)
        assert samples.var().item() == pytest.approx(0.25, rel=0.02)

    def test_wider_negatives_narrow_the_samples(self, noise, scale):
        samples = diffusion.sample(Guided(gaussian_denoiser([0.0, 0.0], [0.25, 1.0]), scale), noise, **LEVELS)
        assert samples.var().item() == pytest.approx(0.25 * (0.25 / 1.0) ** scale, rel=0.05)
