"""A Gaussian density on features: how far a feature vector lies from the normal ones."""

from collections.abc import Iterable
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nda_augment.anomaly._loading import read
from nda_augment.anomaly.detector import Detector


def ledoit_wolf(features: Tensor) -> tuple[Tensor, float]:
    """The covariance of features, shrunk towards a multiple of the identity as far as the sample asks for.

    ``(1 − s) S + s (tr S / D) I`` with the sample covariance ``S`` of ``N`` vectors (divided by ``N``). The shrinkage
    ``s`` minimises the expected squared error, both estimated from the sample. Unlike ``S`` it can be inverted even
    for ``N < D``, provided that the features vary at all.

    Written here because scikit-learn, which has it, is not needed otherwise; the tests compare the two.

    Source: Ledoit and Wolf, "A Well-Conditioned Estimator for Large-Dimensional Covariance Matrices", Journal of
    Multivariate Analysis, 2004.

    Args:
        features: Features ``(N, D)``, two rows at least.

    Returns:
        The covariance ``(D, D)``, float64, and the shrinkage ``s`` in [0, 1].

    Raises:
        ValueError: If the features are not ``(N, D)`` with two rows at least, or not finite.

    Example:
        >>> import torch
        >>> covariance, shrinkage = ledoit_wolf(torch.tensor([[1.0, 2.0], [3.0, 1.0], [5.0, 6.0]]))
        >>> covariance
        tensor([[3.2192, 1.1933],
                [1.1933, 4.1142]], dtype=torch.float64)
        >>> round(shrinkage, 4)
        0.5525
    """
    if features.ndim != 2 or len(features) < 2:
        raise ValueError(f"features must be (N, D) with two rows at least, got {tuple(features.shape)}")
    if not features.isfinite().all():
        raise ValueError(f"{int((~features.isfinite()).sum())} values of the features are not finite")
    centred = features.double() - features.double().mean(dim=0)
    count, size = centred.shape
    sample = centred.T @ centred / count
    scale = sample.trace() / size
    target = scale * torch.eye(size, dtype=sample.dtype, device=sample.device)
    # Both are squared Frobenius norms: of the sample covariance's distance to the target, and of its expected error.
    distance = (sample - target).square().sum()
    error = (centred.square().sum(dim=1).square().mean() - sample.square().sum()) / count
    shrinkage = 1.0 if distance == 0 else (error / distance).clamp(0, 1).item()
    return (1 - shrinkage) * sample + shrinkage * target, shrinkage


class GaussianDensity(nn.Module):
    """Mean and shrunk covariance of normal features; the score is the squared Mahalanobis distance.

    Up to constants that is minus the log-density.

    Args:
        features: Length ``D`` of the feature vectors.
        normalize: Whether to scale every vector to length one first, so that its direction alone counts.

    Example:
        >>> import torch
        >>> density = GaussianDensity(2, normalize=False).fit(torch.randn(1000, 2))
        >>> scores = density.score(torch.tensor([[0.0, 0.0], [3.0, 0.0]]))
        >>> bool(scores[1] > scores[0])
        True
    """

    mean: Tensor
    precision: Tensor

    def __init__(self, features: int, *, normalize: bool = True) -> None:
        super().__init__()
        self.normalize = normalize
        self.register_buffer("mean", torch.zeros(features, dtype=torch.float64))
        self.register_buffer("precision", torch.eye(features, dtype=torch.float64))

    def fit(self, features: Tensor) -> Self:
        """Learn from normal features ``(N, D)``.

        Raises:
            ValueError: If they are not ``(N, D)`` with two rows at least, not finite, or all alike.
        """
        directions = self._prepare(features)
        covariance, _ = ledoit_wolf(directions)
        if not covariance.trace() > 0:
            raise ValueError("all normal features are alike, so there is no distance to tell; is the network dead?")
        self.mean.copy_(directions.mean(dim=0))
        self.precision.copy_(torch.cholesky_inverse(torch.linalg.cholesky(covariance)))
        return self

    def score(self, features: Tensor) -> Tensor:
        """Squared Mahalanobis distances ``(N,)`` of features ``(N, D)``, in float64."""
        # In full even if the module that holds this was cast, by .float() or .half().
        apart = self._prepare(features) - self.mean.double()
        return torch.einsum("nd,de,ne->n", apart, self.precision.double(), apart)

    def _prepare(self, features: Tensor) -> Tensor:
        values = features.double()
        return F.normalize(values, dim=-1) if self.normalize else values


class DensityDetector(Detector):
    """A Gaussian density on the features of a network as it is: the baseline that knows no negatives.

    Args:
        backbone: Images ``(B, C, H, W)`` to features ``(B, D)``; pretrained, or with random weights. It is not
            trained here.
        features: ``D``.
        normalize: Whether to scale features to length one before the density sees them.

    Example:
        >>> import torch
        >>> from nda_augment.anomaly import Encoder
        >>> backbone = Encoder(channels=1, width=4)
        >>> detector = DensityDetector(backbone, backbone.features)
        >>> normal = torch.rand(64, 1, 8, 8)
        >>> detector.fit(normal.split(16)).score(torch.rand(3, 1, 8, 8)).shape
        torch.Size([3])
    """

    def __init__(self, backbone: nn.Module, features: int, *, normalize: bool = True) -> None:
        super().__init__()
        self.backbone = backbone
        self.density = GaussianDensity(features, normalize=normalize)

    def arguments(self) -> dict[str, Any]:
        """Return the constructor's arguments by name."""
        return {"backbone": self.backbone, "features": len(self.density.mean), "normalize": self.density.normalize}

    def _fit(self, loader: Iterable[Any]) -> None:
        self.eval()
        with torch.no_grad():
            self.density.fit(torch.cat([self._normal_features(images.to(self.device)) for images in read(loader)]))

    def _normal_features(self, images: Tensor) -> Tensor:
        """The features of one batch that the density learns from."""
        features: Tensor = self.backbone(images)
        return features

    def _score(self, images: Tensor) -> Tensor:
        return self.density.score(self.backbone(images))
