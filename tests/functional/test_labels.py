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
