"""Digits on textures: what negatives keep, and that training is the same but for them."""

from dataclasses import replace

import pytest
import torch
from torch.testing import assert_close

import nda_augment as nda
from examples.theory import shortcut
from examples.theory.shortcut import ARMS, Arm, Images


@pytest.fixture(scope="module")
def images() -> Images:
    return Images(0)


def test_a_swapped_view_is_the_same_texture_under_another_digit(images: Images) -> None:
    chosen = torch.arange(8)
    own, swapped = (images.view(chosen, torch.Generator().manual_seed(0), swapped=swapped) for swapped in (False, True))
    bare = replace_digits(images, chosen)
    assert not torch.equal(own, swapped)
    assert_close(swapped, bare.view(chosen, torch.Generator().manual_seed(0)))


def replace_digits(images: Images, chosen: torch.Tensor) -> Images:
    """The same images, each with the digit of the one before it."""
    other = Images(0)
    other.digits[chosen] = images.digits[chosen.roll(1)]
    return other


def test_labels_are_what_an_image_is_made_of(images: Images) -> None:
    assert images.labels["digit"].unique().tolist() == list(range(10))
    assert images.labels["texture"].unique().tolist() == list(range(shortcut.TEXTURES))
    assert images.textures.shape == images.digits.shape == (1797, 1, 16, 16)


def test_a_weight_is_that_many_copies() -> None:
    z0, z1, z = torch.randn(3, 5, 8, generator=torch.Generator().manual_seed(0))
    weighed = nda.losses.nt_xent(z0, z1, negatives=z, negative_weight=16)
    assert_close(weighed, nda.losses.nt_xent(z0, z1, negatives=z.unsqueeze(1).repeat(1, 16, 1)))


def test_runs_repeat_and_differ_in_the_negatives_only() -> None:
    plain = shortcut.run(Arm(), 1, steps=2)
    assert plain == shortcut.run(Arm(), 1, steps=2)
    weightless = shortcut.run(Arm("jigsaw(grid=4x4)", weight=1e-30), 1, steps=1)
    assert weightless.keys() == plain.keys() | {"similarity"}
    assert 0.0 <= plain["digit"] <= 1.0


def test_every_arm_has_its_negatives(images: Images) -> None:
    chosen, view = torch.arange(6), torch.rand(6, 1, 16, 16)
    for arm in ARMS.values():
        made = shortcut._negatives(replace(arm), images)(chosen, view, torch.Generator().manual_seed(0))
        assert len(made) == (0 if arm.policy is None else arm.count)
        assert all(one.shape == view.shape and not torch.equal(one, view) for one in made)


def test_the_table_has_differences_seed_by_seed() -> None:
    one = {"digit": 0.5, "texture": 0.9}
    results = {"plain": [one, one], "swap": [one | {"digit": 0.6, "similarity": 0.1}] * 2}
    shown = shortcut.table(results)
    assert [list(column.cells) for column in shown.columns[1:3]] == [
        ["50.0 ± 0.0", "60.0 ± 0.0"],
        ["0.0 ± 0.0", "10.0 ± 0.0"],
    ]
