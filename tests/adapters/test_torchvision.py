import pickle
import re
import sys
from collections import Counter, OrderedDict, namedtuple
from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from torch import Tensor
from torch.utils.data import IterableDataset, TensorDataset, default_collate
from torchvision import transforms as classic
from torchvision import tv_tensors
from torchvision.transforms import v2

import nda_augment as nda
from nda_augment.adapters.torchvision import (
    NegativeCollate,
    NegativeDataset,
    NegativeTransform,
    WithNegative,
)
from nda_augment.transforms import NegativeTransform as CoreTransform
from tests.adapters.pictures import CLIP_NEGATIVES, IMAGE_NEGATIVES, SIZE, distinct, name_of

KINDS = ["PIL", "Image", "Image batch", "Video", "tensor", "tensor batch", "tensor clips"]
# PIL images of three channels are bytes.
KINDS_AND_DTYPES = [
    (kind, dtype) for kind in KINDS for dtype in (torch.uint8, torch.float32) if (kind, dtype) != ("PIL", torch.float32)
]


def make_kind(kind: str, negative: type[CoreTransform], dtype: torch.dtype) -> Any:
    """Return a picture of a kind, or four of them where the kind holds several."""
    channels = negative.channels or 3
    one = distinct(channels, *SIZE, dtype=dtype)
    several = distinct(4, channels, *SIZE, dtype=dtype)
    match kind:
        case "PIL":
            return v2.functional.to_pil_image(one)
        case "Image":
            return tv_tensors.Image(one)
        case "Image batch":
            return tv_tensors.Image(several)
        case "Video":
            return tv_tensors.Video(several)
        case "tensor":
            return one
        case "tensor batch":
            return several
    return several.unflatten(0, (2, 2))


def make_transform(negative: type[CoreTransform], image: Any) -> NegativeTransform:
    """Return the adapter of a negative, with a pool of two images if it borrows."""
    if not negative.uses_partners:
        return NegativeTransform(negative())
    pixels = as_pixels(image)
    single = 4 if is_clip(image) else 3
    alone = pixels if pixels.ndim == single else pixels[0]
    pool = [alone.flip(-1), alone.flip(-2)]
    return NegativeTransform(negative(), pool=[tv_tensors.Video(item) for item in pool] if is_clip(image) else pool)


def is_clip(image: Any) -> bool:
    return isinstance(image, tv_tensors.Video) or (isinstance(image, Tensor) and image.ndim == 5)


def as_pixels(image: Any) -> Tensor:
    return v2.functional.pil_to_tensor(image) if isinstance(image, Image.Image) else image.as_subclass(Tensor)


def seeded(transform: Any, *inputs: Any, seed: int = 0) -> Any:
    torch.manual_seed(seed)
    return transform(*inputs)


def constant(value: float, size: int = 8) -> Tensor:
    return torch.full((3, size, size), float(value))


class Counting:
    """A data set that counts which of its items are read."""

    def __init__(self, items: list[Any]) -> None:
        self.items = items
        self.read: Counter[int] = Counter()

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> Any:
        self.read[index] += 1
        return self.items[index]


class Stream(IterableDataset[Tensor]):
    """A data set without items by number."""

    def __iter__(self) -> Iterator[Tensor]:
        yield constant(0)


class NeedsLabels(nda.Jigsaw):
    """A negative that is told the classes, and remembers them."""

    needs_labels = True

    def forward(self, *args: Any, labels: Tensor | None = None, **kwargs: Any) -> Any:
        self.told = labels
        self.needs_labels = False  # the core would now want to use them
        try:
            return super().forward(*args, **kwargs)
        finally:
            self.needs_labels = True


