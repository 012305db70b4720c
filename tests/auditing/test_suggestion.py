import pytest
import torch

import nda_augment as nda
from nda_augment.auditing.measuring.encoder import train_encoder
from tests.auditing.data import Pooled, digits, even_grain


@pytest.fixture(scope="module")
def images():
    return digits(400)[0]


@pytest.fixture(scope="module")
def encoder(images):
    return train_encoder(images / 255, steps=60, seed=0)


def test_weights_are_scores_of_negatives_and_positives_stay_out(images, encoder):
    policy = "flip,jigsaw,stitch,perlinblend,cutpastescar"
    mixture = nda.auto_policy(images, transforms=policy, encoder=encoder)
    report = nda.audit(images, policy, max_images=500, encoder=encoder)
    assert isinstance(mixture, nda.Mixture)
    assert {str(member) for member in mixture.members} == {row.name for row in report.ranking if row.kind == "negative"}
    assert [str(member) for member in mixture.members] == [row.name for row in report.ranking][: len(mixture.members)]
    assert mixture.weights == tuple(round(report[str(member)].score, 2) for member in mixture.members)
    assert {"flip", "jigsaw"} <= set(map(str, mixture.members)) <= {"flip", "jigsaw", "stitch"}
    assert mixture(images).shape == images.shape


def test_no_more_than_asked_for_and_two_of_a_family(images, encoder):
    patches = "jigsaw,jigsaw(grid=2x4),jigsaw(grid=4x2),cutperm"
    assert len(nda.auto_policy(images, transforms=patches, encoder=encoder).members) == 2
    assert len(nda.auto_policy(images, transforms=patches + ",flip", encoder=encoder, members=1).members) == 1


def test_the_budget_is_the_number_of_images_looked_at(images, encoder):
    few = nda.auto_policy(images, 150, transforms="flip,jigsaw", encoder=encoder)
    again = nda.auto_policy(images, budget=150, transforms="flip,jigsaw", encoder=encoder)
    many = nda.auto_policy(images, budget=400, transforms="flip,jigsaw", encoder=encoder)
    assert few.weights == again.weights != many.weights


def test_a_detector_of_defects_is_offered_small_damage_only():
    tiles, choice = even_grain(200), "cutout,jigsaw,rotate90"
    of_defects = nda.auto_policy(tiles, transforms=choice, encoder=Pooled(), purpose="defect")
    assert str(of_defects.members[0]) == "cutout"
    assert len(of_defects.members) == 1


def test_where_nothing_is_a_negative_it_says_so(images, encoder):
    with pytest.raises(ValueError, match=r"no transform is a clear negative .*0 pass, 0 warn, 1 fail.*nda\.audit"):
        nda.auto_policy(images, transforms="perlinblend", encoder=encoder)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [({"members": 0}, "members must be at least 1"), ({"budget": 20}, "at least 148")],
    ids=["members", "budget"],
)
def test_mistakes_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        nda.auto_policy(torch.rand(148, 1, 8, 8), **arguments)
