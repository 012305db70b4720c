"""What all detectors share: ``fit``, ``score``, ``heatmap`` where there is one, a threshold, and files."""

import copy
import json
import math
import warnings
from abc import abstractmethod
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.nn.modules.module import _EXTRA_STATE_KEY_SUFFIX

from nda_augment._files import save_checkpoint
from nda_augment._networks import evaluating
from nda_augment.anomaly._loading import check_images, check_loader, read, seeded
from nda_augment.anomaly._recipes import as_path, as_tensor, differences, from_tensor, recipe
from nda_augment.anomaly._tiles import in_tiles


class Detector(nn.Module):
    """Base of the detectors: learns from normal images, then scores any; a higher score is more anomalous.

    Scores of two detectors, or of two fits, have no common scale; :meth:`calibrate` gives them a threshold. Images are
    float ``(B, C, H, W)``, scaled as the networks expect them, the same in ``fit`` and in ``score``. The state, with
    all that a fit learns, is that of an ``nn.Module``, and it knows which settings it belongs to: it loads into a
    detector that was built alike, and no other. :meth:`save` and :func:`load` keep the detector itself.

    Attributes:
        has_heatmap: Whether ``heatmap`` says where in an image the anomaly is.
        threshold: Score above which an image is called anomalous; infinite before :meth:`calibrate`.
        size: int64 ``(2,)``, height and width of the images that the detector has learned from; 0 before ``fit``.
    """

    has_heatmap = False
    fitted: Tensor
    threshold: Tensor
    size: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("fitted", torch.tensor(False))
        self.register_buffer("threshold", torch.tensor(math.inf, dtype=torch.float64))
        self.register_buffer("size", torch.zeros(2, dtype=torch.long))
        # What it was fitted on, once known: to look at the buffers would make a GPU wait, and no export could do it.
        self._size_on_host: tuple[int, int] | None = None

    def fit(self, loader: Iterable[Any]) -> Self:
        """Learn from normal images.

        Args:
            loader: Batches of images, or tuples that start with them, or dictionaries and objects that have them as
                ``image``, such as anomalib's; read again each time. What else is in a batch is not looked at.

        Returns:
            The detector itself, in eval mode. A threshold that it had is forgotten.

        Raises:
            ImportError: If the detector is trained and Lightning is missing.
            ValueError: If the loader yields nothing, or images of several sizes, or all images are one flat colour.
            TypeError: If it yields something other than images of floating point, or can be read only once.
        """
        check_loader(loader)
        self._size_on_host = None
        self.size.copy_(self._size_of_some(loader))
        self._fit(loader)
        self.fitted.fill_(True)
        self.threshold.fill_(math.inf)
        return self.eval()

    @abstractmethod
    def _fit(self, loader: Iterable[Any]) -> None:
        """Learn from normal images."""

    @abstractmethod
    def arguments(self) -> dict[str, Any]:
        """Return the constructor's arguments by name, without those of training alone."""

    def _score(self, images: Tensor) -> Tensor:
        """Scores ``(B,)`` of a detector without heat map."""
        raise NotImplementedError

    def score(self, images: Tensor, roi: Tensor | None = None) -> Tensor:
        """Score images ``(B, C, H, W)``: ``(B,)``, higher is more anomalous.

        Args:
            images: Images, scaled as in ``fit``. With a heat map they may be larger than those learned from.
            roi: Region of interest, bool ``(B, 1, H, W)`` or ``(1, 1, H, W)``: pixels outside count for nothing.

        Raises:
            RuntimeError: If the detector was not fitted.
            TypeError: If the images are not floating point, or of another type than the detector, or the region is not
                bool.
            ValueError: If they are not ``(B, C, H, W)`` or of an unusual scale, or the region has another size, leaves
                nothing of an image, or the detector has no heat map.
        """
        return self.judge(images, roi)[0]

    def heatmap(self, images: Tensor, roi: Tensor | None = None) -> Tensor:
        """Score every pixel of images ``(B, C, H, W)``: ``(B, 1, H, W)``, higher is more anomalous.

        Args:
            images: Images, scaled as in ``fit``. Those larger than the ones learned from are looked at in tiles.
            roi: Region of interest, bool ``(B, 1, H, W)`` or ``(1, 1, H, W)``: outside is the map's least value.

        Raises:
            RuntimeError: If the detector was not fitted.
            TypeError: If the images are not floating point, or the region is not bool.
            ValueError: If they are not ``(B, C, H, W)``, smaller than the images learned from, or of an unusual scale;
                if the region has another size; or if the detector has no heat map.
        """
        _, heat = self.judge(images, roi)
        if heat is None:
            raise ValueError(f"{type(self).__name__} has no heat map here; see its has_heatmap")
        return heat

    def judge(self, images: Tensor, roi: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        """Score images ``(B, C, H, W)`` and, if there is a heat map, their pixels, in one pass: see :meth:`score`.

        Args:
            images: Images, scaled as in ``fit``.
            roi: Region of interest, bool ``(B, 1, H, W)`` or ``(1, 1, H, W)``.

        Returns:
            The scores ``(B,)``, and the heat map ``(B, 1, H, W)`` or None.
        """
        with self._ready(images) as batch:
            if self.has_heatmap:
                return self._pooled(self._map(batch), self._region(roi, batch))
            if roi is not None:
                raise ValueError(f"{type(self).__name__} scores images as a whole; a region needs a heat map")
            self._warn_of_size(batch)
            return self._score(batch), None

    def calibrate(self, normal_images: Tensor | Iterable[Any], false_positive_rate: float = 0.01) -> Self:
        """Set the threshold so that of further normal images no more than a given share will be called anomalous.

        The threshold is the score that a new image of the same kind exceeds with that probability at most, on average
        over the images given here (split conformal prediction). They must be none of those learned from.

        Args:
            normal_images: Images ``(N, C, H, W)``, or a loader of batches.
            false_positive_rate: Share of normal images that may be called anomalous, in (0, 1).

        Returns:
            The detector itself.

        Raises:
            ValueError: If the rate is out of bounds, or there are too few images for it: ``1 / rate − 1`` at least.

        Source: Vovk et al., Algorithmic Learning in a Random World, 2005; for anomalies Bates et al., 2023.
        """
        if not 0 < false_positive_rate < 1:
            raise ValueError(f"false_positive_rate must be a share in (0, 1), got {false_positive_rate}")
        batches: Iterable[Any] = torch.split(normal_images, 32) if isinstance(normal_images, Tensor) else normal_images
        scores = torch.cat([self.score(images) for images in read(batches)]).double()
        rank = math.ceil((len(scores) + 1) * (1 - false_positive_rate) - 1e-9)
        if rank > len(scores):
            needed = math.ceil(1 / false_positive_rate - 1 - 1e-9)
            raise ValueError(
                f"a false positive rate of {false_positive_rate} needs {needed} normal images at least, got "
                f"{len(scores)}; from these a rate of {1 / (len(scores) + 1):.3g} can be told"
            )
        self.threshold.copy_(scores.sort().values[rank - 1])
        return self

    def decide(self, images: Tensor, roi: Tensor | None = None) -> Tensor:
        """Tell whether images are anomalous, bool ``(B,)``: whether they score above the threshold.

        Raises:
            RuntimeError: If no threshold was set; see :meth:`calibrate`.
        """
        if self.threshold.isinf():
            raise RuntimeError(
                "there is no threshold yet; call calibrate(normal_images), or detector.threshold.fill_(value)"
            )
        return self.score(images, roi).double() > self.threshold

    def save(self, path: str | Path) -> None:
        """Write the detector, so that ``path`` never holds half of it; :func:`load` builds it again.

        Raises:
            RuntimeError: If it was not fitted.
        """
        self._check_fitted()
        state = {"detector": json.dumps(recipe(self)), "state": self.state_dict()}
        save_checkpoint(state, as_path(path))

    def scorer(self) -> "Scorer":
        """Return the scoring alone, without checks, tiles and files, for ``torch.export`` and ONNX."""
        self._check_fitted()
        return Scorer(self)

    def forward(self, images: Tensor) -> Tensor:
        """Score images; see :meth:`score`."""
        return self.score(images)

    @property
    def device(self) -> torch.device:
        """Where the detector is."""
        return self.fitted.device

    def get_extra_state(self) -> Tensor:
        """Return the settings that the state belongs to, as bytes."""
        return as_tensor(recipe(self))

    def set_extra_state(self, state: Tensor) -> None:
        """Do nothing: the settings were compared before anything was loaded."""

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any, **kwargs: Any) -> None:
        if prefix + _EXTRA_STATE_KEY_SUFFIX in state_dict:
            others = differences(from_tensor(state_dict[prefix + _EXTRA_STATE_KEY_SUFFIX]), recipe(self))
            if others:
                raise ValueError(
                    f"this state is of a {type(self).__name__} that was built in another way: {'; '.join(others)}"
                )
        self._size_on_host = None
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)

    def _pooled(self, maps: Tensor, region: Tensor | None) -> tuple[Tensor, Tensor]:
        """Scores, and the maps that they are made of: outside a region of interest they have their least value."""
        if region is None:
            return self._pool(maps, None), maps
        within = torch.where(region, maps, -math.inf)
        return self._pool(within, region), torch.where(region, maps, maps.amin(dim=(1, 2, 3), keepdim=True))

    def _map(self, images: Tensor) -> Tensor:
        """The heat map of images of any size."""
        tile = self._tile
        if tile is None or tile == tuple(images.shape[-2:]):
            return self._heatmap(images)
        if any(length < side for length, side in zip(images.shape[-2:], tile, strict=True)):
            raise ValueError(
                f"images of {images.shape[-2]}x{images.shape[-1]} px are smaller than the {tile[0]}x{tile[1]} px that "
                "this detector has learned from; scale them as those were"
            )
        return in_tiles(self._heatmap, images, tile)

    @property
    def _tile(self) -> tuple[int, int] | None:
        """Size of the images that ``_heatmap`` takes; ``None`` if it takes any."""
        return self._learned_size

    @property
    def _learned_size(self) -> tuple[int, int]:
        """Height and width of the images that were learned from."""
        height, width = self._size_on_host or self.size.tolist()
        return height, width

    def _heatmap(self, images: Tensor) -> Tensor:
        """The heat map ``(B, 1, H, W)`` of images of the size of a tile."""
        raise NotImplementedError

    def _pool(self, maps: Tensor, region: Tensor | None) -> Tensor:
        """Scores ``(B,)`` of images from their maps, which are minus infinity outside of a region."""
        return maps.amax(dim=(1, 2, 3))

    def _own_region(self, images: Tensor) -> Tensor | None:
        """The region that the detector itself looks at, bool ``(1, 1, H, W)``, if it has one for such images."""
        return None

    def _region(self, roi: Tensor | None, images: Tensor) -> Tensor | None:
        if roi is None:
            return self._own_region(images)
        if roi.dtype is not torch.bool:
            raise TypeError(f"roi must be bool, got {roi.dtype}; for a mask of numbers: mask > 0")
        if roi.ndim != 4 or len(roi) not in (1, len(images)) or roi.shape[1:] != (1, *images.shape[-2:]):
            wanted = f"({len(images)}, 1, {images.shape[-2]}, {images.shape[-1]})"
            raise ValueError(f"roi must be {wanted}, or one for all, got {tuple(roi.shape)}")
        if not roi.flatten(1).any(dim=1).all():
            raise ValueError("roi leaves nothing of an image to look at")
        return roi.to(images.device)

    def _warn_of_size(self, images: Tensor) -> None:
        learned, given = self._learned_size, tuple(images.shape[-2:])
        if learned != given and any(learned):
            warnings.warn(
                f"this detector has learned from images of {learned[0]}x{learned[1]} px, these are of "
                f"{given[0]}x{given[1]} px, and it looks at them as a whole, so that scores are not comparable; scale "
                "them alike",
                stacklevel=4,
            )

    def _check_fitted(self) -> None:
        if self._size_on_host is not None:
            return
        if not self.fitted:
            raise RuntimeError(f"this {type(self).__name__} was not fitted; call fit(loader), or load its state")
        self._size_on_host = self._learned_size

    @contextmanager
    def _ready(self, images: Tensor) -> Iterator[Tensor]:
        """In eval mode, without gradient, and with the images on the detector's device; modes are restored."""
        self._check_fitted()
        with evaluating(self), torch.no_grad():
            yield self._check_type(check_images(images)).to(self.device)

    def _size_of_some(self, loader: Iterable[Any]) -> Tensor:
        """Height and width of the images; an error if nothing is in them."""
        with seeded(0, -1, torch.device("cpu")):
            for images in read(loader):
                low, high = torch.aminmax(self._check_type(images).flatten(1), dim=1)
                if (low < high).any():
                    return torch.tensor(images.shape[-2:])
        raise ValueError(
            "all images are one flat colour, so there is nothing to learn; are they read as they should be?"
        )

    def _check_type(self, images: Tensor) -> Tensor:
        """Return images of the type of the weights; others are errors, unless autocast sees to it."""
        weights = next((weight for weight in self.parameters() if weight.is_floating_point()), None)
        if weights is not None and weights.dtype != images.dtype and not torch.is_autocast_enabled(self.device.type):
            raise TypeError(f"images are {images.dtype} and the detector {weights.dtype}; images.to({weights.dtype})")
        return images


class Scorer(nn.Module):
    """Images ``(B, C, H, W)`` of the size learned from, to scores ``(B,)`` and, where there is one, the heat map.

    It computes and checks nothing, so that it can be exported; images must be as the detector takes them.

    Args:
        detector: A detector that was fitted.
    """

    def __init__(self, detector: Detector) -> None:
        super().__init__()
        self.detector = copy.deepcopy(detector).eval()
        self.detector._size_on_host = detector._learned_size
        self.eval()

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Scores, and the map."""
        if not self.detector.has_heatmap:
            return (self.detector._score(images),)
        return self.detector._pooled(self.detector._heatmap(images), self.detector._own_region(images))
