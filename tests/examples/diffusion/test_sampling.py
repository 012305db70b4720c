"""The samplers against what is known: Gaussians, straight lines, and the plain model at scale 0."""

import pytest
import torch

from examples.common.settings import ConfigError
from examples.diffusion import train
from examples.diffusion.config import Loss, Sampling
from examples.diffusion.processes import EDM, Flow
from examples.diffusion.sampling import SNAPSHOT, follow, guided, load_denoiser, sample, sample_run
from nda_augment.guidance import Guided, Kind

MEANS, VARIANCES = torch.tensor([1.0, 3.0, 2.0]), torch.tensor([0.25, 0.25, 0.5])
PROCESSES = {"edm": EDM(Loss(sigma_min=0.002, sigma_max=80.0)), "flow": Flow()}


def gaussians(process):
    """What an ideal network predicts where each kind of image is normal, ``(B, 1)``."""

    def denoiser(noisy, level, kinds):
        signal, noise = (1, level) if isinstance(process, EDM) else (1 - level, level)
        mean, variance = MEANS[kinds].view(-1, 1), VARIANCES[kinds].view(-1, 1)
        denoised = mean + variance * signal * (noisy - signal * mean) / (signal**2 * variance + noise**2)
        return denoised if isinstance(process, EDM) else (noisy - denoised) / level

    return denoiser


@pytest.fixture
def noise():
    draws = torch.randn(2000, 1, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return (draws - draws.mean()) / draws.std()


@pytest.mark.parametrize("scale", [0.0, 1.0])
@pytest.mark.parametrize("name", PROCESSES)
def test_guidance_of_gaussians_has_a_closed_form(name, scale, noise):
    process = PROCESSES[name]
    samples = follow(Guided(gaussians(process), scale), process, noise, steps=60)
    # N(m, v) away from N(m', v) is N(m + s(m - m'), v).
    assert samples.mean().item() == pytest.approx(1 + scale * (1 - 3), abs=0.05)
    assert samples.var().item() == pytest.approx(0.25, rel=0.03)


@pytest.mark.parametrize("process", PROCESSES.values(), ids=PROCESSES)
class TestProcess:
    levels = torch.tensor([0.3, 0.7])

    def test_a_perfect_prediction_has_no_loss_and_stands_for_the_image(self, process):
        images, noise = torch.randn(2, 2, 1, 4, 4)
        noisy = process.noisy(images, noise, self.levels)
        perfect = images if isinstance(process, EDM) else noise - images
        assert process.loss(perfect, images, noise, self.levels).item() == pytest.approx(0, abs=1e-10)
        assert torch.allclose(process.denoised(perfect, noisy, self.levels), images, atol=1e-5)

    def test_its_weight_is_that_of_the_images_error(self, process):
        images, noise = torch.randn(2, 1, 1, 4, 4)
        level = self.levels[:1]
        noisy = process.noisy(images, noise, level)
        prediction = torch.randn(1, 1, 4, 4)
        error = (process.denoised(prediction, noisy, level) - images).square().mean()
        loss = process.loss(prediction, images, noise, level)
        assert loss.item() == pytest.approx((process.weight(level) * error).item(), rel=1e-4)

    def test_the_slope_is_the_derivative(self, process):
        images, noise = torch.randn(2, 1, 1, 4, 4, dtype=torch.float64)
        level, little = torch.tensor([0.3], dtype=torch.float64), 1e-6
        apart = process.noisy(images, noise, level + little) - process.noisy(images, noise, level)
        perfect = images if isinstance(process, EDM) else noise - images
        slope = process.slope(perfect, process.noisy(images, noise, level), 0.3)
        assert torch.allclose(slope, apart / little, atol=1e-6)

    def test_sampling_goes_from_noise_to_none(self, process):
        levels = process.levels(5)
        assert len(levels) == 6
        assert levels == sorted(levels, reverse=True)
        assert levels[-1] == 0
        drawn = process.draw(1000, torch.Generator().manual_seed(0), torch.device("cpu"))
        assert drawn.min() > 0
        assert drawn.max() < levels[0]


class TestRun:
    @pytest.fixture
    def folder(self, tiny):
        return train.train(tiny("run", "RUN.snapshot_step=2", "OPTIMIZATION.total_steps=4"))

    def test_scale_0_is_plain_sampling_bit_for_bit(self, folder):
        denoiser = load_denoiser(folder)
        real = lambda noisy, level: denoiser(noisy, level, torch.full((len(noisy),), int(Kind.REAL)))  # noqa: E731
        noise = torch.randn(3, 1, 8, 8)
        plain = follow(real, denoiser.process, noise, 3)
        assert torch.equal(follow(guided(denoiser, Sampling(scale=0.0)), denoiser.process, noise, 3), plain)
        assert not torch.equal(follow(guided(denoiser, Sampling(scale=1.0)), denoiser.process, noise, 3), plain)

    def test_autoguidance_leads_away_from_the_snapshot(self, folder):
        denoiser, snapshot = load_denoiser(folder), load_denoiser(folder, SNAPSHOT)
        noisy, kinds = torch.randn(3, 1, 8, 8), torch.zeros(3, dtype=torch.long)
        with torch.no_grad():
            strong, weak = (each(noisy, 0.5, kinds) for each in (denoiser, snapshot))
            found = guided(denoiser, Sampling(scale=2.0), snapshot)(noisy, 0.5)
            outside = guided(denoiser, Sampling(scale=2.0, interval=[1.0, 2.0]), snapshot)(noisy, 0.5)
        assert torch.allclose(found, 3 * strong - 2 * weak, atol=1e-5)
        assert torch.equal(outside, strong)

    def test_images_are_a_function_of_seed_and_purpose(self, folder):
        first, again, other = (sample_run(folder, Sampling(steps=2), 5, purpose) for purpose in ("a", "a", "b"))
        assert first.shape == (5, 1, 8, 8)
        assert first.abs().max() <= 1
        assert torch.equal(first, again)
        assert not torch.equal(first, other)
        with_itself = sample(load_denoiser(folder), Sampling(steps=2, scale=1.0), 5, 0, "a", load_denoiser(folder))
        assert torch.allclose(first, with_itself, atol=1e-4)  # nothing to move away from

    def test_a_run_without_a_snapshot_says_how_to_keep_one(self, tiny):
        folder = train.train(tiny("bare", "OPTIMIZATION.total_steps=1"))
        with pytest.raises(ConfigError, match=r"RUN.snapshot_step lets a run keep a snapshot"):
            sample_run(folder, Sampling(scale=1.0, away_from="snapshot"), 2, "a")