class TestKinds:
    @pytest.mark.parametrize(("kind", "dtype"), KINDS_AND_DTYPES)
    @pytest.mark.parametrize("negative", IMAGE_NEGATIVES, ids=name_of)
    def test_every_negative_returns_the_kind_it_is_given(
        self, negative: type[CoreTransform], kind: str, dtype: torch.dtype
    ) -> None:
        image = make_kind(kind, negative, dtype)
        before = as_pixels(image).clone()
        result = make_transform(negative, image)(image)
        assert type(result) is type(image)
        if kind == "PIL":
            assert (result.mode, result.size) == (image.mode, image.size)
        else:
            assert (result.shape, result.dtype, result.device) == (image.shape, image.dtype, image.device)
        assert torch.equal(as_pixels(image), before)
        assert not torch.equal(as_pixels(result), before)

    @given(
        shape=st.tuples(st.sampled_from([1, 3, 4]), st.integers(2, 9), st.integers(2, 9)), seed=st.integers(0, 2**31)
    )
    def test_kinds_agree_on_the_pixels(self, shape: tuple[int, int, int], seed: int) -> None:
        pixels, partner = (distinct(*shape, seed=seed + k, dtype=torch.uint8) for k in range(2))
        transform = NegativeTransform(nda.Stitch(), pool=[partner])
        expected = seeded(transform, pixels, seed=seed)
        kinds = [v2.functional.to_pil_image(pixels), tv_tensors.Image(pixels), tv_tensors.Video(pixels[None])]
        for image in kinds:
            pool = [tv_tensors.Video(partner[None])] if is_clip(image) else [partner]
            negative = seeded(NegativeTransform(nda.Stitch(), pool), image, seed=seed)
            assert torch.equal(as_pixels(negative).view(shape), expected)

    def test_pixels_are_those_of_the_core(self) -> None:
        image = distinct(3, 8, 8)
        negative = NegativeTransform(nda.Jigsaw(grid=(2, 2)))(image)
        cells = [image[:, y : y + 4, x : x + 4] for y in (0, 4) for x in (0, 4)]
        found = [negative[:, y : y + 4, x : x + 4] for y in (0, 4) for x in (0, 4)]
        order = [next(k for k, cell in enumerate(cells) if torch.equal(cell, other)) for other in found]
        assert sorted(order) == [0, 1, 2, 3]
        assert order != [0, 1, 2, 3]

    @pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA", "CMYK", "YCbCr", "HSV", "F"])
    def test_pil_modes_are_kept(self, mode: str) -> None:
        image = v2.functional.to_pil_image(distinct(3, 8, 8, dtype=torch.uint8))
        image = image.convert("L").convert(mode) if mode in ("LA", "F") else image.convert(mode)
        negative = NegativeTransform(nda.Jigsaw())(image)
        assert (negative.mode, negative.size) == (mode, (8, 8))

    @pytest.mark.parametrize(("mode", "to"), [("P", "RGB"), ("1", "L"), ("PA", "RGBA")])
    def test_pil_modes_that_are_no_colours_are_refused(self, mode: str, to: str) -> None:
        image = Image.new(mode, (8, 8))
        with pytest.raises(TypeError, match=rf'\'{mode}\'; convert it first: image.convert\("{to}"\)'):
            NegativeTransform(nda.Jigsaw())(image)
        NegativeTransform(nda.Jigsaw())(image.convert(to))

    @pytest.mark.parametrize("mode", ["I;16", "I"])
    def test_sixteen_bits_are_to_be_scaled_not_converted(self, mode: str) -> None:
        image = Image.fromarray(np.array([[0, 20000], [40000, 65535]], np.uint16)).convert(mode)
        with pytest.raises(TypeError, match=rf"\'{mode}\'.*would make nearly all pixels 255. Scale it first") as error:
            NegativeTransform(nda.Jigsaw())(image)
        advice = re.search(r"torch\.from_numpy.*?\[None\]", str(error.value))[0]
        scaled = eval(advice, {"torch": torch, "numpy": np, "image": image})
        assert (scaled.shape, scaled.dtype) == ((1, 2, 2), torch.float32)
        assert (scaled.min(), scaled.max(), len(scaled.unique())) == (0, 1, 4)
        NegativeTransform(nda.Jigsaw())(scaled)

    def test_more_batch_dimensions(self) -> None:
        images = tv_tensors.Image(distinct(1, 1, 3, 8, 8).expand(4, 8, 3, 8, 8))
        negatives = NegativeTransform(nda.Jigsaw(grid=4))(images)
        assert negatives.shape == images.shape
        assert len({tuple(image.flatten().tolist()) for image in negatives.flatten(0, 1)}) == 32
        videos = tv_tensors.Video(distinct(2, 3, 4, 3, 8, 8))
        assert NegativeTransform(nda.Jigsaw())(videos).shape == videos.shape

    def test_a_batch_may_be_empty(self) -> None:
        assert NegativeTransform(nda.Jigsaw())(torch.rand(0, 3, 8, 8)).shape == (0, 3, 8, 8)
        empty = tv_tensors.Video(torch.rand(0, 4, 3, 8, 8))
        assert NegativeTransform(nda.Jigsaw())(empty).shape == (0, 4, 3, 8, 8)

    @pytest.mark.parametrize("negative", CLIP_NEGATIVES, ids=name_of)
    def test_temporal_negatives_take_videos(self, negative: type[CoreTransform]) -> None:
        clip = make_kind("Video", negative, torch.float32)
        result = make_transform(negative, clip)(clip)
        assert isinstance(result, tv_tensors.Video)
        assert not torch.equal(result, clip)

    @pytest.mark.parametrize("negative", CLIP_NEGATIVES, ids=name_of)
    def test_temporal_negatives_are_for_collated_clips_and_data_sets_of_videos(
        self, negative: type[CoreTransform]
    ) -> None:
        clips = tv_tensors.Video(distinct(3, 4, 3, 8, 8))
        images, _, negatives = NegativeCollate(negative())([(clip.as_subclass(Tensor), 0) for clip in clips])
        assert (negatives != images).flatten(1).any(1).all()
        dataset = NegativeDataset([tv_tensors.Video(clip) for clip in images], negative())
        assert not torch.equal(dataset[4][0], dataset[1][0])

    def test_gradients_flow(self) -> None:
        image = torch.rand(3, 8, 8, requires_grad=True)
        NegativeTransform(nda.Jigsaw())(image).sum().backward()
        assert torch.equal(image.grad, torch.ones(3, 8, 8))

    @pytest.mark.parametrize(("shape", "channels"), [((8, 8, 3), 3), ((8, 8), 1)])
    def test_an_array_does_not_pass_for_its_own_negative(self, shape: tuple[int, ...], channels: int) -> None:
        array = np.zeros(shape, dtype=np.uint8)
        with pytest.raises(TypeError, match=r"of an array; put v2.ToImage\(\) before"):
            NegativeTransform(nda.Jigsaw())((array, 3))
        assert v2.Compose([v2.ToImage(), NegativeTransform(nda.Jigsaw())])(array).shape == (channels, 8, 8)
        assert NegativeTransform(nda.Jigsaw())({"image": constant(0), "mask": array})["mask"] is array

    def test_what_is_no_image_for_the_core_is_its_error(self) -> None:
        with pytest.raises(TypeError, match="int64"):
            NegativeTransform(nda.Cutout())(torch.zeros(3, 8, 8, dtype=torch.long))
        with pytest.raises(ValueError, match="does not divide"):
            NegativeTransform(nda.Jigsaw())(torch.zeros(3, 9, 8))


