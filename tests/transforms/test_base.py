"""What all negatives share: their arguments, their text, and what they refuse."""

import copy
import inspect
import math
import re
from pathlib import Path
from typing import Any

import pytest
import torch

import nda_augment as nda
from nda_augment.transforms import LayoutWarning, NegativeTransform
from tests.cases import CASES, REGISTERED, Case, apply, distinct, draw, generator, labels_for, on_meta, pool_for

each_entry = pytest.mark.parametrize("case", REGISTERED, ids=str)
each_case = pytest.mark.parametrize("case", CASES, ids=str)


class TestConstructors:
    @each_entry
    @pytest.mark.parametrize("p", [-0.1, 1.5, math.nan, math.inf])
    def test_p_is_a_probability(self, case: Case, p: float) -> None:
        with pytest.raises(ValueError, match=rf"p must be a probability in \[0, 1\], got {p}"):
            type(case.module)(p=p)

    @each_entry
    def test_unknown_arguments_are_refused(self, case: Case) -> None:
        with pytest.raises(TypeError, match="probability"):
            type(case.module)(probability=1.0)

    @each_entry
    def test_defaults_are_the_arguments_of_a_new_one(self, case: Case) -> None:
        cls = type(case.module)
        assert case.module.arguments() == cls.defaults() == cls(**cls.defaults()).arguments()
        assert {"p", "same_on_batch", "keepdim"} <= set(cls.defaults())

    @each_entry
    def test_every_argument_is_documented(self, case: Case) -> None:
        documentation = inspect.getdoc(type(case.module)) or ""
        documented, _, rest = documentation.partition("**common:")
        shared = rest[: rest.index("\n\n")]
        for name in case.module.arguments():
            assert f"\n    {name}: " in documented or f"``{name}``" in shared, name
        for section in ("Args:", "Shape:", "Example:", "Source:"):
            assert section in documentation

    @each_entry
    def test_what_is_not_a_number_is_refused(self, case: Case) -> None:
        for name, default in case.module.arguments().items():
            parts = default if isinstance(default, tuple) else (default,)
            if all(isinstance(part, float) for part in parts):
                with pytest.raises(ValueError, match=rf"{name} must be .*nan"):
                    type(case.module)(**{name: math.nan})

    @each_entry
    @pytest.mark.parametrize("name", ["same_on_batch", "keepdim"])
    def test_a_flag_that_is_none_is_named(self, case: Case, name: str) -> None:
        with pytest.raises(ValueError, match=f"^{name} must be True or False, got 1"):
            type(case.module)(**{name: 1})


class TestText:
    @each_case
    def test_repr_makes_an_equal_one(self, case: Case) -> None:
        if not hasattr(nda, type(case.module).__name__):
            pytest.skip("a preset's own class is not public")
        twin = eval(repr(case.module), vars(nda))
        assert repr(twin) == repr(case.module)
        assert str(twin) == str(case.module)

    @each_case
    def test_str_is_its_policy(self, case: Case) -> None:
        if not hasattr(nda, type(case.module).__name__):
            pytest.skip("a preset's own class has no policy word")
        if isinstance(case.module, nda.Random):
            pytest.skip("a row of other negatives than the default ones has no policy")
        (member,) = nda.from_policy(f"({case.module})").members
        while isinstance(member, nda.Mixture) and not isinstance(case.module, nda.Mixture):
            (member,) = member.members
        assert repr(member) == repr(case.module)

    @each_entry
    def test_str_of_the_default_is_the_word(self, case: Case) -> None:
        assert str(case.module) == case.name


