"""SimCLR in which an image's own negative is one more candidate: ``python -m examples.quick.simclr``."""

import torch
from kornia.augmentation import ImageSequential, RandomAffine, RandomResizedCrop
from sklearn.datasets import load_digits
from torch import Tensor, nn

import nda_augment as nda


def digits() -> tuple[Tensor, Tensor]:
    """1797 handwritten digits, ``(N, 1, 16, 16)`` in [0, 1], and what they are."""
    data = load_digits()
    images = torch.from_numpy(data.images).float().unsqueeze(1) / 16
    return nn.functional.interpolate(images, scale_factor=2.0, mode="bilinear"), torch.from_numpy(data.target)


def make_encoder(features: int = 128) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1), nn.GroupNorm(4, 16), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 3, padding=1), nn.GroupNorm(4, 32), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(32 * 16, features), nn.ReLU(),
    )  # fmt: skip


def make_views() -> nn.Module:
    """What does not change the digit: positives must not undo the negatives, so there is no flip here."""
    return ImageSequential(RandomResizedCrop((16, 16), scale=(0.5, 1.0)), RandomAffine(10.0, (0.1, 0.1), p=1.0))


def train(steps: int = 200, policy: str = "patchtile", seed: int = 0) -> nn.Module:
    """Return an encoder that has never seen a label."""
    torch.manual_seed(seed)
    images = digits()[0][::2]  # the other half is for testing
    negatives, views = nda.from_policy(policy), make_views()
    encoder, head = make_encoder(), nn.Linear(128, 64)
    optimizer = torch.optim.Adam([*encoder.parameters(), *head.parameters()], 1e-3)
    for step in range(1, steps + 1):
        batch = images[torch.randint(len(images), (64,))]
        z0, z1 = head(encoder(views(batch))), head(encoder(views(batch)))
        z_negative = head(encoder(views(negatives(batch))))
        loss = nda.losses.nt_xent(z0, z1, negatives=z_negative, temperature=0.2)
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
        if step % 50 == 0:
            print(f"{step}: loss {loss:.2f}")
    return encoder.eval()


@torch.no_grad()
def accuracy(encoder: nn.Module) -> float:
    """Share of held-out digits whose nearest neighbour among the training images has their label."""
    images, labels = digits()
    bank, queries = (nn.functional.normalize(encoder(some), dim=1) for some in (images[::2], images[1::2]))
    nearest = (queries @ bank.T).argmax(dim=1)
    return (labels[::2][nearest] == labels[1::2]).float().mean().item()


if __name__ == "__main__":
    untrained = accuracy(make_encoder())
    print(f"nearest neighbours: {accuracy(train()):.1%}; untrained: {untrained:.1%}")
