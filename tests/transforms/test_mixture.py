"""Mixtures: each image gets exactly one negative, as often as the weights say, and nothing else is computed."""

import math
import re
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

import nda_augment as nda
from benchmarks.memory import peak_bytes
from nda_augment.transforms import CutMix, Mixture, NegativeTransform
from nda_augment.transforms.base import Params
from tests.cases import distinct, generator
from tests.properties import assert_same_pixels


class Counting(NegativeTransform):
    """Counts the images that it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.counts: list[int] = []

    def make_params(self, shape: tuple[int, ...], **source: Any) -> Params:
        return {}

    def transform(self, images: Tensor, params: Params) -> Tensor:
        self.counts.append(len(images))
        return -images


def members() -> list[NegativeTransform]:
    return [nda.Jigsaw((2, 2)), nda.Stitch(), nda.Cutout(), nda.Mixup(), nda.CutMix()]


def params_of(number: int, params: Params) -> Params:
    """The parameters of one member, under its own names."""
    prefix = f"{number}."
    return {name.removeprefix(prefix): value for name, value in params.items() if name.startswith(prefix)}


@st.composite
def batches(draw: st.DrawFn) -> tuple[Tensor, list[float], int]:
    batch, seed = draw(st.integers(0, 13)), draw(st.integers(0, 2**31))
    weights = draw(st.lists(st.sampled_from([0.0, 0.01, 1.0, 3.0]), min_size=5, max_size=5).filter(any))
    frames = (2,) if draw(st.booleans()) else ()
    images = distinct((batch, *frames, 3, 8, 6), seed=seed)
    if not frames and draw(st.booleans()):
        images = images.contiguous(memory_format=torch.channels_last)
    return images, weights, seed


def usable(images: Tensor) -> bool:
    return len(images) != 1  # an image alone has no partner


@given(batch=batches())
def test_each_image_gets_the_negative_of_its_choice(batch: tuple[Tensor, list[float], int]) -> None:
    images, weights, seed = batch
    if not usable(images):
        return
    mixture = Mixture(members(), weights)
    negatives = mixture(images, generator=generator(seed))
    choice = mixture._params["choice"]
    results = [
        member.transform(images, params_of(number, mixture._params)) for number, member in enumerate(mixture.members)
    ]
    assert set(choice.tolist()) <= {number for number, weight in enumerate(weights) if weight}
    for image, number in enumerate(choice.tolist()):
        assert_same_pixels(negatives[image], results[number][image])


@given(batch=batches(), same_on_batch=st.booleans())
def test_groups_of_fixed_size_give_the_same(batch: tuple[Tensor, list[float], int], same_on_batch: bool) -> None:
    images, weights, seed = batch
    if not usable(images):
        return
    mixture = Mixture(members(), weights, same_on_batch=same_on_batch)
    negatives = mixture(images, generator=generator(seed))
    params = dict(mixture._params)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.compiler, "is_compiling", lambda: True)
        assert_same_pixels(mixture(images, params=params), negatives)


def test_groups_of_fixed_size_refuse_more_than_can_have_been_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    mixture, images = Mixture(members()), distinct((10, 3, 8, 6))
    mixture(images)
    crowded = mixture._params | {"choice": torch.full((10,), 2)}
    mixture(images, params=crowded)
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
    with pytest.raises(RuntimeError, match="more images chose one transform"):
        mixture(images, params=crowded)


@pytest.mark.parametrize("batch", [0, 1, 7, 32])
@pytest.mark.parametrize("weights", [[1, 1, 1], [1, 0, 3], [0, 0, 1]], ids=str)
def test_only_the_chosen_is_computed(batch: int, weights: list[float]) -> None:
    counting = [Counting() for _ in weights]
    mixture = Mixture(counting, weights)
    images = distinct((batch, 1, 2, 2)) + 1
    assert torch.equal(mixture(images), -images)
    chosen = mixture._params["choice"].bincount(minlength=3).tolist()
    assert [sum(member.counts) for member in counting] == chosen
    assert all(0 not in member.counts for member in counting)
    for count, weight in zip(chosen, weights, strict=True):
        assert abs(count - batch * weight / sum(weights)) < 1


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.uint8], ids=str)
@pytest.mark.parametrize("p", [1.0, 0.5])
@pytest.mark.parametrize("pool", [False, True], ids=["batch", "pool"])
def test_large_images_are_changed_where_they_lie(dtype: torch.dtype, p: float, pool: bool) -> None:
    """Cells move at once, boxes and blends are written into the copies: the same as each member's own kernel gives."""
    images = distinct((16, 3, 48, 48), dtype=dtype)
    others = distinct((5, 3, 48, 48), seed=1, dtype=dtype).contiguous(memory_format=torch.channels_last)
    mixture = Mixture([*members(), nda.PatchShuffle(), nda.Flip()], p=p)
    before = images.clone()
    negatives = mixture(images, pool=others if pool else None, generator=generator(0))
    assert torch.equal(images, before)
    params = mixture._params
    results = [member.transform(images, params_of(number, params)) for number, member in enumerate(mixture.members)]
    applied = params.get("batch_prob", torch.ones(16))
    for image, number in enumerate(params["choice"].tolist()):
        assert_same_pixels(negatives[image], results[number][image] if applied[image] else images[image])


