import pytest
import torch
from torch.utils.data import DataLoader, Dataset, TensorDataset, WeightedRandomSampler

from nda_augment.anomaly._loading import LEAST_HELD_OUT, check_images, fingerprint, hold_out, read


def numbered(count: int) -> torch.Tensor:
    """Image ``n`` has the value ``n / count`` in one corner."""
    images = torch.zeros(count, 1, 4, 4)
    images[:, 0, 0, 0] = torch.arange(count) / count
    return images


def names(images: torch.Tensor, count: int) -> list[int]:
    return sorted((images[:, 0, 0, 0] * count).round().long().tolist())


@pytest.mark.parametrize("shuffle", [True, False])
def test_a_share_of_a_dataset_is_never_learned_from(shuffle) -> None:
    loader = DataLoader(TensorDataset(numbered(100), torch.arange(100)), 16, shuffle=shuffle)
    split = hold_out(loader, 0.2, seed=3)
    learned = names(torch.cat(list(read(split.training))), 100)
    assert split.held_out is not None
    assert len(split.held_out) == 20
    assert sorted(learned + names(split.held_out, 100)) == list(range(100))
    again = hold_out(loader, 0.2, seed=3).held_out
    assert torch.equal(again, split.held_out)
    assert not torch.equal(hold_out(loader, 0.2, seed=4).held_out, split.held_out)


def test_of_a_list_whole_batches_are_held_out() -> None:
    batches = numbered(80).split(8)
    split = hold_out(batches, 0.2, seed=0)
    assert names(split.held_out, 80) == list(range(64, 80))
    assert len(split.training) == 8


@pytest.mark.parametrize(
    "loader",
    [
        DataLoader(TensorDataset(numbered(70)), 16),  # a tenth is 7 images
        DataLoader(TensorDataset(numbered(100)), 95, drop_last=True),  # what is left fills no batch
        DataLoader(TensorDataset(numbered(100)), 10, sampler=WeightedRandomSampler([1.0] * 100, 100)),
        numbered(100).split(50),
        (batch for batch in numbered(100).split(10)),
    ],
    ids=["few", "last batch", "sampler", "two batches", "unknown"],
)
def test_otherwise_all_images_are_learned_from(loader) -> None:
    split = hold_out(loader, 0.1, seed=0)
    assert split.training is loader
    assert split.held_out is None


def test_the_least_number_is_enough() -> None:
    assert len(hold_out(DataLoader(TensorDataset(numbered(80)), 16), 0.1, 0).held_out) == LEAST_HELD_OUT


def test_a_fingerprint_tells_images_and_not_their_order_of_drawing() -> None:
    loader = DataLoader(TensorDataset(numbered(40)), 16, shuffle=True)
    first = fingerprint(loader)
    torch.manual_seed(5)
    assert first is not None
    assert fingerprint(loader) == first
    assert fingerprint(DataLoader(TensorDataset(numbered(40) + 0.1), 16, shuffle=True)) != first


def test_images_that_are_drawn_beyond_control_have_none() -> None:
    source = torch.Generator()

    class Noise(Dataset):
        def __len__(self) -> int:
            return 8

        def __getitem__(self, index: int) -> torch.Tensor:
            return torch.rand(1, 4, 4, generator=source)

    assert fingerprint(DataLoader(Noise(), 4)) is None


def test_images_of_several_sizes_are_errors() -> None:
    with pytest.raises(ValueError, match=r"one size.*\(1, 4, 4\) and \(1, 4, 5\); resize or crop"):
        list(read([torch.zeros(2, 1, 4, 4), torch.zeros(2, 1, 4, 5)]))


@pytest.mark.parametrize(
    ("images", "error", "message"),
    [
        (torch.full((1, 1, 2, 2), 200.0), ValueError, "from 200 to 200; scale them first: images / 255"),
        (torch.full((1, 1, 2, 2), float("nan")), ValueError, "must be finite and scaled"),
        (torch.zeros(1, 2, 2, 1).numpy(), TypeError, r"got ndarray; of an array .*movedim\(-1, 1\)"),
    ],
)
def test_images_of_no_usual_scale_are_errors(images, error, message) -> None:
    with pytest.raises(error, match=message):
        check_images(images)
