import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode

from nda_augment import _constants
from nda_augment._constants import kept

CPU = torch.device("cpu")


def ones(length: int, device: torch.device) -> torch.Tensor:
    return torch.ones(length, device=device)


def test_a_tensor_is_made_once() -> None:
    assert kept(ones, 3, device=CPU) is kept(ones, 3, device=CPU)
    assert kept(ones, 4, device=CPU).shape == (4,)


def test_a_large_one_is_made_every_time() -> None:
    most = _constants._LARGEST // 4
    assert kept(ones, most, device=CPU) is kept(ones, most, device=CPU)
    assert kept(ones, most + 1, device=CPU) is not kept(ones, most + 1, device=CPU)


def test_all_of_them_are_not_large() -> None:
    for less in range(2 * _constants._BYTES // _constants._LARGEST):
        kept(ones, _constants._LARGEST // 4 - less, device=CPU)
        assert sum(each.nbytes for each in _constants._KEPT.values()) <= _constants._BYTES


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning", "ignore::torch.jit.TracerWarning")
def test_fakes_and_traces_have_their_own() -> None:
    real = kept(ones, 5, device=CPU)
    with FakeTensorMode():
        assert type(kept(ones, 5, device=CPU)) is FakeTensor
    before = len(_constants._KEPT)
    traced = torch.jit.trace(lambda x: x + kept(ones, x.shape[0], device=x.device), torch.zeros(5))
    assert torch.equal(traced(torch.zeros(5)), real)
    assert len(_constants._KEPT) == before
    assert kept(ones, 5, device=CPU) is real
