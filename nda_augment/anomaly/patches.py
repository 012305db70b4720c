"""Detection by comparing patch features with normal ones: nothing is learned, so it is what learning has to beat."""

from collections.abc import Iterable
from typing import Any, Literal, get_args

import torch
from kornia.filters import gaussian_blur2d
from torch import Tensor, nn
from torch.nn import functional as F

from nda_augment._checks import as_share, check_word
from nda_augment.anomaly._loading import read, seeded
from nda_augment.anomaly.coreset import k_center_greedy
from nda_augment.anomaly.density import ledoit_wolf
from nda_augment.anomaly.detector import Detector

Method = Literal["nearest", "gaussian"]

_MOST_POINTS = 40_000
_AT_ONCE = 2**22


class PatchDetector(Detector):
    """Score every place by how far its features lie from the normal ones; the network stays as it is.

    ``"nearest"``: by the distance to the nearest of a few normal vectors, chosen by :func:`k_center_greedy` from all
    places of all normal images (after PatchCore). ``"gaussian"``: by the Mahalanobis distance to the normal vectors of
    the same place, for objects that always lie alike (after PaDiM). The map is enlarged and smoothed, and the score of
    an image is its highest value.

    It learns from no negatives. With a pretrained network it is a strong baseline, with a random one a weak one, except
    that ``"gaussian"`` has 98.7 % of image AUROC on solar cells, which lie alike, where :func:`defect` has 98.1. A
    network that was trained on negatives is :attr:`ClassifierDetector.backbone`, or ``SegmentationDetector.outline``.

    Source: Roth et al., PatchCore, CVPR 2022, without its reweighting; Defard et al., PaDiM, ICPR 2021, with Ledoit and
    Wolf's covariance.

    Args:
        backbone: Images ``(B, C, H, W)`` to maps ``(B, D, h, w)``, such as :class:`Features`; in eval mode.
        method: ``"nearest"`` or ``"gaussian"``.
        coreset: Number of normal vectors that are kept; with ``"gaussian"`` not used.
        features: Number of features that are kept, drawn at random, if there are more; ``None`` keeps all.
        smoothing: Standard deviation of the map's blur as a share of the image's shorter side.
        seed: Seed of the draws.

    Raises:
        ValueError: If ``method`` is another word, or a number is out of bounds.

    Example:
        >>> from nda_augment.anomaly import Encoder, Features
        >>> detector = PatchDetector(Features(Encoder(channels=1, width=4), ["layers.4"]), coreset=50)
        >>> detector = detector.fit(torch.rand(16, 1, 16, 16).split(8))
        >>> detector.score(torch.rand(3, 1, 16, 16)).shape, detector.heatmap(torch.rand(3, 1, 16, 16)).shape
        (torch.Size([3]), torch.Size([3, 1, 16, 16]))
    """

    has_heatmap = True
    kept: Tensor
    centre: Tensor
    scale: Tensor

    def __init__(
        self,
        backbone: nn.Module,
        method: Method = "nearest",
        *,
        coreset: int = 2000,
        features: int | None = None,
        smoothing: float = 0.02,
        seed: int = 0,
    ) -> None:
        super().__init__()
        check_word(method, "method", get_args(Method))
        if coreset < 1 or (features is not None and features < 1):
            raise ValueError(f"coreset and features must be at least 1, got {coreset} and {features}")
        self.backbone, self.method = backbone, method
        self.coreset, self.features, self.smoothing, self.seed = (
            coreset,
            features,
            as_share(smoothing, "smoothing"),
            seed,
        )
        for name in _LEARNED:
            self.register_buffer(name, torch.zeros(0))

    def arguments(self) -> dict[str, Any]:
        """Return the constructor's arguments by name."""
        names = ("backbone", "method", "coreset", "features", "smoothing", "seed")
        return {name: getattr(self, name) for name in names}

    def _fit(self, loader: Iterable[Any]) -> None:
        self.eval()
        with torch.no_grad(), seeded(self.seed, 0, self.device):
            maps = torch.cat([self.backbone(images.to(self.device)) for images in read(loader)])
            total = maps.shape[1]
            count = min(self.features or total, total)
            places = torch.randperm(total)[:count].sort().values if count < total else torch.arange(total)
            self.kept = places.to(maps.device)
            maps = maps[:, self.kept]
            if self.method == "nearest":
                self._remember(maps.movedim(1, -1).flatten(0, 2))
            else:
                self._estimate(maps.flatten(2).permute(2, 0, 1))

    def _remember(self, vectors: Tensor) -> None:
        """Keep a coreset of normal vectors ``(N, D)``, each feature scaled to unit deviation."""
        deviation, _ = torch.std_mean(vectors, dim=0)
        if not (deviation > 0).any():
            raise ValueError("all normal features are alike, so there is no distance to tell; is the network dead?")
        self.scale = 1 / deviation.clamp(min=1e-6 * float(deviation.max()))
        some = vectors[torch.randperm(len(vectors), device=vectors.device)[:_MOST_POINTS]] * self.scale
        source = torch.Generator().manual_seed(self.seed)
        self.centre = some[k_center_greedy(some, min(self.coreset, len(some)), generator=source)]

    def _estimate(self, vectors: Tensor) -> None:
        """Keep mean and inverse root covariance of the normal vectors ``(places, N, D)`` of each place."""
        if vectors.shape[1] < 2:
            raise ValueError(f"a Gaussian needs two normal images at least, got {vectors.shape[1]}")
        self.centre = vectors.mean(dim=1)
        roots = []
        for place in vectors:
            covariance, _ = ledoit_wolf(place)
            ridge = 1e-6 * covariance.trace().clamp(min=1e-12)  # for features that never vary at a place
            covariance.diagonal().add_(ridge)
            roots.append(torch.linalg.cholesky(torch.linalg.inv(covariance)).float())
        self.scale = torch.stack(roots)

    @property
    def _tile(self) -> tuple[int, int] | None:
        return None if self.method == "nearest" else super()._tile

    def _heatmap(self, images: Tensor) -> Tensor:
        maps = self.backbone(images)[:, self.kept]
        distances = self._nearest(maps) if self.method == "nearest" else self._mahalanobis(maps)
        size = (images.shape[-2], images.shape[-1])
        return _smooth(F.interpolate(distances, size, mode="bilinear", align_corners=False), self.smoothing * min(size))

    def _nearest(self, maps: Tensor) -> Tensor:
        batch, _, height, width = maps.shape
        vectors = maps.movedim(1, -1).flatten(0, 2) * self.scale
        at_once = max(1, _AT_ONCE // len(self.centre))
        distances = [torch.cdist(some, self.centre).amin(dim=1) for some in torch.split(vectors, at_once)]
        return torch.cat(distances).view(batch, 1, height, width)

    def _mahalanobis(self, maps: Tensor) -> Tensor:
        batch, _, height, width = maps.shape
        apart = maps.flatten(2).permute(2, 0, 1) - self.centre.unsqueeze(1)
        return (apart @ self.scale).square().sum(dim=2).sqrt().T.view(batch, 1, height, width)

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any, **kwargs: Any) -> None:
        for name in _LEARNED:  # how much was kept is known from the state only
            if prefix + name in state_dict:
                setattr(self, name, torch.empty_like(state_dict[prefix + name], device=self.device))
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)


_LEARNED = ("kept", "centre", "scale")


def _smooth(maps: Tensor, sigma: float) -> Tensor:
    radius = min(round(3 * sigma), min(maps.shape[-2:]) - 1)
    return gaussian_blur2d(maps, (2 * radius + 1, 2 * radius + 1), (sigma, sigma)) if radius >= 1 else maps