class TestDraws:
    def test_one_draw_per_image_of_a_batch(self) -> None:
        images = distinct(1, 3, 8, 8).expand(64, 3, 8, 8)
        negatives = NegativeTransform(nda.Jigsaw())(images)
        assert len({tuple(image.flatten().tolist()) for image in negatives}) > 10

    @pytest.mark.parametrize("wrap", [tv_tensors.Video, Tensor.clone], ids=["Video", "tensor"])
    def test_one_draw_per_clip(self, wrap: Any) -> None:
        clips = wrap(distinct(1, 1, 3, 8, 8).expand(32, 4, 3, 8, 8))
        negatives = NegativeTransform(nda.Jigsaw())(clips).as_subclass(Tensor)
        assert torch.equal(negatives, negatives[:, :1].expand_as(negatives))
        assert len({tuple(clip.flatten().tolist()) for clip in negatives}) > 5

    def test_a_video_alone_has_one_draw(self) -> None:
        frame = distinct(1, 3, 8, 8)
        negative = NegativeTransform(nda.Jigsaw())(tv_tensors.Video(frame.expand(16, 3, 8, 8))).as_subclass(Tensor)
        assert torch.equal(negative, negative[:1].expand_as(negative))
        assert not torch.equal(negative[:1], frame)

    def test_images_of_one_sample_share_a_draw(self) -> None:
        image = distinct(3, 8, 8)
        left, right = NegativeTransform(nda.Jigsaw(grid=4))([tv_tensors.Image(image), tv_tensors.Image(image)])
        assert torch.equal(left, right)

    def test_calls_draw_anew_and_repeat_under_a_seed(self) -> None:
        image = distinct(3, 8, 8)
        transform = NegativeTransform(nda.Jigsaw(grid=4))
        torch.manual_seed(3)
        first, second = transform(image), transform(image)
        assert not torch.equal(first, second)
        assert torch.equal(first, seeded(transform, image, seed=3))

    def test_probability_of_the_negative_holds(self) -> None:
        image = distinct(3, 8, 8)
        transform = NegativeTransform(nda.Jigsaw(p=0.3))
        changed = sum(not torch.equal(transform(image), image) for _ in range(400)) / 400
        assert abs(changed - 0.3) < 0.1  # four standard deviations

    def test_seeds_differ_over_all_their_range(self) -> None:
        seeds = torch.tensor([NegativeTransform(nda.Jigsaw()).make_params([])["seed"] for _ in range(1000)])
        assert seeds.min() >= 0
        assert seeds.max() < 2**32
        assert seeds.unique().numel() > 990
        assert abs(seeds.double().mean() / 2**32 - 0.5) < 0.04


