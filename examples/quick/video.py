"""Clips whose order of frames is to be seen: ``python -m examples.quick.video``."""

import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn

import nda_augment as nda

FRAMES = 8


def clips(count: int, digits: Tensor) -> tuple[Tensor, Tensor]:
    """Digits that move to the right (0) or to the left (1): ``(N, T, 1, 16, 16)`` in [0, 1], and which it is."""
    directions, start = torch.arange(count) % 2, torch.randint(16, (count,))
    still = nn.functional.pad(digits[torch.randint(len(digits), (count,))], (4, 4, 4, 4))
    moved = torch.stack([torch.arange(FRAMES), -torch.arange(FRAMES)])[directions] + start[:, None]  # (N, T)
    columns = (torch.arange(16) - moved[..., None]) % 16
    frames = still[:, None].expand(-1, FRAMES, -1, -1).gather(3, columns[:, :, None, :].expand(-1, -1, 16, -1))
    return frames[:, :, None], directions


def make_encoder() -> nn.Module:
    return nn.Sequential(
        nn.Conv3d(1, 16, 3, padding=1), nn.GroupNorm(4, 16), nn.ReLU(), nn.MaxPool3d((1, 2, 2)),
        nn.Conv3d(16, 32, 3, padding=1), nn.GroupNorm(4, 32), nn.ReLU(), nn.MaxPool3d(2),
        nn.Conv3d(32, 64, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool3d(1), nn.Flatten(),
    )  # fmt: skip


def train(steps: int = 100, policy: str = "framereverse", negatives: bool = True, seed: int = 0) -> nn.Module:
    """Return an encoder that has never seen a label. Two views of a clip differ in noise and brightness."""
    torch.manual_seed(seed)
    digits = torch.from_numpy(load_digits().images).float()[::2] / 16
    encoder, head, transform = make_encoder(), nn.Linear(64, 32), nda.from_policy(policy)
    optimizer = torch.optim.Adam([*encoder.parameters(), *head.parameters()], 1e-3)
    for step in range(1, steps + 1):
        batch, _ = clips(32, digits)
        views = [embed(head, encoder, batch) for _ in range(2)]
        of_negatives = (
            embed(head, encoder, transform(batch)) if negatives else None
        )  # one draw for all frames of a clip
        loss = nda.losses.nt_xent(*views, negatives=of_negatives, temperature=0.2)
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
        if step % 50 == 0:
            print(f"{step}: loss {loss:.2f}")
    return encoder.eval()


def embed(head: nn.Module, encoder: nn.Module, batch: Tensor) -> Tensor:
    noisy = batch * (0.5 + torch.rand(len(batch), 1, 1, 1, 1)) + 0.1 * torch.randn_like(batch)
    embedded: Tensor = head(encoder(noisy.transpose(1, 2)))  # 3-D convolutions read (B, C, T, H, W)
    return embedded


@torch.no_grad()
def accuracy(encoder: nn.Module) -> float:
    """Share of clips of new digits whose direction their nearest neighbour in features has."""
    torch.manual_seed(1)
    digits = torch.from_numpy(load_digits().images).float() / 16
    (bank, known), (queries, directions) = clips(256, digits[::2]), clips(256, digits[1::2])
    features = [nn.functional.normalize(encoder(some.transpose(1, 2)), dim=1) for some in (bank, queries)]
    nearest = (features[1] @ features[0].T).argmax(dim=1)
    return (known[nearest] == directions).float().mean().item()


if __name__ == "__main__":
    for negatives in (False, True):
        print(f"negatives {negatives}: the direction is told in {accuracy(train(negatives=negatives)):.1%} of clips")
