"""Labelled images to learn from and to test on, and the batches of an epoch."""

from dataclasses import replace

import torch
from torch import Tensor
from torch.utils.data import Dataset

from examples.contrastive.config import Data
from examples.gan import config as gan_config
from examples.gan import data as gan_data
from examples.gan.data import Images
from examples.gan.randomness import batch_indices


def load(settings: Data) -> tuple[Images, Images]:
    """Return the training and the test images, RGB and labelled.

    Raises:
        ValueError: If the images cannot be read or have no labels.
    """
    if settings.name == "cifar10":
        training, test = _cifar10(settings, train=True), _cifar10(settings, train=False)
    elif settings.test_path:
        training, test = _read(settings, settings.path, 0.0)[0], _read(settings, settings.test_path, 0.0)[0]
    else:
        training, test = _read(settings, settings.path, settings.holdout)
    training, test = _as_rgb(training), _as_rgb(test)
    return training[torch.arange(settings.limit)] if settings.limit else training, test


class Epoch(Dataset[tuple[Tensor, Tensor, int]]):
    """The batches of one epoch; an item is the share that one process has of a batch.

    An item depends on the seed and on the number of the batch in the run only, so a run that resumes sees the batches
    that it would have seen.

    Args:
        data: The images.
        batch_size: Of all processes together.
        seed: Of the run.
        epoch: Counted from 0.
        rank: The number of the process.
        processes: How many there are.
    """

    def __init__(self, data: Images, batch_size: int, seed: int, epoch: int, rank: int = 0, processes: int = 1) -> None:
        if len(data) < batch_size:
            raise ValueError(f"{len(data)} training images do not fill a batch of {batch_size}")
        self.data, self.batch_size, self.seed, self.epoch = data, batch_size, seed, epoch
        self.rank, self.processes = rank, processes

    def __len__(self) -> int:
        return len(self.data) // self.batch_size

    def __getitem__(self, place: int) -> tuple[Tensor, Tensor, int]:
        """Return uint8 images ``(b, 3, H, W)``, labels ``(b,)`` and the number of the batch in the run."""
        if not 0 <= place < len(self):
            raise IndexError(place)
        batch = self.epoch * len(self) + place
        indices = batch_indices(len(self.data), self.batch_size, self.seed, batch)
        own = self.data[indices.chunk(self.processes)[self.rank]]
        return own.images, labels_of(own), batch


def labels_of(data: Images) -> Tensor:
    """The labels of images that were checked to have some."""
    if data.labels is None:
        raise ValueError("evaluation needs labels: give each class of a folder a sub-folder, an .npz an array 'labels'")
    return data.labels


def _read(settings: Data, path: str, holdout: float) -> tuple[Images, Images]:
    return gan_data.load(gan_config.Data(name=settings.name, path=path, img_size=settings.img_size, holdout=holdout))


def _cifar10(settings: Data, train: bool) -> Images:
    """The official training or test images; torchvision downloads them to ``path`` if they are not there."""
    try:
        from torchvision.datasets import CIFAR10
    except (ImportError, RuntimeError, OSError) as error:
        raise ImportError('DATA.name=cifar10 needs torchvision: pip install "nda-augment[torchvision]"') from error
    if settings.img_size != 32:
        raise ValueError(f"CIFAR-10's images have 32 pixels a side, got DATA.img_size={settings.img_size}")
    cifar = CIFAR10(settings.path, train=train, download=True)
    return Images(torch.from_numpy(cifar.data).permute(0, 3, 1, 2), torch.tensor(cifar.targets))


def _as_rgb(data: Images) -> Images:
    labels_of(data)
    return replace(data, images=data.images.expand(-1, 3, -1, -1))