class TestContainers:
    sample = namedtuple("sample", "image label")

    @pytest.mark.parametrize(
        "pack",
        [
            lambda image, rest: (image, *rest),
            lambda image, rest: [image, *rest],
            lambda image, rest: {"image": image, "rest": rest},
            lambda image, rest: OrderedDict(rest=rest, image=image),
            lambda image, rest: {"a": [{"deep": (image, rest[0])}], "b": rest[1:]},
            lambda image, rest: TestContainers.sample(image, rest),
        ],
        ids=["tuple", "list", "dict", "OrderedDict", "nested", "namedtuple"],
    )
    def test_structure_stays_and_the_rest_passes_by_identity(self, pack: Any) -> None:
        rest = [
            7,
            "name",
            None,
            object(),
            np.zeros(3),
            torch.tensor(3),
            tv_tensors.Mask(torch.zeros(8, 8)),
            tv_tensors.BoundingBoxes(torch.zeros(1, 4), format="XYXY", canvas_size=(8, 8)),
        ]
        image = tv_tensors.Image(distinct(3, 8, 8))
        sample = pack(image, rest)
        result = NegativeTransform(nda.Jigsaw())(sample)
        before, structure = torch.utils._pytree.tree_flatten(sample)
        after, structure_after = torch.utils._pytree.tree_flatten(result)
        assert structure_after == structure
        for old, new in zip(before, after, strict=True):
            if old is image:
                assert type(new) is tv_tensors.Image
                assert not torch.equal(new, image)
            else:
                assert new is old

    def test_several_inputs_come_back_as_several(self) -> None:
        image, mask = tv_tensors.Image(distinct(3, 8, 8)), tv_tensors.Mask(torch.zeros(8, 8))
        negative, same = NegativeTransform(nda.Jigsaw())(image, mask)
        assert same is mask
        assert not torch.equal(negative, image)

    def test_the_first_plain_tensor_is_the_image(self) -> None:
        first, second = distinct(3, 8, 8), distinct(3, 8, 8)
        negative, label, same = NegativeTransform(nda.Jigsaw())(first, 4, second)
        assert not torch.equal(negative, first)
        assert label == 4
        assert same is second

    @pytest.mark.parametrize("explicit", ["PIL", "Image", "Video"])
    def test_no_plain_tensor_is_an_image_beside_one_that_says_so(self, explicit: str) -> None:
        pixels = distinct(3, 8, 8, dtype=torch.uint8)
        image = {
            "PIL": v2.functional.to_pil_image(pixels),
            "Image": tv_tensors.Image(pixels),
            "Video": tv_tensors.Video(pixels[None]),
        }[explicit]
        tensor = distinct(3, 8, 8)
        same, _ = NegativeTransform(nda.Jigsaw())(tensor, image)
        assert same is tensor

    def test_a_sample_without_image_passes(self) -> None:
        mask = tv_tensors.Mask(torch.zeros(8, 8))
        assert NegativeTransform(nda.Jigsaw())({"mask": mask})["mask"] is mask

    def test_both_compositions(self) -> None:
        image = v2.functional.to_pil_image(distinct(3, 16, 16, dtype=torch.uint8))
        for compose, to_tensor in ((v2.Compose, v2.PILToTensor()), (classic.Compose, classic.PILToTensor())):
            before = compose([NegativeTransform(nda.Jigsaw()), to_tensor])
            after = compose([to_tensor, NegativeTransform(nda.Jigsaw())])
            assert torch.equal(seeded(before, image), seeded(after, image))

    def test_compositions_that_choose(self) -> None:
        image = distinct(3, 8, 8)
        negative = NegativeTransform(nda.Jigsaw())
        for chooser in (v2.RandomApply([negative], p=0.5), v2.RandomChoice([negative, v2.Identity()])):
            results = [torch.equal(chooser(image), image) for _ in range(40)]
            assert 5 < sum(results) < 35

    @pytest.mark.parametrize("negative", IMAGE_NEGATIVES, ids=name_of)
    def test_pickles(self, negative: type[CoreTransform]) -> None:
        image = make_kind("tensor", negative, torch.float32)
        transform = make_transform(negative, image)
        assert torch.equal(seeded(transform, image), seeded(pickle.loads(pickle.dumps(transform)), image))

    def test_representation_names_the_negative(self) -> None:
        assert "Jigsaw(grid=(3, 3)" in repr(v2.Compose([NegativeTransform(nda.Jigsaw(grid=3))]))


