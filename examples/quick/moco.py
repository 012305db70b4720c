"""MoCo in which an image's own negative joins the queue's candidates: ``python -m examples.quick.moco``."""

import copy

import torch
from kornia.augmentation import ImageSequential, RandomAffine, RandomResizedCrop
from sklearn.datasets import load_digits
from torch import Tensor, nn

import nda_augment as nda

QUEUE, DIM, MOMENTUM = 512, 64, 0.99


def digits() -> tuple[Tensor, Tensor]:
    """1797 handwritten digits, ``(N, 1, 16, 16)`` in [0, 1], and what they are."""
    data = load_digits()
    images = torch.from_numpy(data.images).float().unsqueeze(1) / 16
    return nn.functional.interpolate(images, scale_factor=2.0, mode="bilinear"), torch.from_numpy(data.target)


def make_encoder() -> nn.Module:
    """Backbone and head; without batch norm nothing has to be shuffled."""
    backbone = nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1), nn.GroupNorm(4, 16), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 3, padding=1), nn.GroupNorm(4, 32), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(32 * 16, 128), nn.ReLU(),
    )  # fmt: skip
    return nn.Sequential(backbone, nn.Linear(128, DIM))


def train(steps: int = 300, policy: str = "patchtile", seed: int = 0) -> nn.Module:
    """Return the backbone of an encoder that has never seen a label."""
    torch.manual_seed(seed)
    images = digits()[0][::2]  # the other half is for testing
    views = ImageSequential(RandomResizedCrop((16, 16), scale=(0.5, 1.0)), RandomAffine(10.0, (0.1, 0.1), p=1.0))
    negatives, encoder = nda.from_policy(policy), make_encoder()
    key_encoder = copy.deepcopy(encoder).requires_grad_(False)
    queue = nn.functional.normalize(torch.randn(QUEUE, DIM), dim=1)
    optimizer = torch.optim.Adam(encoder.parameters(), 1e-3)
    for step in range(1, steps + 1):
        batch = images[torch.randint(len(images), (64,))]
        query = encoder(views(batch))
        with torch.no_grad():
            for slow, fast in zip(key_encoder.parameters(), encoder.parameters(), strict=True):
                slow.lerp_(fast, 1 - MOMENTUM)
            # The negative is a candidate like those of the queue, but it is never enqueued.
            key, negative = key_encoder(views(batch)), key_encoder(views(negatives(batch)))
        loss = nda.losses.info_nce(query, key, queue=queue, negatives=negative, temperature=0.2)
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
        queue = torch.cat([nn.functional.normalize(key, dim=1), queue])[:QUEUE]
        if step % 100 == 0:
            print(f"{step}: loss {loss:.2f}")
    backbone: nn.Module = encoder.eval()[0]  # type: ignore[index]
    return backbone


@torch.no_grad()
def accuracy(backbone: nn.Module) -> float:
    """Share of held-out digits whose nearest neighbour among the training images has their label."""
    images, labels = digits()
    bank, queries = (nn.functional.normalize(backbone(some), dim=1) for some in (images[::2], images[1::2]))
    nearest = (queries @ bank.T).argmax(dim=1)
    return (labels[::2][nearest] == labels[1::2]).float().mean().item()


if __name__ == "__main__":
    print(f"nearest neighbours: {accuracy(train()):.1%}; hardly trained: {accuracy(train(1)):.1%}")
