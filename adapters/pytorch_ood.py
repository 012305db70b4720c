"""Negatives and detectors in pytorch-ood, where a label below zero means: from elsewhere."""

from collections.abc import Callable, Iterator
from typing import Any, Self

import torch
from torch import Tensor
from torch.utils.data import default_collate

from nda_augment.anomaly import Detector as CoreDetector
from nda_augment.anomaly._loading import check_loader, images_of
from nda_augment.transforms import NegativeTransform

from . import torchvision as torchvision_adapter
from ._optional import optional_import
from .torchvision import MapStyle, Pool

with optional_import("pytorch-ood"):
    from pytorch_ood import api

OUTLIER = -1
"""The label of negatives."""


class NegativeDataset(torchvision_adapter.NegativeDataset):
    """Labelled images and, after them, their negatives with the label -1.

    Items 0 to N-1 are those of the data set, items N to 2N-1 the negatives of their images, in the same order. Pair
    transforms borrow from the other images of the data set. To make negatives batch by batch, which is cheaper, use
    :class:`NegativeCollate`.

    Args:
        dataset: A map-style data set of ``(image, label)``; labels are 0 or more.
        transform: A negative of the core.
        pool: Images that pair transforms borrow from instead; see the torchvision adapter.
        seed: Makes the negative of each item the same every time.

    Raises:
        TypeError: If the data set, the transform or the pool is of the wrong kind, or an item is not a pair.
        ValueError: If a pool comes with a transform that borrows nothing, or the seed is negative.

    Example:
        >>> import nda_augment as nda
        >>> digits = NegativeDataset([(torch.rand(1, 8, 8), label) for label in range(5)], nda.Jigsaw(), seed=0)
        >>> len(digits), digits[3][1], digits[8][1]
        (10, 3, -1)
    """

    def __init__(
        self, dataset: MapStyle, transform: NegativeTransform, pool: Pool | None = None, seed: int | None = None
    ) -> None:
        super().__init__(dataset, transform, pool, seed)

    def __getitem__(self, index: int) -> tuple[Any, int]:
        """Return an image and its label, or a negative and -1."""
        if range(len(self))[index] >= len(self.dataset):
            return super().__getitem__(index)[0], OUTLIER
        item = self.dataset[range(len(self))[index]]
        if not isinstance(item, tuple | list) or len(item) != 2:
            raise TypeError(f"items of the data set must be pairs (image, label), got {type(item).__name__}")
        image, label = item
        return image, int(label)  # that of a TensorDataset is a tensor, which does not collate with the number -1


class NegativeCollate:
    """Collate a batch and append the negatives of its images, labelled -1: ``[images, labels]`` of twice the size.

    For ``DataLoader(collate_fn=...)`` and pytorch-ood's losses with outliers, such as ``OutlierExposureLoss``.

    Args:
        transform: A negative of the core.
        collate_fn: Makes ``[images, labels]`` of samples; torch's default one if not given.
        pool: Images that pair transforms borrow from instead of the batch; see the torchvision adapter.

    Raises:
        TypeError: If the transform is not one of this package's, or the batch has no tensors of images and labels.
        ValueError: If the batch is not ``[images, labels]``; and what the transform raises, such as for a batch of
            one image without a pool.

    Example:
        >>> import nda_augment as nda
        >>> from torch.utils.data import DataLoader
        >>> samples = [(torch.rand(3, 8, 8), label) for label in range(4)]
        >>> images, labels = next(iter(DataLoader(samples, 4, collate_fn=NegativeCollate(nda.Stitch()))))
        >>> tuple(images.shape), labels.tolist()
        ((8, 3, 8, 8), [0, 1, 2, 3, -1, -1, -1, -1])
    """

    def __init__(
        self,
        transform: NegativeTransform,
        collate_fn: Callable[[list[Any]], Any] = default_collate,
        *,
        pool: Pool | None = None,
    ) -> None:
        self.with_negatives = torchvision_adapter.NegativeCollate(transform, collate_fn, pool=pool)

    def __call__(self, samples: list[Any]) -> list[Tensor]:
        """Collate the samples and append their negatives."""
        batch = self.with_negatives(samples)
        if not isinstance(batch, list) or len(batch) != 3 or not isinstance(batch[1], Tensor):
            raise ValueError("samples must be pairs (image, label), which collate_fn turns into [images, labels]")
        images, labels, negatives = batch
        return [torch.cat([images, negatives]), torch.cat([labels, torch.full_like(labels, OUTLIER)])]


class Detector(api.Detector):  # type: ignore[misc]  # pytorch-ood is checked where it is installed
    """A detector of this package as one of pytorch-ood's, for its metrics and benchmarks.

    Args:
        detector: Detector of ``nda_augment.anomaly``, fitted or not.

    Raises:
        TypeError: If it is none.

    Example:
        >>> from nda_augment.anomaly import DensityDetector, Encoder
        >>> encoder = Encoder(channels=1, width=4)
        >>> detector = Detector(DensityDetector(encoder, encoder.features))
        >>> loader = [(torch.rand(16, 1, 8, 8), torch.tensor([0, -1]).repeat(8)) for _ in range(2)]
        >>> detector.fit(loader)(torch.rand(3, 1, 8, 8)).shape
        torch.Size([3])
    """

    requires_fit = True

    def __init__(self, detector: CoreDetector) -> None:
        super().__init__()
        if not isinstance(detector, CoreDetector):
            raise TypeError(f"detector must be one of nda_augment.anomaly, got {type(detector).__name__}")
        self.detector = detector

    def fit(self, data_loader: Any) -> Self:
        """Learn from batches ``(images, labels)`` or of images alone; images with labels below 0 are left out."""
        check_loader(data_loader)
        self.detector.fit(_Known(data_loader))
        return self

    def predict(self, x: Tensor) -> Tensor:
        """Return scores ``(B,)`` of images ``(B, C, H, W)``; higher is more likely to be from elsewhere.

        Raises:
            RequiresFittingException: If the detector was not fitted.
        """
        if not self.detector.fitted:
            raise api.RequiresFittingException
        return self.detector.score(x)


class _Known:
    """The images of a loader that are not labelled as outliers; batches without any are passed over."""

    def __init__(self, loader: Any) -> None:
        self.loader = loader

    def __iter__(self) -> Iterator[Tensor]:
        for batch in self.loader:
            images = images_of(batch)
            if isinstance(batch, tuple | list) and len(batch) > 1:
                images = images[batch[1] >= 0]
            if len(images):
                yield images
