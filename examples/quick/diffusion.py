"""A denoiser that is told what digits are not, and samples away from it: `python -m examples.quick.diffusion`."""

from itertools import pairwise

import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn

import nda_augment as nda
from nda_augment.guidance import Guided, Kind, mix_kinds

SIGMA_DATA = 0.5


class Denoiser(nn.Module):
    """A small network under EDM's preconditioning: (images, noise level, kinds) -> images without noise."""

    def __init__(self, width: int = 64) -> None:
        super().__init__()
        self.kind = nn.Embedding(len(Kind), width)
        self.noise = nn.Sequential(nn.Linear(1, width), nn.SiLU(), nn.Linear(width, width))
        self.enter, self.leave = nn.Conv2d(1, width, 3, padding=1), nn.Conv2d(width, 1, 3, padding=1)
        self.blocks = nn.ModuleList(nn.Conv2d(width, width, 3, padding=step, dilation=step) for step in (1, 2, 4, 1))
        self.norms = nn.ModuleList(nn.GroupNorm(8, width) for _ in self.blocks)

    def forward(self, noisy: Tensor, sigma: Tensor | float, kinds: Tensor) -> Tensor:
        sigma = torch.as_tensor(sigma).expand(len(noisy)).view(-1, 1, 1, 1)
        scale = (sigma**2 + SIGMA_DATA**2).sqrt()
        condition = (self.kind(kinds) + self.noise(sigma.view(-1, 1).log() / 4))[:, :, None, None]
        features = self.enter(noisy / scale)
        for block, norm in zip(self.blocks, self.norms, strict=True):
            features = features + block(nn.functional.silu(norm(features) + condition))
        detail: Tensor = self.leave(features)
        return noisy * (SIGMA_DATA / scale) ** 2 + detail * sigma * SIGMA_DATA / scale


def train(denoiser: nn.Module, images: Tensor, negatives: nn.Module, steps: int) -> None:
    optimizer = torch.optim.Adam(denoiser.parameters(), lr=2e-3)
    for _ in range(steps):
        real = images[torch.randint(len(images), (64,))]
        clean, kinds = mix_kinds(real, negatives(real))
        sigma = (1.2 * torch.randn(64) - 1.2).exp()
        noisy = clean + sigma.view(-1, 1, 1, 1) * torch.randn_like(clean)
        loss = nda.losses.edm_loss(denoiser(noisy, sigma, kinds), clean, sigma, sigma_data=SIGMA_DATA)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()


@torch.no_grad()
def sample(denoiser: nn.Module, noise: Tensor, steps: int = 20, lowest: float = 0.01, highest: float = 20.0) -> Tensor:
    """Follow the probability flow from noise to images: Heun's method on EDM's noise levels."""
    sigmas = torch.linspace(highest ** (1 / 7), lowest ** (1 / 7), steps, dtype=torch.float64) ** 7
    images = noise * highest
    for sigma, following in pairwise([*sigmas.tolist(), 0.0]):
        slope = (images - denoiser(images, sigma)) / sigma
        ahead = images + (following - sigma) * slope
        if following > 0:
            slope = (slope + (ahead - denoiser(ahead, following)) / following) / 2
        images = images + (following - sigma) * slope
    return images


def main(steps: int = 1000) -> dict[float, Tensor]:
    torch.manual_seed(0)
    digits = torch.from_numpy(load_digits().images).float().unsqueeze(1) / 8 - 1
    denoiser, noise = Denoiser(), torch.randn(8, 1, 8, 8)
    train(denoiser, digits, nda.Jigsaw(grid=(2, 2)), steps)
    samples = {scale: sample(Guided(denoiser, scale), noise) for scale in (0.0, 1.0)}
    for scale, images in samples.items():
        print(f"guided away from jigsaws, scale {scale:g}")
        for row in images.add(1).mul(2).clamp(0, 3).long()[:, 0].transpose(0, 1).tolist():
            print("  ".join("".join(" .+#"[value] for value in line) for line in row))
    return samples


if __name__ == "__main__":
    main()