@pytest.mark.parametrize(
    ("number", "name", "value"),
    [
        *((0, "permutation", 99), (1, "partners", 99), (1, "axis", 9), (1, "keep", 9)),
        *((2, "boxes", 99), (3, "partners", 99), (3, "weights", 2.0), (4, "boxes", 99), (4, "partners", 99)),
        *((5, "sources", 99), (5, "permutation", 99)),
    ],
)
def test_a_replay_that_cannot_be_is_named_where_images_are_changed(number: int, name: str, value: float) -> None:
    mixture, images = Mixture([*members(), nda.CrossPatchShuffle((2, 2))]), distinct((20, 3, 48, 48))
    mixture(images)
    key = f"{number}.{name}"
    params = mixture._params | {key: torch.full_like(mixture._params[key], value)}
    with pytest.raises(ValueError, match=f"{name} must be"):
        mixture(images, params=params)


def test_the_weight_of_an_image_that_is_left_alone_is_one() -> None:
    mixture, images = Mixture([nda.CutMix(), nda.Mixup()], p=0.5), distinct((20, 3, 8, 8))
    negatives, weight = mixture(images, return_weight=True, generator=generator(0))
    alone = ~mixture._params["batch_prob"]
    assert 0 < alone.sum() < 20
    assert torch.equal(negatives[alone], images[alone])
    assert torch.equal(weight == 1, alone)


def test_the_scale_of_the_weights_does_not_count() -> None:
    images = distinct((16, 3, 8, 6))
    one, ten = Mixture(members(), [1, 2, 3, 4, 5]), Mixture(members(), [10, 20, 30, 40, 50])
    assert one.probabilities == pytest.approx(ten.probabilities)
    assert torch.equal(one(images, generator=generator(0)), ten(images, generator=generator(0)))
    assert Mixture(members()).weights == (1.0,) * 5
    assert sum(one.probabilities) == pytest.approx(1.0)


def test_a_partner_may_be_of_another_group() -> None:
    """The group of a member is a part of the batch; its partners are the whole batch."""
    mixture, images = Mixture([nda.Stitch(), nda.Jigsaw()]), distinct((12, 3, 8, 6))
    crossed = 0
    for seed in range(10):
        negatives = mixture(images, generator=generator(seed))
        stitched = mixture._params["choice"] == 0
        partners = mixture._params["0.partners"]
        crossed += int((~stitched[partners[stitched]]).sum())
        for image in stitched.nonzero().flatten().tolist():
            sources = torch.isin(negatives[image], images[partners[image]]) | torch.isin(
                negatives[image], images[image]
            )
            assert sources.all()
            assert torch.isin(negatives[image], images[partners[image]]).any()
    assert crossed


def test_one_pool_serves_all_members_that_borrow() -> None:
    mixture = Mixture([nda.Stitch(), nda.Jigsaw(), nda.CutMix()])
    pool = distinct((3, 3, 8, 6), seed=1) + 2
    negatives = mixture(distinct((9, 3, 8, 6)), pool=pool, generator=generator(0))
    borrowed = (negatives >= 2).flatten(1).any(dim=1)
    assert torch.equal(borrowed, mixture._params["choice"] != 1)
    with pytest.raises(ValueError, match="Mixture borrows from no other image"):
        Mixture([nda.Jigsaw()])(torch.rand(2, 3, 8, 6), pool=pool)


