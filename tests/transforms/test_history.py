import copy
import io
import warnings

import pytest
import torch
from torch import nn

from nda_augment import GeneratorHistory


class Stamp(nn.Module):
    """A generator whose images show the number of its step, and its batch norm's buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.number = nn.Parameter(torch.zeros(()))
        self.norm = nn.BatchNorm1d(2)

    def forward(self, latents: torch.Tensor, labels: torch.Tensor | None = None) -> torch.Tensor:
        assert not self.training
        shown = self.number + (0 if labels is None else 1000 * labels)
        return (shown * torch.ones(len(latents))).view(-1, 1, 1, 1).expand(-1, 3, 2, 2)


def trained(steps: int, every: int = 2, capacity: int = 3) -> tuple[Stamp, GeneratorHistory]:
    generator = Stamp()
    history = GeneratorHistory(generator, every, capacity)
    step_on(generator, history, steps)
    return generator, history


def step_on(generator: Stamp, history: GeneratorHistory, steps: int) -> None:
    for _ in range(steps):
        with torch.no_grad():
            generator.number += 1
        history.update()


def shown(images: torch.Tensor) -> list[int]:
    return [int(image[0, 0, 0]) for image in images]


def test_keeps_the_last_snapshots_of_every_so_many_updates():
    generator, history = trained(11)
    assert len(history) == 3
    assert set(shown(history(torch.zeros(200, 2)))) == {6, 8, 10}
    assert generator.training


def test_each_image_comes_from_the_snapshot_that_was_drawn_for_it():
    _, history = trained(11)
    drawn = history.draw(40, generator=torch.Generator().manual_seed(0), device=None)
    assert set(drawn.tolist()) == {6, 8, 10}
    labels = torch.arange(40.0)
    assert shown(history(torch.zeros(40, 2), labels, snapshots=drawn)) == (drawn + 1000 * labels.long()).tolist()


def test_snapshots_are_drawn_evenly():
    _, history = trained(11)
    counts = history.draw(3000, generator=torch.Generator().manual_seed(0), device=None).bincount()[[6, 8, 10]]
    assert (counts - 1000).abs().max() < 120


def test_a_snapshot_does_not_change_with_the_generator():
    generator, history = trained(2)
    before = copy.deepcopy(history.state_dict()["snapshots"][0])
    with torch.no_grad():
        generator.number += 5
        generator.norm.running_mean += 5
    after = history.state_dict()["snapshots"][0]
    assert before.keys() == after.keys() == generator.state_dict().keys()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_a_history_of_a_checkpoint_goes_on_as_if_it_had_not_stopped():
    generator, history = trained(11)
    file = io.BytesIO()
    torch.save(history.state_dict(), file)
    file.seek(0)
    other_generator = copy.deepcopy(generator)
    other = GeneratorHistory(other_generator, 2, 3)
    other.load_state_dict(torch.load(file, weights_only=True))
    for each, of in ((generator, history), (other_generator, other)):
        step_on(each, of, 3)
    seeds = [torch.Generator().manual_seed(1) for _ in range(2)]
    drawn = [each.draw(50, generator=seed, device=None) for each, seed in zip((history, other), seeds, strict=True)]
    assert torch.equal(*drawn)
    assert set(drawn[0].tolist()) == {10, 12, 14}
    latents = torch.zeros(50, 2)
    assert torch.equal(history(latents, snapshots=drawn[0]), other(latents, snapshots=drawn[1]))


@pytest.mark.parametrize(
    ("state", "message"),
    [({"updates": 3}, "has the keys updates and snapshots"), ({"updates": 9, "snapshots": []}, "of another setting")],
)
def test_a_state_that_does_not_fit_is_refused(state, message):
    with pytest.raises(ValueError, match=message):
        GeneratorHistory(Stamp(), 2, 3).load_state_dict(state)


def test_before_the_first_snapshot_it_says_so_once_and_gives_nothing():
    _, history = trained(1)
    with pytest.warns(UserWarning, match=r"no snapshot before update 2 \(now 1\)"):
        assert not history.ready()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert not history.ready()
    for call in (lambda: history(torch.zeros(2, 2)), lambda: history.draw(2, generator=None, device=None)):
        with pytest.raises(RuntimeError, match=r"ask history.ready\(\) first"):
            call()
    history.update()
    assert history.ready()


@pytest.mark.parametrize("number", [4, 7, 12])
def test_a_snapshot_that_is_not_kept_is_named(number):
    _, history = trained(11)
    with pytest.raises(ValueError, match=f"no snapshot of update {number}; kept are .* from 6 to 10"):
        history(torch.zeros(1, 2), snapshots=torch.tensor([number]))


@pytest.mark.parametrize("arguments", [{"every": 0}, {"capacity": 0}, {"every": 1.5}])
def test_numbers_out_of_bounds_are_refused(arguments):
    with pytest.raises(ValueError, match=f"{next(iter(arguments))} must be a whole number from 1 on"):
        GeneratorHistory(Stamp(), **arguments)
