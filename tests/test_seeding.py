"""Nothing is seeded but what is restored; torch's own way would seed every device."""

from pathlib import Path

import pytest
import torch

import nda_augment
from nda_augment._seeding import seeded


@pytest.fixture
def of_devices(monkeypatch: pytest.MonkeyPatch) -> list[torch.Generator]:
    """The generators of two devices, or what stands for them."""
    generators = [torch.Generator().manual_seed(number) for number in (10, 11)]
    monkeypatch.setattr(torch.cuda, "init", lambda: None)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
    monkeypatch.setattr(torch.cuda, "default_generators", generators)
    monkeypatch.setattr(torch.cuda, "manual_seed_all", lambda seed: [each.manual_seed(seed) for each in generators])
    return generators


def draws(generator: torch.Generator | None = None) -> list[float]:
    return torch.rand(3, generator=generator).tolist()


@pytest.mark.parametrize("device", [None, "cpu", "meta"])
def test_draws_are_those_of_the_seed_and_other_devices_are_left_alone(of_devices, device: str | None) -> None:
    before = [torch.get_rng_state(), *(each.get_state() for each in of_devices)]
    with seeded(5, None if device is None else torch.device(device)):
        assert draws() == draws(torch.Generator().manual_seed(5))
        assert all(map(torch.equal, [each.get_state() for each in of_devices], before[1:]))
    assert all(map(torch.equal, [torch.get_rng_state(), *(each.get_state() for each in of_devices)], before))


@pytest.mark.parametrize(("device", "own"), [("cuda", 0), ("cuda:1", 1)])
def test_of_devices_the_one_in_use_is_seeded(of_devices, device: str, own: int) -> None:
    before = [torch.get_rng_state(), *(each.get_state() for each in of_devices)]
    with seeded(5, torch.device(device)):
        assert draws() == draws(of_devices[own]) == draws(torch.Generator().manual_seed(5))
        assert torch.equal(of_devices[1 - own].get_state(), before[2 - own])
    assert all(map(torch.equal, [torch.get_rng_state(), *(each.get_state() for each in of_devices)], before))


def test_an_error_restores_too() -> None:
    before = torch.get_rng_state()
    with pytest.raises(KeyError, match="within"), seeded(5):
        raise KeyError("within")
    assert torch.equal(torch.get_rng_state(), before)


def test_nobody_goes_another_way() -> None:
    """What forks generators and then seeds all leaves those of other devices seeded."""
    sources = Path(nda_augment.__file__).parent.rglob("*.py")
    assert [path.name for path in sources if "fork_rng" in path.read_text(encoding="utf-8")] == []
