import warnings

import pytest
import torch

import nda_augment as nda
from nda_augment.adapters._gan import Weighed, as_kinds, as_negatives, make_kind, make_negatives, warn_undone
from nda_augment.transforms import NegativeTransform


class Spy(nda.Flip):
    """Remembers under what it was called."""

    def forward(self, *args, **kwargs):
        self.autocast, self.grad = torch.is_autocast_enabled("cpu"), torch.is_grad_enabled()
        return super().forward(*args, **kwargs)


class TestAsNegatives:
    def test_a_transform_is_itself_and_a_string_a_policy(self) -> None:
        transform = nda.Jigsaw()
        assert as_negatives(transform) is transform
        assert str(as_negatives("jigsaw(grid=4x4),stitch:2")) == "jigsaw(grid=4x4),stitch:2"

    def test_what_cannot_be_negatives(self) -> None:
        with pytest.raises(TypeError, match=r"nda_augment\.Jigsaw"):
            as_negatives(torch.nn.Identity())
        with pytest.raises(ValueError, match="did you mean 'jigsaw'"):
            as_negatives("jigsaws")
        with pytest.raises(ValueError, match="p=1"):
            as_negatives(nda.Jigsaw(p=0.5))
        with pytest.raises(ValueError, match="clips"):
            as_negatives("frameshuffle")


class TestKinds:
    def test_one_has_a_fake_weight_and_several_have_weights(self) -> None:
        transform, other = nda.Jigsaw(), nda.OtherClass(3)
        assert as_kinds(transform, None, None) == ({"negative": transform}, {"fake": 0.75, "negative": 0.25})
        weights = {"fake": 0.5, "jigsaw": 0.2, "label": 0.3}
        kinds, same = as_kinds({"jigsaw": transform, "label": other}, None, weights)
        assert (kinds, same) == ({"jigsaw": transform, "label": other}, weights)

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (("jigsaw", None, {"fake": 1.0}), "weights are for several kinds"),
            (({"a": "jigsaw"}, 0.5, {"fake": 0.5, "a": 0.5}), "fake_weight=0.5 is for negatives of one kind"),
            (({"a": "jigsaw"}, None, None), "several kinds of negatives need weights"),
            (({"a": "jigsaw"}, None, {"fake": 0.5, "b": 0.5}), "weights name 'b'"),
            (({"a": "jigsw"}, None, {"fake": 0.5, "a": 0.5}), "did you mean 'jigsaw'"),
        ],
    )
    def test_what_does_not_fit_is_named(self, arguments: tuple, message: str) -> None:
        with pytest.raises(ValueError, match=message):
            as_kinds(*arguments)

    def test_the_text_is_that_of_the_kinds(self) -> None:
        weighed = Weighed({"a": nda.Jigsaw(), "b": nda.Flip()}, {"fake": 0.5, "a": 0.25, "b": 0.25})
        assert str(weighed) == "jigsaw, flip"

    def test_arguments_have_the_names_that_the_adapter_gives_them(self) -> None:
        names = ("nda_fake_weight", "nda_weights")
        with pytest.raises(ValueError, match=r"^nda_weights name 'b'"):
            as_kinds({"a": "jigsaw"}, None, {"fake": 0.5, "b": 0.5}, names)
        with pytest.raises(ValueError, match=r"^nda_fake_weight=0\.5 is for negatives of one kind"):
            as_kinds({"a": "jigsaw"}, 0.5, {"fake": 0.5, "a": 0.5}, names)

    @pytest.mark.filterwarnings("ignore:the history has no snapshot")
    def test_a_history_is_absent_until_its_first_snapshot(self) -> None:
        history = nda.GeneratorHistory(torch.nn.Unflatten(1, (3, 2, 2)), every=1)
        old, images = nda.Generated(history, 12), torch.rand(2, 3, 2, 2)
        assert make_kind(old, images, None) is None
        history.update()
        made, labels = make_kind(old, images, None)
        assert made.shape == images.shape
        assert labels is None

    def test_a_wrong_label_needs_a_right_one(self) -> None:
        with pytest.raises(ValueError, match="the images have none"):
            make_kind(nda.OtherClass(2), torch.rand(2, 3, 2, 2), None)


class TestMakeNegatives:
    def test_they_are_data(self) -> None:
        images = torch.rand(2, 3, 8, 8, requires_grad=True)
        spy = Spy()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            negatives = make_negatives(spy, images, labels=None)
        assert not spy.autocast
        assert not spy.grad
        assert not negatives.requires_grad
        assert torch.equal(negatives, images.flip(-2))

    def test_labels_go_to_those_who_need_them(self) -> None:
        images = torch.arange(4.0).view(4, 1, 1, 1).expand(4, 3, 8, 8)
        labels = torch.tensor([0, 0, 1, 1])
        make_negatives(nda.Jigsaw(), images, labels)
        negatives = make_negatives(nda.Stitch(partner="same_class"), images, labels)
        assert [sorted(negative.unique().tolist()) for negative in negatives] == [[0, 1], [0, 1], [2, 3], [2, 3]]


class TestWarnUndone:
    @pytest.mark.parametrize(
        ("negatives", "operations", "named"),
        [
            (nda.Cutout(), {"cutout"}, ["'cutout'"]),
            (nda.Rotate90(), {"rotate90"}, ["'rotate90'"]),
            (nda.Rotate90(), {"rotate"}, ["'rotate'"]),
            (nda.Flip(), {"rotate90", "xflip"}, ["'rotate90'"]),
            (nda.Flip(direction="horizontal"), {"rotate90", "xflip"}, ["'xflip'"]),
            (nda.Roll(), {"translation"}, ["'translation'"]),
            (nda.Roll(), {"xint", "xfrac"}, ["'xfrac'", "'xint'"]),
            (nda.from_policy("jigsaw,(stitch,cutout),rotate90"), {"cutout", "rotate90"}, ["'cutout'", "'rotate90'"]),
            (nda.from_policy("jigsaw,stitch"), {"cutout", "translation", "xflip", "rotate90"}, []),
            (nda.Cutout(), {"translation"}, []),
        ],
        ids=lambda value: str(sorted(value) if isinstance(value, set) else value),
    )
    def test_names_what_works_against_what(
        self, negatives: NegativeTransform, operations: set[str], named: list[str]
    ) -> None:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            warn_undone([negatives], operations)
        assert [str(warning.message).split()[3] for warning in caught] == named

    def test_a_positive_that_undoes_is_told_to_whoever_made_the_loss(self) -> None:
        def construct() -> None:
            warn_undone([nda.Cutout()], {"cutout"})

        with pytest.warns(UserWarning, match="'cutout'") as caught:
            construct()
        (warning,) = caught
        assert (warning.filename, warning.lineno) == (__file__, construct.__code__.co_firstlineno + 4)