def test_nested_mixtures_multiply_their_weights() -> None:
    counting = [Counting() for _ in range(3)]
    mixture = Mixture([counting[0], Mixture(counting[1:], [1, 3])], [1, 1])
    images = distinct((400, 1, 2, 2)) + 1
    for seed in range(10):
        assert torch.equal(mixture(images, generator=generator(seed)), -images)
    shares = [sum(member.counts) / 4000 for member in counting]
    assert shares == pytest.approx([0.5, 0.125, 0.375], abs=0.02)


def test_partners_of_a_nested_mixture_are_those_of_the_whole_batch() -> None:
    inner = Mixture([nda.Stitch(), nda.Cutout()])
    mixture, images = Mixture([nda.Jigsaw(), inner]), distinct((12, 3, 8, 6))
    for seed in range(10):
        negatives = mixture(images, generator=generator(seed))
        params = mixture._params
        assert {"choice", "1.choice", "1.0.partners", "1.1.boxes"} <= set(params)
        stitched = (params["choice"] == 1) & (params["1.choice"] == 0)
        names = ("partners", "axis", "keep")
        expected = nda.functional.stitch(images, *(params[f"1.0.{name}"] for name in names))
        assert torch.equal(negatives[stitched], expected[stitched])
        assert torch.equal(mixture(images, params=params), negatives)


def test_a_preset_is_a_mixture_of_its_values() -> None:
    assert str(Mixture(nda.presets.paper())) == "jigsaw,stitch,mixup,cutout,cutmix"


def test_one_choice_for_all_if_told() -> None:
    mixture, images = Mixture(members(), same_on_batch=True), distinct((8, 3, 8, 6))
    seen = set()
    for seed in range(40):
        mixture(images, generator=generator(seed))
        choice = mixture._params["choice"]
        assert (choice == choice[0]).all()
        seen.add(int(choice[0]))
    assert seen == set(range(5))


def test_a_mixture_of_regions_marks_the_region_of_each() -> None:
    mixture, images = Mixture([nda.Cutout(), nda.CutPaste()]), distinct((8, 3, 12, 12))
    negatives, mask = mixture(images, return_mask=True)
    regions = [
        member.region(images.shape, params_of(number, mixture._params)) for number, member in enumerate(mixture.members)
    ]
    for image, number in enumerate(mixture._params["choice"].tolist()):
        assert torch.equal(mask[image], regions[number][image])
    assert torch.equal(negatives.masked_fill(mask, 0), images.masked_fill(mask, 0))
    with pytest.raises(ValueError, match="Jigsaw changes no region"):
        Mixture([nda.Cutout(), nda.Jigsaw()])(images, return_mask=True)


def test_labels_reach_those_who_need_them() -> None:
    mixture = Mixture([nda.Stitch(partner="other_class"), nda.Jigsaw(), nda.CutMix()])
    images, labels = distinct((8, 3, 8, 6)), torch.arange(8) % 2
    with pytest.raises(ValueError, match="labels="):
        mixture(images)
    mixture(images, labels=labels)
    assert (labels[mixture._params["0.partners"]] != labels).all()


class TestErrors:
    def test_nothing_to_mix(self) -> None:
        with pytest.raises(ValueError, match="at least one transform, got none"):
            Mixture([])

    @pytest.mark.parametrize(
        "stranger", [nn.Identity(), lambda x: x, "jigsaw", nda.Jigsaw], ids=["module", "function", "word", "class"]
    )
    def test_strangers(self, stranger: Any) -> None:
        with pytest.raises(TypeError, match=r"members of a mixture must be negatives of this package.*AsNegative"):
            Mixture([nda.Jigsaw(), stranger])

    def test_one_transform_is_no_list(self) -> None:
        with pytest.raises(TypeError, match="a mixture is made of a list of transforms, got Jigsaw"):
            Mixture(nda.Jigsaw())  # type: ignore[arg-type]

    def test_members_that_skip(self) -> None:
        with pytest.raises(ValueError, match=r"members of a mixture: .* has p=0\.5 .* use p=1, and a weight"):
            Mixture([nda.Jigsaw(p=0.5)])

    @pytest.mark.parametrize("weights", [[1.0], [1.0, 1.0, 1.0], []], ids=str)
    def test_as_many_weights_as_members(self, weights: list[float]) -> None:
        with pytest.raises(ValueError, match=f"{len(weights)} weights for 2 transforms"):
            Mixture([nda.Jigsaw(), nda.Stitch()], weights)

    @pytest.mark.parametrize("weights", [[1.0, math.nan], [1.0, -1.0], [0.0, 0.0], [math.inf, 1.0]], ids=str)
    def test_weights_that_are_no_weights(self, weights: list[float]) -> None:
        with pytest.raises(ValueError, match=re.escape(f"finite, not negative and not all zero, got {weights}")):
            Mixture([nda.Jigsaw(), nda.Stitch()], weights)

    def test_a_size_that_a_member_refuses_is_refused_whoever_is_chosen(self) -> None:
        mixture = Mixture([nda.Cutout(), nda.Jigsaw((2, 2))], [1, 1e-9])
        with pytest.raises(ValueError, match=r"grid=\(2, 2\) does not divide"):
            mixture(torch.rand(4, 3, 8, 7))

    def test_a_number_of_channels_that_a_member_refuses(self) -> None:
        mixture = Mixture([nda.Cutout(), nda.RandomFieldColor()], [1, 1e-9])
        with pytest.raises(ValueError, match="3 channels"):
            mixture(torch.rand(4, 1, 8, 8))