class TestCalls:
    @each_case
    def test_keepdim_says_whether_a_single_image_becomes_a_batch(self, case: Case) -> None:
        if case.module.needs_clips or case.module.needs_labels:
            pytest.skip("neither clips nor labelled images come without a batch")
        image = case.images(1)[0]
        for keepdim, shape in ((True, image.shape), (False, (1, *image.shape))):
            module = case.make()
            module.keepdim = keepdim
            assert apply(module, image, pool=pool_for(module, image[None])).shape == shape

    @each_case
    def test_labels_are_asked_for_exactly_where_they_are_used(self, case: Case) -> None:
        module, images = case.make(), case.images(4)
        labels = torch.tensor([0, 1, 0, 1])
        if module.needs_labels:
            with pytest.raises(ValueError, match="labels="):
                module(images)
            with pytest.raises(ValueError, match=r"labels must have shape \(4,\).*got \(3,\)"):
                module(images, labels=labels[:3])
            with pytest.raises(ValueError, match="pool, labels and pool_labels together"):
                module(images, labels=labels, pool=images)
        else:
            with pytest.raises(ValueError, match="no use for labels"):
                module(images, labels=labels)

    @each_case
    def test_a_draw_without_applying_is_the_draw_of_a_call(self, case: Case) -> None:
        module, images = case.make(), case.images()
        negatives = apply(module, images, seed=5)
        drawn = module.draw(images.shape, generator=generator(5), **labels_for(module, images))
        assert list(drawn) == list(module._params)
        assert torch.equal(module(images, params=drawn), negatives)

    @each_case
    def test_one_draw_serves_other_images_of_the_same_shape(self, case: Case) -> None:
        """What is drawn depends on the shape alone: pairs of images and their segmentations can share it."""
        module, images = case.make(), case.images()
        apply(module, images)
        other = distinct(tuple(images.shape), seed=9)
        expected = case.make().transform(other, module._params)
        assert torch.equal(module(other, params=module._params), expected)

    @each_case
    def test_draws_are_made_where_they_are_asked_for(self, case: Case) -> None:
        module, images = case.make(), case.images()
        labels = {name: value.to("meta") for name, value in labels_for(module, images).items()}
        pool = None if pool_for(module, images) is None else images.to("meta")
        with on_meta():
            module(images.to("meta"), **labels)
            drawn = module.draw(images.shape, device="meta", **labels)
        assert {value.device.type for value in [*module._params.values(), *drawn.values()]} <= {"meta"}
        assert list(drawn) == list(module._params)
        if pool is not None and not labels:
            module(images.to("meta"), pool=pool)
            assert {value.device.type for value in module._params.values()} == {"meta"}

    @each_case
    def test_a_probability_of_one_heeds_no_coins(self, case: Case) -> None:
        module, images = case.make(), case.images()
        params = draw(module, images, seed=0) | {"batch_prob": torch.zeros(len(images), dtype=torch.bool)}
        negatives = module(images, params=params)
        assert not (negatives == images).flatten(1).all(dim=1).any()


class Nothing(NegativeTransform):
    """A negative that has not said what it does."""


def test_the_base_is_abstract() -> None:
    with pytest.raises((NotImplementedError, AttributeError, TypeError)):
        Nothing()(torch.rand(2, 3, 4, 4))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"params": torch.Generator()}, "params must be a draw, as recorded in _params, got Generator"),
        ({"generator": 0}, r"generator must be a torch.Generator, such as .*manual_seed\(0\), got int"),
    ],
    ids=["params", "generator"],
)
def test_what_is_no_draw_and_no_generator_is_named(options: dict[str, Any], message: str) -> None:
    with pytest.raises(TypeError, match=message):
        nda.Jigsaw()(torch.rand(2, 3, 4, 4), **options)


def test_a_draw_of_another_negative_is_told_what_it_holds() -> None:
    images = torch.rand(2, 3, 4, 4)
    for params, held in (({"turns": torch.ones(2), "axis": torch.ones(2)}, "turns, axis"), ({}, "nothing")):
        with pytest.raises(ValueError, match=f"^params hold no 'permutation' for Jigsaw, they hold {held}; a draw to"):
            nda.Jigsaw()(images, params=params)


@pytest.mark.parametrize("shape", [(4,), (1, 1, 2, 3, 4, 4)], ids=str)
def test_what_is_no_image_is_told_what_one_is(shape: tuple[int, ...]) -> None:
    message = f"images must be (H, W), (C, H, W), (B, C, H, W) or clips (B, T, C, H, W), got shape {shape}"
    with pytest.raises(ValueError, match="^" + re.escape(message)):
        nda.Flip()(torch.rand(shape))


def test_labels_in_the_place_of_a_draw_are_led_to_their_name() -> None:
    with pytest.raises(TypeError, match="got Tensor; pass labels by name, labels="):
        nda.Stitch(partner="other_class")(torch.rand(2, 3, 4, 4), torch.arange(2))


def test_arrays_are_led_to_the_adapters() -> None:
    with pytest.raises(TypeError, match="got ndarray; PIL images and arrays are for the adapters"):
        nda.Jigsaw()(torch.rand(2, 3, 4, 4).numpy())


def test_an_image_of_one_line_has_no_other_side() -> None:
    row = torch.rand(2, 3, 1, 4)
    assert nda.Flip(direction="horizontal")(row).shape == row.shape
    with pytest.raises(ValueError, match="1x4 px has only one line to reflect with direction='vertical'"):
        nda.Flip()(row)
    with pytest.raises(ValueError, match="1x1 px looks the same from all sides"):
        nda.Rotate90()(row[..., :1])
    assert nda.Rotate90()(row).shape == row.shape


