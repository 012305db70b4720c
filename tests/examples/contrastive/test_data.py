from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision

from examples.contrastive import data
from examples.contrastive.config import Data
from examples.contrastive.data import Epoch
from examples.gan.data import Images


def write(path: Path, count: int, channels: int = 3, labels: bool = True) -> str:
    shape = (count, 8, 8, channels)
    images = np.random.default_rng(count).integers(0, 256, shape, dtype=np.uint8)
    np.savez(path, images=images, **({"labels": np.arange(count) % 3} if labels else {}))
    return str(path)


def test_digits_are_rgb_and_split() -> None:
    training, test = data.load(Data())
    assert len(training) + len(test) == 1797
    assert training.images.shape[1:] == (3, 16, 16)
    assert torch.equal(training.images[:, 0], training.images[:, 2])


def test_test_images_of_their_own_leave_all_others_to_learn_from(tmp_path: Path) -> None:
    paths = {"path": write(tmp_path / "a.npz", 12), "test_path": write(tmp_path / "b.npz", 5)}
    training, test = data.load(Data(name="npz", img_size=8, **paths))
    assert (len(training), len(test)) == (12, 5)


def test_a_limit_keeps_some_training_images_and_all_test_images(tmp_path: Path) -> None:
    settings = Data(name="npz", img_size=8, path=write(tmp_path / "a.npz", 12), holdout=0.25, limit=4)
    training, test = data.load(settings)
    assert (len(training), len(test)) == (4, 3)


def test_images_without_labels_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="evaluation needs labels"):
        data.load(Data(name="npz", img_size=8, path=write(tmp_path / "a.npz", 12, labels=False)))


def test_cifar10_has_its_official_test_images(monkeypatch: pytest.MonkeyPatch) -> None:
    class CIFAR10:
        def __init__(self, root: str, train: bool, download: bool) -> None:
            count = 6 if train else 2
            self.data = np.full((count, 32, 32, 3), count, dtype=np.uint8)
            self.targets = list(range(count))

    monkeypatch.setattr(torchvision.datasets, "CIFAR10", CIFAR10)
    training, test = data.load(Data(name="cifar10", path="somewhere", img_size=32))
    assert (training.images.shape, test.images.shape) == ((6, 3, 32, 32), (2, 3, 32, 32))
    assert test.labels is not None
    assert test.labels.tolist() == [0, 1]
    with pytest.raises(ValueError, match="32 pixels"):
        data.load(Data(name="cifar10", path="somewhere", img_size=16))


def some_images(count: int) -> Images:
    images = torch.arange(count, dtype=torch.uint8).view(-1, 1, 1, 1).expand(-1, 3, 2, 2)
    return Images(images, torch.arange(count))


def test_an_epoch_shows_each_image_once_and_the_next_one_in_another_order() -> None:
    orders = []
    for epoch in range(2):
        batches = list(Epoch(some_images(12), 4, seed=0, epoch=epoch))
        assert [number for _, _, number in batches] == [3 * epoch, 3 * epoch + 1, 3 * epoch + 2]
        orders.append(torch.cat([labels for _, labels, _ in batches]))
        assert torch.equal(torch.cat([images[:, 0, 0, 0] for images, _, _ in batches]).long(), orders[-1])
        assert orders[-1].sort().values.tolist() == list(range(12))
    assert not torch.equal(*orders)


def test_processes_share_the_batch_of_one() -> None:
    whole = Epoch(some_images(12), 4, seed=1, epoch=0)
    parts = [Epoch(some_images(12), 4, 1, 0, rank, processes=2) for rank in range(2)]
    for place in range(len(whole)):
        joined = torch.cat([part[place][1] for part in parts])
        assert torch.equal(joined, whole[place][1])


def test_too_few_images_are_refused() -> None:
    with pytest.raises(ValueError, match="3 training images do not fill a batch of 4"):
        Epoch(some_images(3), 4, 0, 0)
