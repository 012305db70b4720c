import re

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from nda_augment.losses import discriminator_terms, with_negatives

KINDS = ["softplus", "hinge", "least_squares", "wasserstein"]


def normal(seed: int, *shape: int) -> Tensor:
    return 2 * torch.randn(shape or (6,), generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


REAL, FAKE, FIRST, SECOND = (normal(seed) for seed in range(4))
NEGATIVES = {"jigsaw": FIRST, "history": SECOND}
WEIGHTS = {"fake": 0.5, "jigsaw": 0.2, "history": 0.3}


def relativistic(real: Tensor, fake: Tensor) -> Tensor:
    return F.softplus(fake - real).mean()


@pytest.mark.parametrize("kind", KINDS)
class TestTermsOfKinds:
    def test_each_term_is_that_of_its_kind_alone(self, kind):
        terms = discriminator_terms(REAL, FAKE, NEGATIVES, kind=kind)
        for name, negative in NEGATIVES.items():
            alone = discriminator_terms(REAL, FAKE, negative, kind=kind)
            assert (terms.real, terms.fake, terms.negative[name]) == (alone.real, alone.fake, alone.negative)
            assert torch.equal(terms.logit_gap[name], alone.logit_gap)
            assert torch.equal(terms.hardness[name], alone.hardness)

    def test_total_is_the_weighted_sum(self, kind):
        terms = discriminator_terms(REAL, FAKE, NEGATIVES, kind=kind)
        expected = terms.real + 0.5 * terms.fake + 0.2 * terms.negative["jigsaw"] + 0.3 * terms.negative["history"]
        torch.testing.assert_close(terms.total(WEIGHTS), expected)

    def test_one_kind_is_the_single_form_bit_for_bit(self, kind):
        single = discriminator_terms(REAL, FAKE, FIRST, kind=kind).total(0.75)
        several = discriminator_terms(REAL, FAKE, {"jigsaw": FIRST}, kind=kind).total({"jigsaw": 0.25, "fake": 0.75})
        assert torch.equal(several, single)

    def test_all_weight_on_generated_images_is_the_plain_loss_bit_for_bit(self, kind):
        plain = discriminator_terms(REAL, FAKE, kind=kind).total(1)
        nowhere = {"jigsaw": torch.full((6,), torch.nan, dtype=torch.float64), "history": SECOND}
        terms = discriminator_terms(REAL, FAKE, nowhere, kind=kind)
        assert torch.equal(terms.total({"fake": 1, "jigsaw": 0, "history": 0}), plain)


def test_an_absent_kind_leaves_its_share_to_generated_images():
    terms = discriminator_terms(REAL, FAKE, {"jigsaw": FIRST, "history": None})
    assert terms.negative["history"] is None
    assert terms.logit_gap.keys() == terms.hardness.keys() == {"jigsaw"}
    expected = terms.real + 0.8 * terms.fake + 0.2 * terms.negative["jigsaw"]
    assert torch.equal(terms.total({"fake": 0.5, "jigsaw": 0.2, "history": 0.3}), expected)
    nothing = discriminator_terms(REAL, FAKE, {"history": None})
    assert torch.equal(nothing.total({"fake": 0.5, "history": 0.5}), discriminator_terms(REAL, FAKE).total(1))


BAD = [
    (
        {"fake": 0.5, "jigsaw": 0.2, "history": 0.2},
        ValueError,
        "must sum to 1, those of 'fake', 'jigsaw', 'history' sum",
    ),
    ({"fake": 0.5, "jigsaw": 0.2, "histroy": 0.3}, ValueError, "name 'histroy', but .*Did you mean 'history'"),
    ({"fake": 0.5, "jigsaw": 0.5}, ValueError, "have no 'history'; a weight of 0 leaves a kind out"),
    ({"jigsaw": 0.5, "history": 0.5}, ValueError, "have no 'fake'"),
    ({"fake": 0.0, "jigsaw": 0.5, "history": 0.5}, ValueError, "must be above 0"),
    ({"fake": 1.2, "jigsaw": -0.2, "history": 0.0}, ValueError, r"weights\['fake'\] must be in \[0, 1\], got 1.2"),
    (0.75, TypeError, "must be a mapping such as .*got 0.75"),
]


@pytest.mark.parametrize(("weights", "error", "message"), BAD)
def test_weights_that_do_not_fit_are_refused(weights, error, message):
    terms = discriminator_terms(REAL, FAKE, NEGATIVES)
    with pytest.raises(error, match=message):
        terms.total(weights)
    if weights != 0.75:
        with pytest.raises(error, match=message):
            with_negatives(relativistic, REAL, FAKE, NEGATIVES, weights=weights)


def test_no_kind_is_called_fake():
    terms = discriminator_terms(REAL, FAKE, {"fake": FIRST})
    with pytest.raises(ValueError, match="no kind of negatives can be called 'fake'"):
        terms.total({"fake": 1.0})


def test_logits_of_another_shape_are_named_by_their_kind():
    with pytest.raises(ValueError, match=r"history has logits of shape \(6, 1\)"):
        discriminator_terms(REAL, FAKE, {"jigsaw": FIRST, "history": SECOND[:, None]})


class TestAnyLoss:
    def test_is_the_weighted_sum_of_the_loss(self):
        fake, first, second = (relativistic(REAL, each) for each in (FAKE, FIRST, SECOND))
        lazy = {"jigsaw": lambda: FIRST, "history": SECOND}
        for negatives in (NEGATIVES, lazy):
            result = with_negatives(relativistic, REAL, FAKE, negatives, weights=WEIGHTS)
            assert torch.equal(result, 0.5 * fake + 0.2 * first + 0.3 * second)

    def test_kinds_without_weight_are_not_asked_for(self):
        negatives = {"jigsaw": lambda: pytest.fail("asked for"), "history": lambda: pytest.fail("asked for")}
        result = with_negatives(relativistic, REAL, FAKE, negatives, weights={"fake": 1, "jigsaw": 0, "history": 0})
        assert torch.equal(result, relativistic(REAL, FAKE))

    @pytest.mark.parametrize("absent", [None, lambda: None], ids=["none", "function"])
    def test_an_absent_kind_leaves_its_share(self, absent):
        negatives = {"jigsaw": FIRST, "history": absent}
        expected = 0.8 * relativistic(REAL, FAKE) + 0.2 * relativistic(REAL, FIRST)
        assert torch.equal(with_negatives(relativistic, REAL, FAKE, negatives, weights=WEIGHTS), expected)

    def test_weights_and_a_fake_weight_contradict(self):
        with pytest.raises(ValueError, match=re.escape("leave fake_weight=0.5 out")):
            with_negatives(relativistic, REAL, FAKE, NEGATIVES, 0.5, weights=WEIGHTS)

    def test_one_output_is_no_mapping(self):
        with pytest.raises(TypeError, match=r"must be a mapping from kinds .* got Tensor"):
            with_negatives(relativistic, REAL, FAKE, FIRST, weights=WEIGHTS)
