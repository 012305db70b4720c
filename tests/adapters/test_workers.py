"""Both libraries in the workers of a DataLoader, over a folder of JPEGs."""

from itertools import pairwise
from pathlib import Path
from typing import Any

import albumentations as A
import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import ConcatDataset, DataLoader, Dataset
from torchvision.datasets import ImageFolder
from torchvision.transforms import v2

import nda_augment as nda
from nda_augment.adapters import albumentations as adapted
from nda_augment.adapters.torchvision import NegativeCollate, NegativeDataset, NegativeTransform
from tests.adapters.pictures import distinct

# From Python 3.12 on, forking beside torch's threads warns; these workers use none of them.
pytestmark = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")

COPIES = 16


class Albumentations:
    """A pipeline of albumentations as ImageFolder takes it."""

    def __init__(self, *transforms: Any, seed: int | None = None) -> None:
        self.pipeline = A.Compose([*transforms], seed=seed)

    def __call__(self, image: Image.Image) -> Tensor:
        return torch.from_numpy(self.pipeline(image=np.array(image))["image"])


class Reseeding(Dataset[Tensor]):
    """A data set that seeds its pipeline by the number of the item, for draws that do not depend on the workers."""

    def __init__(self, folder: Path) -> None:
        self.pictures = ImageFolder(folder)
        self.pipeline = A.Compose([adapted.Jigsaw(grid=4)])

    def __len__(self) -> int:
        return len(self.pictures)

    def __getitem__(self, index: int) -> Tensor:
        self.pipeline.set_random_seed(index)
        return torch.from_numpy(self.pipeline(image=np.array(self.pictures[index][0]))["image"])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Sixteen JPEGs of one picture: results differ as the draws do."""
    picture = v2.functional.to_pil_image(distinct(3, 32, 32, dtype=torch.uint8))
    for label in ("a", "b"):
        (tmp_path / label).mkdir()
        for number in range(COPIES // 2):
            picture.save(tmp_path / label / f"{number}.jpg")
    return tmp_path


def torchvision_folder(folder: Path) -> ImageFolder:
    return ImageFolder(folder, v2.Compose([NegativeTransform(nda.Jigsaw(grid=4)), v2.PILToTensor()]))


def albumentations_folder(folder: Path, *, seed: int | None = 0, p: float = 1.0) -> ImageFolder:
    return ImageFolder(folder, Albumentations(adapted.Jigsaw(grid=4, p=p), seed=seed))


def epoch(dataset: Dataset[Any], *, seed: int, start: str = "fork", batch_size: int = 4) -> list[Tensor]:
    """Return the images of one epoch of two workers."""
    torch.manual_seed(seed)
    loader = DataLoader(dataset, batch_size, num_workers=2, multiprocessing_context=start)
    return [image for images, _ in loader for image in images]


def number_of_different(images: list[Tensor]) -> int:
    return len({tuple(image.flatten().tolist()) for image in images})


@pytest.mark.parametrize("make", [torchvision_folder, albumentations_folder])
def test_workers_draw_differently_and_a_seed_repeats_the_epoch(make: Any, folder: Path) -> None:
    first = epoch(make(folder), seed=0)
    assert number_of_different(first) == COPIES
    assert all(map(torch.equal, first, epoch(make(folder), seed=0)))
    assert not any(map(torch.equal, first, epoch(make(folder), seed=1)))


@pytest.mark.parametrize("make", [torchvision_folder, albumentations_folder])
def test_the_next_epoch_draws_anew(make: Any, folder: Path) -> None:
    for persistent in (False, True):
        loader = DataLoader(
            make(folder), 4, num_workers=2, multiprocessing_context="fork", persistent_workers=persistent
        )
        epochs = [[image for images, _ in loader for image in images] for _ in range(3)]
        assert not any(any(map(torch.equal, one, next_one)) for one, next_one in pairwise(epochs))


@pytest.mark.slow  # each spawned worker imports torch and both libraries anew
def test_spawned_workers_draw_as_forked_ones(folder: Path) -> None:
    both = ConcatDataset([torchvision_folder(folder), albumentations_folder(folder)])
    spawned = epoch(both, seed=0, start="spawn")
    assert number_of_different(spawned[:COPIES]) == number_of_different(spawned[COPIES:]) == COPIES
    assert all(map(torch.equal, spawned, epoch(both, seed=0)))


def test_the_seed_of_an_albumentations_pipeline_counts_in_workers(folder: Path) -> None:
    first, second = (epoch(albumentations_folder(folder, seed=seed), seed=0) for seed in (1, 2))
    assert not any(map(torch.equal, first, second))


def test_an_unseeded_albumentations_pipeline_differs_between_workers(folder: Path) -> None:
    assert number_of_different(epoch(albumentations_folder(folder, seed=None), seed=0)) == COPIES


def test_whether_albumentations_applies_differs_between_workers(folder: Path) -> None:
    images = epoch(albumentations_folder(folder, p=0.5), seed=0, batch_size=COPIES // 2)
    untouched = epoch(albumentations_folder(folder, p=0.0), seed=0)[0]
    applied = [not torch.equal(image, untouched) for image in images]
    # One batch went to each worker.
    assert applied[: COPIES // 2] != applied[COPIES // 2 :]


def test_a_pipeline_seeded_in_the_worker_is_left_alone(folder: Path) -> None:
    dataset = Reseeding(folder)
    loader = DataLoader(dataset, 4, num_workers=2, multiprocessing_context="fork")
    found = [image for images in loader for image in images]
    assert all(map(torch.equal, found, [dataset[index] for index in range(len(dataset))]))


class WithGenerator(Dataset[Tensor]):
    """A generator of the data set's own, in every worker a copy of it; or, with a seed, one per item."""

    def __init__(self, seed: int | None) -> None:
        self.seed, self.generator = seed, torch.Generator().manual_seed(0)

    def __len__(self) -> int:
        return COPIES

    def __getitem__(self, index: int) -> Tensor:
        own = self.generator if self.seed is None else torch.Generator().manual_seed(self.seed + index)
        return nda.Jigsaw(grid=4)(distinct(3, 8, 8), generator=own)


def test_a_generator_for_each_item_does_not_repeat_where_one_for_all_does() -> None:
    """What docs/adapters/torchvision.md says of generators in workers."""
    found = {}
    for seed in (None, 0):
        loader = DataLoader(WithGenerator(seed), 4, num_workers=2, multiprocessing_context="fork")
        found[seed] = number_of_different([image for images in loader for image in images])
    assert found == {None: COPIES // 2, 0: COPIES}


def test_a_seeded_negative_dataset_does_not_depend_on_workers(folder: Path) -> None:
    photos = ImageFolder(folder, transform=v2.Compose([v2.PILToTensor(), NegativeTransform(nda.Flip())]))
    dataset = NegativeDataset(photos, nda.Stitch(), seed=5)
    assert all(map(torch.equal, epoch(dataset, seed=0), [image for image, _ in dataset]))


def test_collating_workers_draw_differently(folder: Path) -> None:
    photos = ImageFolder(folder, transform=v2.PILToTensor())
    collate = NegativeCollate(nda.Jigsaw(grid=4))
    loader = DataLoader(photos, 4, num_workers=2, multiprocessing_context="fork", collate_fn=collate)
    assert number_of_different([image for _, _, negatives in loader for image in negatives]) == COPIES
