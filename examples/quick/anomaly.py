"""A detector that has seen one digit only, and finds the others: ``python -m examples.quick.anomaly``."""

import torch
from sklearn.datasets import load_digits
from sklearn.metrics import roc_auc_score
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from nda_augment.anomaly import Detector, Encoder, Training, semantic

NORMAL = 3


def digits() -> tuple[Tensor, Tensor]:
    """1797 handwritten digits, ``(N, 1, 16, 16)`` in [0, 1], and what they are."""
    data = load_digits()
    images = torch.from_numpy(data.images).float().unsqueeze(1) / 16
    return nn.functional.interpolate(images, scale_factor=2.0, mode="bilinear"), torch.from_numpy(data.target)


def fit(epochs: int = 30, normal: int = NORMAL, seed: int = 0) -> Detector:
    """Return a detector that learnt one digit. Its negatives are rotated digits: it learns what upright ones are."""
    torch.manual_seed(seed)
    images, labels = (some[::2] for some in digits())  # the other half is for testing
    loader = DataLoader(TensorDataset(images[labels == normal]), 32, shuffle=True, drop_last=True)
    encoder = Encoder(channels=1, width=16)
    training = Training(epochs=epochs, lr=2e-3, seed=seed, accelerator="cpu")
    return semantic(encoder, encoder.features, size=(16, 16), channels=1, training=training).fit(loader)


def measure(detector: Detector, normal: int = NORMAL) -> float:
    """AUROC of the scores of test images, other digits being the anomalies: 0.5 is chance, 1 is perfect."""
    images, labels = (some[1::2] for some in digits())
    auroc: float = roc_auc_score(labels != normal, detector.score(images))
    return auroc


if __name__ == "__main__":
    print(f"a detector of what is no {NORMAL}: AUROC {measure(fit()):.3f}")