class TestPool:
    @pytest.mark.parametrize(
        "pool",
        [
            torch.stack([constant(1), constant(1)]),
            [constant(1)],
            [(constant(1), 5)],
            [{"label": 5, "image": tv_tensors.Image(constant(1))}],
            [(torch.tensor(5), tv_tensors.Image(constant(1)))],
            TensorDataset(torch.ones(3, 3, 8, 8), torch.arange(3)),
            partial(constant, 1),
            partial(torch.ones, 4, 3, 8, 8),
            partial(tuple, [constant(1), 5]),
        ],
        ids=[
            "tensor", "list", "tuples", "dicts", "image after tensor", "data set", "callable", "batch", "callable tuple"
        ],
    )  # fmt: skip
    def test_partners_come_from_the_pool(self, pool: Any) -> None:
        negative = NegativeTransform(nda.Stitch(), pool=pool)(constant(0))
        assert (negative == 0).sum() == (negative == 1).sum() == negative.numel() // 2

    def test_pil_images_borrow_from_pil_images(self) -> None:
        black, white = (Image.new("RGB", (8, 8), colour) for colour in ("black", "white"))
        negative = NegativeTransform(nda.Stitch(), pool=[(white, 0)])(black)
        assert sorted(Counter(as_pixels(negative).flatten().tolist()).items()) == [(0, 96), (255, 96)]

    def test_videos_borrow_from_videos(self) -> None:
        video = tv_tensors.Video(constant(0).expand(4, 3, 8, 8))
        pool = [tv_tensors.Video(constant(1).expand(4, 3, 8, 8))]
        negative = NegativeTransform(nda.Stitch(), pool)(video)
        assert (negative == 1).sum() == negative.numel() // 2

    def test_a_data_set_is_read_one_item_per_image(self) -> None:
        pool = Counting([constant(value) for value in range(100)])
        NegativeTransform(nda.Stitch(), pool)(constant(-1))
        assert pool.read.total() == 1
        NegativeTransform(nda.Stitch(), pool)(torch.zeros(5, 3, 8, 8))
        assert pool.read.total() == 6

    def test_every_item_is_borrowed_alike(self) -> None:
        pool = Counting([constant(value) for value in range(5)])
        transform = NegativeTransform(nda.Stitch(), pool)
        for _ in range(1000):
            transform(constant(-1))
        assert set(pool.read) == set(range(5))
        assert all(abs(count - 200) < 60 for count in pool.read.values())  # four standard deviations are 51

    def test_without_a_pool_a_single_image_is_an_error_that_says_so(self) -> None:
        with pytest.raises(ValueError, match="pool="):
            NegativeTransform(nda.Stitch())(constant(0))

    def test_without_a_pool_a_batch_borrows_from_itself(self) -> None:
        images = torch.stack([constant(value) for value in range(6)])
        negatives = NegativeTransform(nda.Stitch())(images)
        for number, negative in enumerate(negatives):
            values = set(negative.unique().tolist())
            assert len(values) == 2
            assert number in values

    def test_pools_that_make_no_sense(self) -> None:
        with pytest.raises(ValueError, match="borrows from no other image"):
            NegativeTransform(nda.Jigsaw(), pool=torch.zeros(2, 3, 8, 8))
        with pytest.raises(TypeError, match="got Stream"):
            NegativeTransform(nda.Stitch(), pool=Stream())
        with pytest.raises(ValueError, match="empty"):
            NegativeTransform(nda.Stitch(), pool=[])(constant(0))
        with pytest.raises(ValueError, match="pool must hold images of shape"):
            NegativeTransform(nda.Stitch(), pool=[constant(0, size=4)])(constant(0))
        with pytest.raises(ValueError, match="pool must hold images of shape"):
            NegativeTransform(nda.Stitch(), pool=[Image.new("RGB", (8, 8))])(constant(0))
        with pytest.raises(TypeError, match="no image"):
            NegativeTransform(nda.Stitch(), pool=["a.jpg"])(constant(0))

    def test_only_negatives_are_adapted(self) -> None:
        with pytest.raises(TypeError, match=r"nda_augment\.Jigsaw"):
            NegativeTransform(v2.RandomErasing())
        with pytest.raises(ValueError, match="NegativeCollate"):
            NegativeTransform(NeedsLabels())


