import pytest
import torch

from nda_augment.losses import GapWatch


def test_speaks_once_of_real_images_that_stay_below_negatives():
    watch = GapWatch(steps=3)
    for gap in (0.5, -1.0, 0.6):  # below once, but not on average
        watch.update(gap)
    watch.update(-0.5)
    watch.update(torch.tensor(0.1, requires_grad=True))
    with pytest.warns(UserWarning, match=r"for 3 steps .* been below .* by 0\.2 on average.*turn the sign"):
        watch.update(torch.tensor([-0.2]))
    for _ in range(9):
        watch.update(-1.0)


def test_a_gap_of_zero_is_none():
    watch = GapWatch(steps=1)
    watch.update(0.0)


def test_waits_for_the_device_once_in_so_many_steps(monkeypatch):
    reads = []
    to_float = torch.Tensor.__float__
    monkeypatch.setattr(torch.Tensor, "__float__", lambda tensor: (reads.append(1), to_float(tensor))[1])
    watch = GapWatch(steps=4)
    for _ in range(8):
        watch.update(torch.tensor(1.0))
    assert len(reads) == 2


@pytest.mark.parametrize("steps", [0, -1, 2.5])
def test_steps_are_counted(steps):
    with pytest.raises(ValueError, match=f"steps must be a whole number from 1 on, got {steps}"):
        GapWatch(steps)
