import pytest
import torch
from torch.nn import functional as F

from nda_augment.auditing.measuring.structure import structure_of


def two_kinds(n=60, noise=0.1):
    """Features of two kinds, ``(n, 2)``, and which it is."""
    labels = torch.arange(n) % 2
    return F.one_hot(labels, 2).float() + noise * torch.randn(n, 2), labels


def judge(real, sources, labels=None):
    return structure_of(real, sources, labels, torch.arange(len(sources)) % 10, torch.Generator().manual_seed(0))


EVERYTHING = torch.ones(60, dtype=torch.bool)


def test_a_classifier_sees_what_is_whole_and_what_became_the_other_kind():
    (real, kinds), (sources, same_kinds) = two_kinds(), two_kinds()
    structure = judge(real, sources, torch.cat([kinds, same_kinds]))
    assert not structure.stands_in
    assert structure.chance == pytest.approx(0.5)
    assert torch.equal(structure.clean, torch.ones(60))
    assert structure.broken(structure.kept(sources), EVERYTHING) == 0.0
    # All are the other kind now: twice as wrong as chance.
    assert structure.broken(structure.kept(sources.flip(1)), EVERYTHING) == pytest.approx(2.0)


def test_half_of_what_can_be_lost_is_lost_where_half_is_drawn_by_chance():
    (real, kinds), (sources, same_kinds) = two_kinds(), two_kinds()
    structure = judge(real, sources, torch.cat([kinds, same_kinds]))
    others = torch.where(torch.arange(60).unsqueeze(1) < 30, sources.flip(1), sources)
    assert structure.broken(structure.kept(others), EVERYTHING) == pytest.approx(1.0)
    assert structure.broken(structure.kept(others), torch.arange(60) >= 30) == 0.0


def test_no_source_is_judged_by_what_it_taught():
    """Random labels of far more features than images are learned by heart, and guessed of the others."""
    real, sources = torch.randn(2, 200, 300).unbind()
    with pytest.raises(ValueError, match=r"where chance is 0\.50: too little"):
        judge(real, sources, torch.randint(2, (400,)))


def test_clusters_stand_in_for_labels():
    (real, _), (sources, _) = two_kinds(noise=0.01), two_kinds(noise=0.01)
    structure = judge(real, sources)
    assert structure.stands_in
    assert "clusters" in structure.name
    assert structure.broken(structure.kept(sources), EVERYTHING) == 0.0
    assert not (structure.kept(sources.flip(1)) * structure.clean).any()


def test_where_all_sources_are_in_one_cluster_nothing_can_be_lost():
    real = torch.cat([torch.zeros(15, 2), torch.full((1, 2), 9.0)])
    sources = torch.zeros(16, 2)
    structure = judge(real, sources)
    assert structure.chance == 1.0
    assert structure.broken(structure.kept(sources + 9), torch.ones(16, dtype=torch.bool)) == 0.0