class TestShapes:
    """What looks like another order of axes is said, once, and done all the same."""

    @pytest.mark.parametrize("shape", [(4, 24, 24, 3), (24, 24, 3), (24, 24, 1), (2, 5, 24, 24, 3)], ids=str)
    def test_channels_last_in_the_shape(self, shape: tuple[int, ...]) -> None:
        images = torch.rand(shape)
        for module in (nda.Turn(2), nda.Flip(), nda.Mixture([nda.Flip()])):
            with pytest.warns(LayoutWarning, match=r"\(\.\.\., C, H, W\).*images.movedim\(-1, -3\)"):
                negatives = module(images)
            assert negatives.shape == images.shape
        nda.Flip()(images.movedim(-1, -3))

    def test_frames_behind_channels(self) -> None:
        clips = torch.rand(2, 3, 8, 16, 16)
        for module in (nda.FrameReverse(), nda.FrameShuffle(), nda.ClipStitch()):
            with pytest.warns(LayoutWarning, match=r"\(B, T, C, H, W\).*clips.transpose\(1, 2\)"):
                module(clips)
            module(clips.transpose(1, 2))

    @pytest.mark.parametrize(
        ("shape", "view"), [((4, 784), (-1, 1, 28, 28)), ((128, 784), (-1, 1, 28, 28)), ((64, 3072), (-1, 3, 32, 32))]
    )
    def test_a_flattened_batch(self, shape: tuple[int, int], view: tuple[int, ...]) -> None:
        images = torch.rand(shape)
        with pytest.warns(
            LayoutWarning,
            match=re.escape(f"one image (H, W); if the axes are in another order, pass images.view{view}"),
        ):
            nda.Flip()(images)
        nda.Flip()(images.view(view))

    @pytest.mark.parametrize(
        "shape",
        [(4, 3, 24, 24), (4, 24, 24, 24), (4, 64, 4, 4), (4, 13, 64, 5), (2, 3, 3, 8, 8), (64, 64), (4, 9), (480, 784)],
    )
    def test_others_are_taken_without_a_word(self, shape: tuple[int, ...]) -> None:
        nda.Flip()(torch.rand(shape))


class TestSingleFractions:
    """A single fraction is rounded to the nearest pixel, at least 1, and never to the whole side unless it is 1."""

    @pytest.mark.parametrize("side", [28, 32, 33, 56, 224, 512])
    @pytest.mark.parametrize("fraction", [0.1, 0.15, 0.3, 0.5, 0.7, 0.9, 0.99])
    def test_are_taken_at_any_size(self, side: int, fraction: float) -> None:
        pixels = min(math.floor(fraction * side + 0.5), side - 1)
        shape = (3, 1, side, side)
        for module in (nda.Cutout(side=fraction), nda.CutMix(side=fraction)):
            x0, y0, x1, y1 = module.draw(shape)["boxes"].unbind(1)
            assert torch.equal(x1 - x0, torch.full((3,), pixels))
            assert torch.equal(y1 - y0, torch.full((3,), pixels))
        assert torch.equal(nda.Roll(shift=fraction).draw(shape)["shifts"], torch.full((3, 2), pixels))
        images = distinct(shape)
        for module in (nda.PatchTile(side=fraction), nda.TextureResample(side=fraction), nda.Roll(shift=fraction)):
            assert (module(images) != images).flatten(1).any(dim=1).all()

    def test_a_box_of_one_pixel_is_not_its_own_mean(self) -> None:
        with pytest.raises(ValueError, match="can be a single pixel"):
            nda.Cutout(side=0.3)(torch.rand(2, 1, 4, 4))
        assert nda.Cutout(side=0.3, fill="zero").draw((1, 1, 4, 4))["boxes"].diff(dim=1).shape == (1, 3)


def test_a_recorded_pool_holds_no_graph() -> None:
    pool = (torch.rand(3, 3, 8, 8, requires_grad=True) * 2).requires_grad_()
    stitch, images = nda.Stitch(), torch.rand(4, 3, 8, 8)
    negatives = stitch(images, pool=pool)
    assert negatives.requires_grad
    assert not stitch._params["pool"].requires_grad
    twin = copy.deepcopy(stitch)
    assert torch.equal(twin(images, params=twin._params), negatives)


class Recording(NegativeTransform):
    """Notes the types that its kernel is given."""

    moves_values = True
    uses_partners = True

    def make_params(self, shape: tuple[int, ...], **source: Any) -> dict[str, torch.Tensor]:
        return {}

    def transform(self, images: torch.Tensor, params: dict[str, torch.Tensor]) -> torch.Tensor:
        self.seen = images.dtype
        return images.flip(-1)


