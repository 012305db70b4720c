"""Negatives in a row: each place applies the member it drew, and the row never leads back to its source."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

import nda_augment as nda
from nda_augment import Flip, Mixture, Random, from_policy
from nda_augment.schedules import Schedule
from nda_augment.transforms import NegativeTransform
from tests.cases import distinct, generator
from tests.properties import assert_same_pixels

# Three that undo themselves, and each other: any even number of flips and half turns may lead back.
UNDOING = [lambda: Flip("horizontal"), lambda: Flip("vertical"), lambda: nda.Turn(2)]


def members() -> list[NegativeTransform]:
    return [*(make() for make in UNDOING), nda.Stitch(), nda.Mixup()]


def written_out(random: Random, images: Tensor) -> list[Tensor]:
    """Each image's row, member by member on the whole batch; partners are the images as they came."""
    params, results = random._params, []
    for number, image in enumerate(images):
        now, row = images, []
        for place in range(random.n):
            member = int(params[f"{place}.choice"][number])
            prefix = f"{place}.{member}."
            own = {name.removeprefix(prefix): value for name, value in params.items() if name.startswith(prefix)}
            now = random.members[member].transform(now, {"pool": images, **own})
            row.append(now[number])
        results.append(row[0] if torch.equal(row[-1], image) else row[-1])
    return results


@given(seed=st.integers(0, 2**31), n=st.integers(1, 4), batch=st.integers(2, 7))
def test_a_row_is_its_members_one_after_the_other(seed: int, n: int, batch: int) -> None:
    random, images = Random(n, transforms=members()), distinct((batch, 3, 6, 6), seed=seed)
    negatives = random(images, generator=generator(seed))
    for negative, expected in zip(negatives, written_out(random, images), strict=True):
        assert_same_pixels(negative, expected)
    assert torch.equal(random(images, params=random._params), negatives)


@given(seed=st.integers(0, 2**31), n=st.integers(1, 5), dtype=st.sampled_from([torch.float32, torch.uint8]))
def test_no_row_leads_back_to_its_source(seed: int, n: int, dtype: torch.dtype) -> None:
    random, images = Random(n, transforms=[make() for make in UNDOING]), distinct((16, 1, 6, 6), dtype=dtype)
    negatives = random(images, generator=generator(seed))
    assert not (negatives == images).flatten(1).all(dim=1).any()


def test_without_the_guarantee_rows_would_lead_back() -> None:
    """Two flips are none: the first alone is what comes out."""
    flip, images = Flip("horizontal"), distinct((4, 3, 6, 6))
    for n in (1, 2, 3, 4):
        assert torch.equal(Random(n, transforms=[flip])(images), flip(images))


def test_a_row_of_one_member_skips_images_and_goes_into_a_mixture() -> None:
    images = distinct((16, 3, 8, 8))
    sometimes = Random(2, transforms=[nda.Jigsaw()], p=0.5)
    unchanged = (sometimes(images, generator=generator(0)) == images).flatten(1).all(dim=1)
    assert torch.equal(unchanged, ~sometimes._params["batch_prob"])
    assert 0 < unchanged.sum() < 16
    mixture = Mixture([Random(2, transforms=[nda.Jigsaw(), Flip()]), nda.Jigsaw(), nda.Stitch()])
    negatives = mixture(images, generator=generator(0))
    assert not (negatives == images).flatten(1).all(dim=1).any()
    assert torch.equal(mixture(images, params=mixture._params), negatives)


def test_members_have_the_common_strength_and_the_originals_keep_theirs() -> None:
    given = [nda.Mixup(strength=0.9), nda.Jigsaw()]
    random = Random(strength=0.25, transforms=given)
    assert [getattr(member, "strength", None) for member in random.members] == [0.25, None]
    assert given[0].strength == 0.9
    Schedule("linear", 0.25, 1.0, steps=10).apply(Mixture([random]), 10)
    assert random.strength == random.members[0].strength == 1.0


def test_a_schedule_may_begin_at_nothing() -> None:
    images, schedule = distinct((6, 3, 8, 8)), Schedule("linear", 0.0, 1.0, steps=4)
    alone, within = Random(), Random(transforms=[nda.Mixup(), nda.PerlinBlend()])
    assert schedule.apply(alone, 0) == schedule.apply(Mixture([within, nda.Jigsaw()]), 0) == 0.0
    assert torch.equal(within(images), images)
    assert alone(images).shape == images.shape
    schedule.apply(within, 1)
    assert not (within(images) == images).flatten(1).all(dim=1).any()


def test_the_catalogue_takes_any_number_of_channels_and_is_a_policy() -> None:
    for channels in (1, 3, 5):
        images = distinct((8, channels, 16, 12))
        assert not (Random()(images) == images).flatten(1).all(dim=1).any()
    mixture = from_policy("random(n=3,strength=0.25):2,jigsaw")
    assert str(mixture) == "random(n=3,strength=0.25):2,jigsaw"
    assert str(from_policy(str(mixture))) == str(mixture)
    assert str(Random()) == "random"
    assert repr(eval(repr(Random(3, 1.0)), {"Random": Random})) == repr(Random(3, 1.0))


def test_the_region_is_all_that_the_row_changed() -> None:
    random, images = Random(3, transforms=[nda.CutPaste(), nda.Cutout()]), distinct((8, 3, 16, 16))
    negatives, mask = random(images, return_mask=True)
    assert torch.equal(negatives.masked_fill(mask, 0), images.masked_fill(mask, 0))
    with pytest.raises(ValueError, match="Random keeps no share of the image"):
        random(images, return_weight=True)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n": 0}, "n must be a whole number from 1 on, got 0"),
        ({"n": -1}, "n must be a whole number from 1 on, got -1"),
        ({"n": 1.5}, "n must be a whole number from 1 on, got 1.5"),
        ({"strength": 1.5}, r"strength must be in \[0, 1\], got 1.5"),
    ],
)
def test_what_is_out_of_bounds_is_named(arguments: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Random(**arguments)


def test_strength_reaches_into_mixtures() -> None:
    row = nda.Random(n=1, strength=0.1, transforms=[nda.Mixture([nda.Mixup(), nda.PerlinBlend()]), nda.Mixup()])
    assert [part.strength for part in row.modules() if isinstance(part, nda.Mixup | nda.PerlinBlend)] == [0.1] * 3


def test_what_learns_is_not_copied() -> None:
    learned = nda.LearnedMixture([nda.Jigsaw(), nda.Stitch()])
    for members in ([learned], [nda.Mixture([learned, Flip()])]):
        with pytest.raises(ValueError, match="LearnedMixture could not be told how hard its own was"):
            Random(transforms=members)


def test_a_generator_is_not_copied_in_silence() -> None:
    generated = nda.Generated(torch.nn.Linear(4, 4), 4)
    for members in ([generated], [nda.Mixture([generated, nda.Jigsaw()])]):
        with pytest.raises(ValueError, match=r"a copy of Generated would keep its generator as it is now"):
            nda.Random(transforms=members)