def test_its_text() -> None:
    mixture = Mixture([nda.Jigsaw((3, 3)), nda.Stitch()], [2, 0.5])
    assert str(mixture) == "jigsaw(grid=3x3):2,stitch:0.5"
    assert "transforms=[Jigsaw(grid=(3, 3)" in repr(mixture)
    assert "weights=(2.0, 0.5)" in repr(mixture)
    assert str(Mixture([mixture, nda.Cutout()])) == "(jigsaw(grid=3x3):2,stitch:0.5),cutout"


def test_device_and_state_travel_with_the_members() -> None:
    mixture = Mixture(members())
    assert len(list(mixture.modules())) == 7  # the mixture, its list, five members
    assert mixture.state_dict() == {}
    assert mixture.train(False).members[0].training is False


@pytest.mark.parametrize("pool", [None, torch.rand(4, 3, 64, 64)], ids=["batch", "pool"])
def test_a_mixture_of_one_is_that_one(pool: Tensor | None) -> None:
    """Without a copy of the batch into a group and back."""
    images = torch.rand(6, 3, 64, 64)
    mixture = Mixture([Mixture([CutMix()])])
    negatives = mixture(images, pool=pool)
    own = {name.removeprefix("0.0."): value for name, value in mixture._params.items() if name.startswith("0.0.")}
    assert torch.equal(negatives, CutMix().transform(images, own))
    assert peak_bytes(lambda: mixture(images, pool=pool)) < 2 * images.nbytes


@pytest.mark.parametrize("batch", [12, 40, 200])
@pytest.mark.parametrize("shared", ["none", "inner", "all"])
def test_groups_of_fixed_size_hold_a_nested_mixture(monkeypatch: pytest.MonkeyPatch, batch: int, shared: str) -> None:
    """Of the images that the outer mixture picks out, more than their share may have chosen one inner transform."""
    inner = Mixture([nda.Jigsaw(), nda.Flip(), nda.Roll(), nda.Cutout()], same_on_batch=shared == "inner")
    mixture = Mixture([inner, nda.Rotate90(), Mixture([nda.CutPerm(), nda.Jigsaw()])], same_on_batch=shared == "all")
    images = distinct((batch, 1, 8, 8))
    for seed in range(8):
        negatives = mixture(images, generator=generator(seed))
        params = dict(mixture._params)
        with monkeypatch.context() as patch:
            patch.setattr(torch.compiler, "is_compiling", lambda: True)
            assert_same_pixels(mixture(images, params=params), negatives)


def test_what_is_skipped_is_not_computed() -> None:
    counting = [Counting() for _ in range(2)]
    mixture = Mixture(counting, p=0.5)
    images = distinct((40, 1, 2, 2)) + 1
    negatives = mixture(images, generator=generator(0))
    applied = mixture._params["batch_prob"]
    assert 0 < applied.sum() < 40
    assert torch.equal(negatives, torch.where(applied.view(-1, 1, 1, 1), -images, images))
    assert sum(sum(member.counts) for member in counting) == applied.sum()


def test_a_mixture_of_one_is_the_one() -> None:
    images = distinct((6, 3, 8, 8))
    for p in (1.0, 0.5):
        mixture = Mixture([nda.Jigsaw()], p=p)
        negatives = mixture(images, generator=generator(0))
        alone = nda.Jigsaw(p=p)(images, params={"permutation": mixture._params["0.permutation"], **mixture._params})
        assert torch.equal(negatives, alone)