@pytest.mark.parametrize("dtype", [torch.uint16, torch.uint32, torch.uint64, torch.uint8, torch.int32, torch.bool])
def test_kernels_are_spared_unsigned_types_that_torch_hardly_moves(dtype: torch.dtype) -> None:
    module, images = Recording(), torch.tensor([[0, 1]], dtype=dtype)
    negatives = module(images)
    assert negatives.dtype == dtype
    assert negatives.tolist() == [[1, 0]]  # True and False are 1 and 0
    signed = {torch.uint16: torch.int16, torch.uint32: torch.int32, torch.uint64: torch.int64}
    assert module.seen == signed.get(dtype, dtype)


def test_a_pool_is_of_the_type_that_was_given_not_of_its_bits() -> None:
    images = torch.ones(2, 3, 4, 4, dtype=torch.int16)
    nda.Stitch()(images.view(torch.uint16), pool=images.view(torch.uint16))
    with pytest.raises(ValueError, match=r"pool must hold images of .* torch.uint16 on cpu, got .* torch.int16"):
        nda.Stitch()(images.view(torch.uint16), pool=images)


def test_what_is_left_of_a_region_is_the_images_own() -> None:
    _, shares = nda.Cutout(side=0.5)(torch.rand(3, 3, 8, 12), return_weight=True)
    assert shares.tolist() == [0.75] * 3


def test_other_class_names_what_it_is_given() -> None:
    with pytest.raises(ValueError, match="num_classes must be a whole number from 2 on, got ''"):
        nda.OtherClass("")  # type: ignore[arg-type]
    other = nda.OtherClass(3)
    with pytest.raises(TypeError, match="labels must be an int64 tensor"):
        other([0, 1])  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="params hold no 'offsets' for OtherClass, they hold permutation"):
        other(torch.tensor([0]), params={"permutation": torch.zeros(1)})


def test_kornias_entry_points_lead_to_the_kernel() -> None:
    jigsaw, images = nda.Jigsaw(), torch.rand(4, 3, 8, 8)
    params = jigsaw.forward_parameters(images.shape)
    assert set(params) == {"permutation", "batch_prob", "forward_input_shape"}
    assert set(jigsaw.generate_parameters(images.shape)) == {"permutation"}
    expected = nda.functional.jigsaw(images, params["permutation"], (2, 2))
    assert torch.equal(jigsaw(images, params=params), expected)
    assert torch.equal(jigsaw.apply_transform(images, params), expected)
    assert torch.equal(jigsaw.transform_inputs(images, params), expected)
    assert torch.equal(jigsaw.transform_matrix, torch.eye(3).expand(4, 3, 3))


@pytest.mark.parametrize("p", [1.0, 0.5])
def test_kornias_containers_get_a_coin_per_image_and_the_shape(p: float) -> None:
    params = nda.Jigsaw(p=p).forward_parameters((6, 3, 8, 8))
    assert params["forward_input_shape"].tolist() == [6, 3, 8, 8]
    coins = params["batch_prob"]
    assert (coins.shape, coins.dtype) == ((6,), torch.bool)
    assert coins.all() == (p == 1.0)


def test_kornias_containers_get_draws_from_where_the_module_is() -> None:
    module = nda.Jigsaw().to("meta")
    drawn = module.forward_parameters((6, 3, 8, 8))
    assert (drawn["permutation"].device.type, drawn["batch_prob"].device.type) == ("meta", "meta")
    assert module.generate_parameters((6, 3, 8, 8))["permutation"].device.type == "meta"


def test_kornias_containers_get_one_draw_for_all_if_told() -> None:
    roll = nda.Roll(same_on_batch=True)
    for drawn in (roll.generate_parameters((9, 3, 16, 16)), roll.forward_parameters((9, 3, 16, 16))):
        shifts = drawn["shifts"]
        assert torch.equal(shifts, shifts[:1].expand(9, 2))


def test_no_private_name_of_kornia_is_imported() -> None:
    package = Path(nda.__file__).parent
    private = re.compile(r"^\s*(?:from|import) kornia\S*?\._|^\s*from kornia\S* import .*\b_", re.MULTILINE)
    for file in package.rglob("*.py"):
        assert not private.search(file.read_text()), file


@pytest.mark.parametrize("negative", [nda.Jigsaw, nda.CutMix, nda.Sobel])
def test_coins_of_another_batch_are_named(negative: type[NegativeTransform]) -> None:
    module, images = negative(p=0.5), distinct((3, 3, 8, 8))
    module(images, generator=generator(0))
    with pytest.raises(ValueError, match=r"batch_prob must have shape \(3,\)"):
        module(images, params={**module._params, "batch_prob": torch.tensor([True])})