class TestWithNegative:
    def test_the_image_comes_first_and_is_the_same(self) -> None:
        image = tv_tensors.Image(distinct(3, 8, 8))
        (same, negative), label = WithNegative(nda.Jigsaw())((image, 3))
        assert same is image
        assert label == 3
        assert type(negative) is tv_tensors.Image
        assert not torch.equal(negative, image)

    def test_the_negative_is_that_of_negative_transform(self) -> None:
        image = distinct(3, 8, 8)
        _, negative = seeded(WithNegative(nda.Stitch(), pool=[image.flip(-1)]), image)
        assert torch.equal(negative, seeded(NegativeTransform(nda.Stitch(), pool=[image.flip(-1)]), image))

    @pytest.mark.parametrize("shape", [(3, 8, 8), (4, 3, 8, 8), (2, 4, 3, 8, 8)], ids=["image", "batch", "clips"])
    def test_both_of_a_plain_tensor_go_through_the_rest_of_the_pipeline(self, shape: tuple[int, ...]) -> None:
        """Of several plain tensors v2 normalises the first only: the negative was then told at once."""
        plain = torch.rand(shape)
        rest = [v2.Normalize([0.5] * 3, [0.25] * 3), v2.CenterCrop(4)]
        (image, negative), label = v2.Compose([WithNegative(nda.Flip()), *rest])((plain, 3))
        assert label == 3
        assert torch.equal(image, v2.Compose(rest)(plain))
        assert torch.equal(negative, v2.Compose(rest)(plain.flip(-2)))

    def test_both_go_through_the_rest_of_the_pipeline(self) -> None:
        image = Image.new("RGB", (8, 8), "white")
        pipeline = v2.Compose([WithNegative(nda.Cutout(fill=0)), v2.ToImage(), v2.ToDtype(torch.float32, scale=True)])
        same, negative = pipeline(image)
        assert torch.equal(same, torch.ones(3, 8, 8))
        assert sorted(negative.unique().tolist()) == [0.0, 1.0]


