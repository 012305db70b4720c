"""A GAN that is told what its data are not: ``python -m examples.quick.gan``."""

import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm
from torchvision.utils import save_image

import nda_augment as nda

Z = 64


def digits() -> Tensor:
    """1797 handwritten digits, ``(N, 1, 16, 16)`` in [-1, 1]."""
    images = torch.from_numpy(load_digits().images).float().unsqueeze(1)
    return nn.functional.interpolate(images / 8 - 1, scale_factor=2.0, mode="bilinear")


def make_generator() -> nn.Module:
    return nn.Sequential(
        nn.Linear(Z, 32 * 4 * 4), nn.Unflatten(1, (32, 4, 4)), nn.BatchNorm2d(32), nn.ReLU(),
        nn.Upsample(scale_factor=2), nn.Conv2d(32, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(),
        nn.Upsample(scale_factor=2), nn.Conv2d(16, 1, 3, padding=1), nn.Tanh(),
    )  # fmt: skip


def make_discriminator() -> nn.Module:
    """Images to logits, ``(B, 1)``: high means real. No sigmoid at the end."""
    return nn.Sequential(
        spectral_norm(nn.Conv2d(1, 16, 4, stride=2, padding=1)), nn.LeakyReLU(0.2),
        spectral_norm(nn.Conv2d(16, 32, 4, stride=2, padding=1)), nn.LeakyReLU(0.2),
        nn.Flatten(), spectral_norm(nn.Linear(32 * 4 * 4, 1)),
    )  # fmt: skip


def train(steps: int = 1000, policy: str = "jigsaw", seed: int = 0) -> tuple[nn.Module, Tensor]:
    """Return the generator, and how far the discriminator holds real images and negatives apart, in logits."""
    torch.manual_seed(seed)
    data, negatives = digits(), nda.from_policy(policy)
    generator, discriminator = make_generator(), make_discriminator()
    g_optimizer = torch.optim.Adam(generator.parameters(), 1e-3, (0.0, 0.9))
    d_optimizer = torch.optim.Adam(discriminator.parameters(), 1e-3, (0.0, 0.9))
    gap = torch.zeros(())
    for step in range(1, steps + 1):
        real = data[torch.randint(len(data), (32,))]

        # The discriminator: negatives are further fakes, with a weight of their own.
        fake = generator(torch.randn(32, Z)).detach()
        terms = nda.losses.discriminator_terms(discriminator(real), discriminator(fake), discriminator(negatives(real)))
        d_optimizer.zero_grad()
        torch.autograd.backward(terms.total())
        d_optimizer.step()

        # The generator: as without negatives.
        loss = nda.losses.generator_loss(discriminator(generator(torch.randn(32, Z))))
        g_optimizer.zero_grad()
        torch.autograd.backward(loss)
        g_optimizer.step()

        gap = gap if terms.logit_gap is None else terms.logit_gap
        if step % 100 == 0:
            print(f"{step}: discriminator {terms.total():.2f}, generator {loss:.2f}, real minus negative {gap:.2f}")
    return generator.eval(), gap


if __name__ == "__main__":
    trained, _ = train()
    save_image(trained(torch.randn(64, Z)), "samples.png", normalize=True, value_range=(-1, 1))
    print("64 samples are in samples.png")
