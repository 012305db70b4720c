import pytest
import torch

import nda_augment as nda
from nda_augment import sampling

LABELS = torch.tensor([0, 1, 2, 0, 1, 2, 0, 1])


def test_no_label_stays_and_all_others_are_drawn_evenly():
    labels = torch.arange(5).repeat(4000)
    wrong = nda.OtherClass(5)(labels, generator=torch.Generator().manual_seed(0))
    assert not (wrong == labels).any()
    counts = torch.stack([wrong[labels == label].bincount(minlength=5) for label in range(5)])
    others = counts[~torch.eye(5, dtype=torch.bool)].float()
    chi_square = ((others - 1000) ** 2 / 1000).sum()
    # 5 independent rows of 4 cells: 15 degrees of freedom, P(> 44.3) = 1e-4.
    assert chi_square < 44.3


def test_a_draw_repeats():
    other = nda.OtherClass(10)
    assert torch.equal(other(LABELS), other(LABELS, params=other._params))


@pytest.mark.parametrize(
    ("labels", "message"), [(LABELS.float(), "int64"), (LABELS.view(2, 4), r"\(2, 4\)")], ids=["float", "rank"]
)
def test_bad_labels_are_refused(labels, message):
    with pytest.raises(ValueError, match=message):
        nda.OtherClass(3)(labels)


def test_one_class_has_no_other():
    with pytest.raises(ValueError, match="num_classes must be a whole number from 2 on, got 1"):
        nda.OtherClass(1)


class TestOtherLabel:
    NUMBERS = torch.rand(500, generator=torch.Generator().manual_seed(0))

    def test_every_draw_is_beyond_the_quantile_of_the_differences(self):
        other = nda.OtherLabel(self.NUMBERS, quantile=0.8)
        for label in (0.0, 0.31, 0.5, 0.97):
            labels = torch.full((4000,), label)
            wrong = other(labels, generator=torch.Generator().manual_seed(1))
            differences = (self.NUMBERS - label).abs()
            assert ((wrong - label).abs() >= differences.quantile(0.8)).all()
            counts = torch.stack([(wrong == number).sum() for number in self.NUMBERS[differences.argsort()[-100:]]])
            assert counts.sum() == 4000
            # 100 cells: 99 degrees of freedom, P(> 161.3) = 1e-4.
            assert ((counts - 40) ** 2 / 40).sum() < 161.3

    def test_no_label_is_its_own_even_where_many_are_alike(self):
        labels = torch.tensor([0.0] * 5 + [1.0] * 5)
        wrong = nda.OtherLabel(labels, quantile=0.5)(labels)
        assert torch.equal(wrong, 1 - labels)

    def test_a_draw_repeats(self):
        other = nda.OtherLabel(self.NUMBERS)
        assert torch.equal(other(self.NUMBERS), other(self.NUMBERS, params=other._params))

    @pytest.mark.parametrize(
        ("labels", "quantile", "message"),
        [
            (torch.arange(5), 0.5, "classes are for OtherClass"),
            (torch.rand(5, 1), 0.5, r"\(5, 1\)"),
            (torch.tensor([0.0, torch.nan]), 0.5, "1 of the labels are not finite"),
            (torch.rand(5), 1.0, "leaves 0 of 5 labels"),
            (torch.rand(5), 1.5, r"quantile must be in \[0, 1\), got 1.5"),
            (torch.tensor([1.0] * 8 + [2.0] * 2), 0.5, "leaves 5 of 10 .* 8 have one value: .* from 1 to 2"),
        ],
    )
    def test_bad_input_is_named(self, labels, quantile, message):
        with pytest.raises(ValueError, match=message):
            nda.OtherLabel(labels, quantile)

    def test_classes_are_for_the_other(self):
        with pytest.raises(ValueError, match="classes are for OtherClass"):
            nda.OtherLabel(self.NUMBERS)(LABELS)


PAIRS = [nda.Stitch, nda.CutMix, nda.Mixup, nda.CutPasteForeign, nda.PerlinBlend]


@pytest.mark.parametrize("cls", PAIRS)
@pytest.mark.parametrize(("partner", "same"), [("other_class", False), ("same_class", True)])
def test_partners_by_class(cls, partner, same):
    transform = cls(partner=partner)
    for _ in range(20):
        transform(torch.rand(8, 3, 16, 16), labels=LABELS)
        partners = transform._params["partners"]
        assert ((LABELS[partners] == LABELS) == same).all()
        assert not (partners == torch.arange(8)).any()


def test_partners_by_class_from_a_pool():
    pool_labels = torch.tensor([2, 2, 0])
    drawn = sampling.class_partners(torch.tensor([0, 2] * 50), pool_labels, same_class=True)
    assert (pool_labels[drawn] == torch.tensor([0, 2] * 50)).all()
    assert set(drawn.tolist()) == {0, 1, 2}


def test_candidates_are_drawn_evenly():
    labels = torch.tensor([0] * 4 + [1] * 5)
    generator = torch.Generator().manual_seed(0)
    draws = torch.stack([sampling.class_partners(labels, same_class=False, generator=generator) for _ in range(4000)])
    counts = draws[:, 0].bincount(minlength=9)
    assert (counts[:4] == 0).all()
    assert ((counts[4:] - 800) ** 2 / 800).sum() < 23.5  # 4 degrees of freedom, P = 1e-4


def test_a_class_alone_is_an_error_that_names_it():
    with pytest.raises(ValueError, match=r"no image of its own class .* classes \[7\]"):
        nda.Stitch(partner="same_class")(torch.rand(3, 1, 4, 4), labels=torch.tensor([1, 1, 7]))
    with pytest.raises(ValueError, match=r"no image of another class .* classes \[1\]"):
        nda.Stitch(partner="other_class")(torch.rand(3, 1, 4, 4), labels=torch.tensor([1, 1, 1]))


def test_labels_are_asked_for_and_never_ignored():
    images = torch.rand(4, 1, 4, 4)
    with pytest.raises(ValueError, match="needs the classes of the images; pass labels="):
        nda.Stitch(partner="same_class")(images)
    with pytest.raises(ValueError, match="has no use for labels"):
        nda.Stitch()(images, labels=torch.zeros(4).long())
    with pytest.raises(ValueError, match=r"labels must have shape \(4,\)"):
        nda.Stitch(partner="same_class")(images, labels=torch.zeros(3).long())
    with pytest.raises(ValueError, match="pass pool, labels and pool_labels together"):
        nda.Stitch(partner="same_class")(images, labels=torch.zeros(4).long(), pool=images)


def test_a_mixture_hands_labels_to_those_that_need_them():
    mixture = nda.Mixture([nda.Jigsaw(), nda.Stitch(partner="other_class"), nda.Mixup()])
    mixture(torch.rand(8, 3, 16, 16), labels=LABELS)
    assert (LABELS[mixture._params["1.partners"]] != LABELS).all()
