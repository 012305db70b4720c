import pytest
import torch

from nda_augment import functional


@pytest.mark.parametrize("num_classes", [2, 3, 10])
def test_every_offset_but_none_gives_another_class(num_classes: int) -> None:
    labels = torch.arange(num_classes)
    for offset in range(1, num_classes):
        others = functional.other_class(labels, torch.full_like(labels, offset), num_classes)
        assert torch.equal(others.sort().values, labels)
        assert not (others == labels).any()
    assert torch.equal(functional.other_class(labels, torch.zeros_like(labels), num_classes), labels)


def test_offsets_are_one_per_label() -> None:
    with pytest.raises(ValueError, match=r"offsets must have shape \(3,\)"):
        functional.other_class(torch.arange(3), torch.ones(1, dtype=torch.long), 3)


@pytest.mark.parametrize("count", [1, 2, 5, 9])
def test_other_labels_are_the_farthest_ones(count: int) -> None:
    known = torch.rand(12, generator=torch.Generator().manual_seed(0), dtype=torch.float64).sort().values
    for label in torch.linspace(-0.2, 1.2, 29, dtype=torch.float64):
        farthest = set((known - label).abs().topk(count).indices.tolist())
        shares = (torch.arange(count) + 0.5) / count
        drawn = functional.other_label(label.expand(count), shares, known, count)
        assert drawn.tolist() == [known[place].item() for place in sorted(farthest)]


def test_a_share_of_one_is_the_last_and_shapes_are_checked() -> None:
    known = torch.tensor([0.0, 1.0, 2.0])
    assert functional.other_label(torch.tensor([0.0]), torch.tensor([1.0]), known, 2).item() == 2.0
    with pytest.raises(ValueError, match="shares"):
        functional.other_label(torch.zeros(3), torch.zeros(2), known, 2)