class TestNegativeCollate:
    samples = tuple((constant(value), value) for value in range(6))

    def test_negatives_come_last(self) -> None:
        images, labels, negatives = NegativeCollate(nda.Stitch())(self.samples)
        assert torch.equal(images, torch.stack([image for image, _ in self.samples]))
        assert labels.tolist() == list(range(6))
        for number, negative in enumerate(negatives):
            values = set(negative.unique().tolist())
            assert len(values) == 2
            assert number in values

    def test_negatives_of_a_dictionary_have_a_key(self) -> None:
        batch = NegativeCollate(nda.Jigsaw())([{"image": distinct(3, 8, 8), "label": 1} for _ in range(3)])
        assert list(batch) == ["image", "label", "negative"]
        assert batch["negative"].shape == (3, 3, 8, 8)
        assert not torch.equal(batch["negative"], batch["image"])

    def test_keys_can_be_chosen(self) -> None:
        collate = NegativeCollate(nda.Jigsaw(), image_key="x", negative_key="y")
        assert list(collate([{"x": distinct(3, 8, 8)}])) == ["x", "y"]

    def test_a_bare_batch_becomes_a_pair(self) -> None:
        images, negatives = NegativeCollate(nda.Jigsaw())([distinct(3, 8, 8)] * 2)
        assert images.shape == negatives.shape == (2, 3, 8, 8)

    def test_another_collate_function(self) -> None:
        mixup = v2.CutMix(num_classes=6)
        _, labels, negatives = NegativeCollate(nda.Jigsaw(), lambda samples: mixup(*default_collate(samples)))(
            self.samples
        )
        assert labels.shape == (6, 6)
        assert negatives.shape == (6, 3, 8, 8)

    def test_one_image_needs_a_pool(self) -> None:
        with pytest.raises(ValueError, match="pool="):
            NegativeCollate(nda.Stitch())(self.samples[:1])
        _, _, negatives = NegativeCollate(nda.Stitch(), pool=[constant(7)])(self.samples[:1])
        assert negatives.unique().tolist() == [0, 7]

    def test_labels_go_to_negatives_that_need_them(self) -> None:
        transform = NeedsLabels()
        NegativeCollate(transform)(self.samples)
        assert transform.told.tolist() == list(range(6))
        NegativeCollate(transform, label_key="c")([{"image": image, "c": 2 * label} for image, label in self.samples])
        assert transform.told.tolist() == list(range(0, 12, 2))
        with pytest.raises(KeyError, match="no labels"):
            NegativeCollate(transform)([image for image, _ in self.samples])

    def test_batches_that_make_no_sense(self) -> None:
        with pytest.raises(KeyError, match=r"no images.*'picture'"):
            NegativeCollate(nda.Jigsaw())([{"picture": constant(0)}])
        with pytest.raises(KeyError, match="already"):
            NegativeCollate(nda.Jigsaw())([{"image": constant(0), "negative": 1}])
        with pytest.raises(TypeError, match="one tensor, got list"):
            NegativeCollate(nda.Jigsaw())([([constant(0)], 1)])
        with pytest.raises(TypeError, match=r"nda_augment\.Jigsaw"):
            NegativeCollate(v2.RandomErasing())
        with pytest.raises(ValueError, match="borrows from no other image"):
            NegativeCollate(nda.Jigsaw(), pool=[constant(0)])


