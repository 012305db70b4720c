"""What all detectors share: ``fit``, ``score`` and, where there is one, ``heatmap``."""

from abc import abstractmethod
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Self

import torch
from torch import Tensor, nn

from nda_augment._networks import evaluating
from nda_augment.anomaly._training import check_images


class Detector(nn.Module):
    """Base of the detectors: learns from normal images, then scores any; a higher score is more anomalous.

    Scores of two detectors, or of two fits, have no common scale. Images are float ``(B, C, H, W)``, scaled as the
    networks expect them, the same in ``fit`` and in ``score``. The state, with all that a fit learns, is that of an
    ``nn.Module``: save ``detector.state_dict()``, and load it into a detector that was built alike.

    Attributes:
        has_heatmap: Whether ``heatmap`` says where in an image the anomaly is.
    """

    has_heatmap = False
    fitted: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("fitted", torch.tensor(False))

    @abstractmethod
    def fit(self, loader: Iterable[Any]) -> Self:
        """Learn from normal images.

        Args:
            loader: Yields batches of images, or tuples that start with them, or dictionaries and objects that have
                them as ``image``, such as anomalib's; anew each time it is iterated. What else is in a batch is not
                looked at.

        Returns:
            The detector itself, in eval mode.

        Raises:
            ImportError: If the detector is trained and Lightning is missing.
            ValueError: If the loader yields nothing.
            TypeError: If it yields something other than images of floating point.
        """

    @abstractmethod
    def _score(self, images: Tensor) -> Tensor:
        """Scores ``(B,)``, in eval mode and without gradient."""

    def _heatmap(self, images: Tensor) -> Tensor:
        raise ValueError(f"{type(self).__name__} has no heat map here; see its has_heatmap")

    def score(self, images: Tensor) -> Tensor:
        """Score images ``(B, C, H, W)``: ``(B,)``, higher is more anomalous.

        Raises:
            RuntimeError: If the detector was not fitted.
            TypeError: If the images are not floating point.
            ValueError: If they are not ``(B, C, H, W)``.
        """
        with self._ready(images) as batch:
            return self._score(batch)

    def heatmap(self, images: Tensor) -> Tensor:
        """Score every pixel of images ``(B, C, H, W)``: ``(B, 1, H, W)``, higher is more anomalous.

        Raises:
            RuntimeError: If the detector was not fitted.
            TypeError: If the images are not floating point.
            ValueError: If they are not ``(B, C, H, W)``, or the detector has no heat map.
        """
        with self._ready(images) as batch:
            return self._heatmap(batch)

    def forward(self, images: Tensor) -> Tensor:
        """Score images; see :meth:`score`."""
        return self.score(images)

    @property
    def device(self) -> torch.device:
        """Where the detector is."""
        return self.fitted.device

    @contextmanager
    def _ready(self, images: Tensor) -> Iterator[Tensor]:
        """In eval mode, without gradient, and with the images on the detector's device; modes are restored."""
        if not self.fitted:
            raise RuntimeError(f"this {type(self).__name__} was not fitted; call fit(loader), or load its state")
        with evaluating(self), torch.no_grad():
            yield check_images(images).to(self.device)