def test_classes_of_a_pool_reach_the_members() -> None:
    mixture = Mixture([nda.Jigsaw(), Mixture([nda.Stitch(partner="same_class"), nda.CutMix(partner="other_class")])])
    labels, pool_labels = torch.arange(40) % 2, torch.tensor([1, 0, 0, 1])
    params = mixture.draw(
        (40, 3, 8, 8), generator=generator(0), pool=distinct((4, 3, 8, 8)), labels=labels, pool_labels=pool_labels
    )
    assert torch.equal(pool_labels[params["1.0.partners"]], labels)
    assert torch.equal(pool_labels[params["1.1.partners"]], 1 - labels)


def test_it_takes_the_channels_that_its_members_take() -> None:
    assert Mixture([nda.Jigsaw(), nda.RandomFieldColor()]).channels == 3
    assert Mixture(members()).channels is None


@pytest.mark.parametrize(
    ("p", "name", "value", "message"),
    [
        (1.0, "choice", torch.tensor([0, 1, 4]), "choice must be from 0 to 3, got values from 0 to 4"),
        (1.0, "choice", torch.tensor([0, 1]), r"choice must have shape \(3,\)"),
        (0.5, "batch_prob", torch.tensor([True]), r"batch_prob must have shape \(3,\)"),
    ],
)
def test_choices_that_cannot_be_are_named(p: float, name: str, value: torch.Tensor, message: str) -> None:
    """Images that no member is chosen for would be nobody's to write."""
    images, mixture = distinct((3, 3, 8, 8)), Mixture([nda.Jigsaw(), nda.Stitch(), nda.Cutout(), nda.Mixup()], p=p)
    mixture(images, generator=generator(0))
    with pytest.raises(ValueError, match=message):
        mixture(images, params={**mixture._params, name: value})


@pytest.mark.parametrize("p", [1.0, 0.5])
@pytest.mark.parametrize("member", [nda.Stitch, nda.CutMix, nda.Mixup, lambda: Mixture([nda.CutMix()])])
@pytest.mark.parametrize("others", [[], [nda.Jigsaw]], ids=["alone", "among others"])
def test_one_member_borrows_from_the_pool(member, others: list[type[NegativeTransform]], p: float) -> None:
    mixture = Mixture([member(), *(other() for other in others)], p=p)
    negatives = mixture(torch.zeros(24, 3, 8, 8), pool=torch.ones(90, 3, 8, 8), generator=generator(0))
    params = mixture._params
    changed = (params["choice"] == 0) & params.get("batch_prob", torch.ones(24, dtype=torch.bool))
    assert changed.any()
    assert torch.equal(negatives.flatten(1).any(dim=1), changed)


@pytest.mark.parametrize("pool", [torch.rand(4, 3, 16, 16), torch.rand(4, 3, 8, 8, dtype=torch.float64)])
@pytest.mark.parametrize(
    "module", [nda.CutMix(p=0.9), Mixture([nda.Mixup(), nda.Jigsaw()]), Mixture([nda.Stitch()], p=0.9)]
)
def test_a_replay_with_a_pool_of_other_images_is_named(module: NegativeTransform, pool: torch.Tensor) -> None:
    images = torch.rand(4, 3, 8, 8)
    module(images, pool=images, generator=generator(0))
    others = {name: pool if name.endswith("pool") else value for name, value in module._params.items()}
    with pytest.raises(ValueError, match="pool must hold images of shape"):
        module(images, params=others)


@pytest.mark.parametrize("parent", [nda.CutMix, nda.Cutout, nda.Jigsaw, nda.Mixup, nda.Stitch])
def test_a_kernel_of_ones_own_is_used_everywhere(parent: type[NegativeTransform]) -> None:
    class Dark(parent):  # type: ignore[misc, valid-type]  # one of several
        def transform(self, images: torch.Tensor, params: Params) -> torch.Tensor:
            return super().transform(images, params) * 0

    images = torch.rand(6, 3, 48, 48) + 1
    for module in (Dark(p=0.5), Mixture([Dark(), nda.Rotate90()]), Mixture([Dark(), nda.Jigsaw()], p=0.8)):
        negatives = module(images, generator=generator(0))
        params = module._params
        dark = params.get("choice", torch.zeros(6)) == 0
        dark &= params.get("batch_prob", torch.ones(6, dtype=torch.bool))
        assert dark.any()
        assert torch.equal(negatives.flatten(1).amax(dim=1) == 0, dark)