class TestNegativeDataset:
    photos = tuple((constant(value), 3) for value in range(5))

    def test_real_images_then_their_negatives(self) -> None:
        dataset = NegativeDataset(self.photos, nda.Cutout(fill=-1))
        assert len(dataset) == 10
        for number, (image, label) in enumerate(dataset):
            assert label == number // 5
            assert set(image.unique().tolist()) == ({number} if label == 0 else {number - 5, -1})

    def test_indices_are_those_of_a_sequence(self) -> None:
        dataset = NegativeDataset(self.photos, nda.Jigsaw())
        assert torch.equal(dataset[-10][0], constant(0))
        assert dataset[-1][1] == 1
        for index in (10, -11):
            with pytest.raises(IndexError):
                dataset[index]

    def test_a_pair_negative_borrows_from_all_others_alike_and_never_from_its_own_image(self) -> None:
        dataset = NegativeDataset(self.photos, nda.Stitch())
        partners = Counter()
        for _ in range(800):
            values = set(dataset[7][0].unique().tolist())
            assert len(values) == 2
            partners[(values - {2}).pop()] += 1
        assert set(partners) == {0, 1, 3, 4}
        assert all(abs(count - 200) < 60 for count in partners.values())

    def test_two_items_per_negative_are_read(self) -> None:
        photos = Counting([constant(value) for value in range(50)])
        dataset = NegativeDataset(photos, nda.Stitch())
        dataset[3]
        assert photos.read == {3: 1}
        dataset[53]
        assert photos.read.total() == 3

    def test_a_seed_fixes_every_negative(self) -> None:
        photos = [(distinct(3, 8, 8, seed=value), 0) for value in range(20)]
        make = partial(NegativeDataset, photos, nda.Mixture([nda.Jigsaw(grid=4), nda.Stitch()]))
        first = [image for image, _ in make(seed=1)]
        backwards = [image for image, _ in reversed([make(seed=1)[index] for index in reversed(range(40))])]
        assert all(map(torch.equal, first, backwards))
        for other in (make(seed=2), make()):
            assert sum(map(torch.equal, first[20:], [image for image, _ in other][20:])) < 5

    def test_seeded_items_do_not_share_their_draws(self) -> None:
        image = distinct(3, 8, 8)
        dataset = NegativeDataset([image] * 40, nda.Jigsaw(grid=4), seed=0)
        assert len({tuple(dataset[index][0].flatten().tolist()) for index in range(40, 80)}) == 40

    def test_neighbouring_seeds_and_items_do_not_share_their_draws(self) -> None:
        first, second = (NegativeDataset([distinct(3, 8, 8)] * 40, nda.Jigsaw(grid=4), seed=seed) for seed in (0, 1))
        assert not any(torch.equal(first[index + 1][0], second[index][0]) for index in range(40, 79))

    def test_a_seed_leaves_the_global_generator_alone(self) -> None:
        dataset = NegativeDataset(self.photos, nda.Stitch(), seed=0)
        before = torch.get_rng_state()
        dataset[8]
        assert torch.equal(torch.get_rng_state(), before)

    def test_pil_images_stay_pil_images(self) -> None:
        dataset = NegativeDataset([(Image.new("RGB", (8, 8)), 1)], nda.Jigsaw())
        assert [type(image) for image, _ in dataset] == [Image.Image, Image.Image]

    def test_another_pool(self) -> None:
        dataset = NegativeDataset(self.photos, nda.Stitch(), pool=[constant(9)])
        assert dataset[5][0].unique().tolist() == [0, 9]

    def test_arguments_that_make_no_sense(self) -> None:
        with pytest.raises(TypeError, match="got Stream"):
            NegativeDataset(Stream(), nda.Jigsaw())
        with pytest.raises(ValueError, match="-1"):
            NegativeDataset(self.photos, nda.Jigsaw(), seed=-1)
        with pytest.raises(ValueError, match="borrows from no other image"):
            NegativeDataset(self.photos, nda.Jigsaw(), pool=[constant(0)])
        with pytest.raises(ValueError, match="NegativeCollate"):
            NegativeDataset(self.photos, NeedsLabels())
        with pytest.raises(ValueError, match="pool is empty"):
            NegativeDataset(self.photos[:1], nda.Stitch())[1]


class _Broken:
    """An import hook that breaks a library as a build that does not match torch does."""

    def __init__(self, library: str, error: Exception) -> None:
        self.library = library
        self.error = error

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> None:
        if name == self.library:
            raise self.error


@pytest.fixture
def unloaded(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """torchvision and its adapter as they are before the first import."""
    for name in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.delitem(sys.modules, "nda_augment.adapters.torchvision")
    return


@pytest.mark.usefixtures("unloaded")
@pytest.mark.parametrize(
    "error", [ImportError("no module"), RuntimeError("operator torchvision::nms does not exist"), OSError("libc10.so")]
)
def test_a_missing_or_broken_torchvision_is_an_error_that_names_the_fix(
    error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "meta_path", [_Broken("torchvision", error), *sys.meta_path])
    with pytest.raises(ImportError, match=r'pip install "nda-augment\[torchvision\]"') as caught:
        __import__("nda_augment.adapters.torchvision")
    assert str(error) in str(caught.value)
