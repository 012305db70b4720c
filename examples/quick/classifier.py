"""A classifier that is unsure of what belongs to no class: ``python -m examples.quick.classifier``."""

import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn

import nda_augment as nda


def digits() -> tuple[Tensor, Tensor]:
    """1797 handwritten digits, ``(N, 1, 16, 16)`` in [0, 1], and what they are."""
    data = load_digits()
    images = torch.from_numpy(data.images).float().unsqueeze(1) / 16
    return nn.functional.interpolate(images, scale_factor=2.0, mode="bilinear"), torch.from_numpy(data.target)


def make_classifier() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(32 * 16, 64), nn.ReLU(), nn.Linear(64, 10),
    )  # fmt: skip


def train(steps: int = 300, policy: str = "jigsaw", negative_weight: float = 1.0, seed: int = 0) -> nn.Module:
    """Return a classifier; with a weight of 0 negatives play no part."""
    torch.manual_seed(seed)
    images, labels = (some[::2] for some in digits())  # the other half is for testing
    negatives, model = nda.from_policy(policy), make_classifier()
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    for _ in range(steps):
        chosen = torch.randint(len(images), (64,))
        batch = images[chosen]
        loss = nda.losses.classification_loss(
            model(batch), labels[chosen], negative_logits=model(negatives(batch)), negative_weight=negative_weight
        )
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
    return model.eval()


@torch.no_grad()
def measure(model: nn.Module, policy: str) -> tuple[float, float, float]:
    """Accuracy on test images, and the mean confidence on them and on negatives made of them."""
    images, labels = (some[1::2] for some in digits())
    negatives = nda.from_policy(policy)(images, generator=torch.Generator().manual_seed(0))
    on_images, on_negatives = model(images).softmax(dim=1), model(negatives).softmax(dim=1)
    right = (on_images.argmax(dim=1) == labels).float()
    return right.mean().item(), on_images.amax(dim=1).mean().item(), on_negatives.amax(dim=1).mean().item()


if __name__ == "__main__":
    # Trained against jigsaws, and asked about another kind of broken image too.
    for weight in (0.0, 1.0):
        model = train(negative_weight=weight)
        for policy in ("jigsaw", "stitch"):
            accuracy, sure, fooled = measure(model, policy)
            print(f"weight {weight:g}: accuracy {accuracy:.1%}, confidence {sure:.2f}, on {policy} {fooled:.2f}")
