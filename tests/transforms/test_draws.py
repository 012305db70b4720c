"""What every module draws, against its documented range: all values, none beyond, each as often as promised."""

import math
from collections.abc import Iterable
from pathlib import Path

import pytest
import torch
from torch import Tensor

import nda_augment as nda
from nda_augment.registry import NEGATIVES
from nda_augment.transforms import NegativeTransform
from nda_augment.transforms.base import Params
from tests.cases import generator, labels_for

DRAWS = 6000
SQUARE = (DRAWS, 3, 16, 16)
CLIPS = (DRAWS, 4, 3, 16, 16)


def drawn(module: NegativeTransform, shape: tuple[int, ...] = SQUARE, pool: Tensor | None = None) -> Params:
    return module.draw(shape, generator=generator(0), pool=pool, **labels_for(module, torch.empty(shape[0])))


def assert_even(values: Tensor, options: Iterable[object]) -> None:
    """All options occur, nothing else does, and each as often as the others, to five standard errors."""
    rows = [tuple(row) if isinstance(row, list) else row for row in values.tolist()]
    options = list(options)
    assert set(rows) == set(options)
    share = 1 / len(options)
    error = 5 * math.sqrt(share * (1 - share) / len(rows))
    assert all(abs(rows.count(option) / len(rows) - share) <= error for option in options)


def assert_uniform(values: Tensor, low: float, high: float, rounding: float = 1e-6) -> None:
    """Spread over [low, high] and not beyond: both ends are reached, and every tenth holds a tenth."""
    values = values.flatten().double()
    assert low - rounding <= values.min() <= low + 0.01 * (high - low)
    assert high - 0.01 * (high - low) <= values.max() <= high + rounding
    counts = torch.histc(values.clamp(low, high), 10, low, high) / len(values)
    assert (counts - 0.1).abs().max() <= 5 * math.sqrt(0.09 / len(values))


def swaps() -> list[tuple[int, ...]]:
    return [(1, 0, 3, 2), (2, 3, 0, 1), (3, 2, 1, 0)]


def test_every_negative_that_draws_is_here() -> None:
    text = Path(__file__).read_text()
    shape = {True: CLIPS, False: SQUARE}
    for negative in NEGATIVES:
        module = negative()
        if drawn(module, (4, *shape[module.needs_clips][1:])):
            assert f"nda.{negative.__name__}(" in text, negative.__name__


def test_jigsaw() -> None:
    permutation = drawn(nda.Jigsaw(grid=(1, 3)), (DRAWS, 3, 6, 6))["permutation"]
    assert_even(permutation, [(0, 2, 1), (1, 0, 2), (1, 2, 0), (2, 0, 1), (2, 1, 0)])


def test_jigsaw_with_a_random_offset() -> None:
    params = drawn(nda.Jigsaw(grid=(2, 2), offset="random"), (DRAWS, 3, 16, 24))
    assert_even(params["corners"][:, 0], range(24))
    assert_even(params["corners"][:, 1], range(16))
    assert_even(params["shifts"][:, 0], range(3, 10))  # a quarter to three quarters of a cell of 12 x 8
    assert_even(params["shifts"][:, 1], range(2, 7))


def test_patch_shuffle() -> None:
    permutation = drawn(nda.PatchShuffle(grid=(4, 4)))["permutation"]
    for cell in range(16):
        assert_even(permutation[:, cell], range(16))


def test_cut_perm() -> None:
    assert_even(drawn(nda.CutPerm())["permutation"], swaps())


def test_patch_rotate() -> None:
    turns = drawn(nda.PatchRotate())["turns"]
    for cell in range(16):
        assert_even(turns[:, cell], [1, 2, 3])
    assert_even(drawn(nda.PatchRotate(), (DRAWS, 3, 16, 32))["turns"][:, 0], [2])


def test_rotate90() -> None:
    assert_even(drawn(nda.Rotate90())["turns"], [1, 2, 3])
    assert_even(drawn(nda.Rotate90(), (DRAWS, 3, 16, 8))["turns"], [2])


def test_roll() -> None:
    shifts = drawn(nda.Roll(shift=(0.25, 0.5)), (DRAWS, 3, 16, 32))["shifts"]
    assert_even(shifts[:, 0], range(8, 17))
    assert_even(shifts[:, 1], range(4, 9))


def test_frame_shuffle() -> None:
    permutation = drawn(nda.FrameShuffle(), (DRAWS, 3, 3, 4, 4))["permutation"]
    assert_even(permutation, [(0, 2, 1), (1, 0, 2), (1, 2, 0), (2, 0, 1), (2, 1, 0)])


PAIRS = [
    nda.Stitch(),
    nda.CutMix(),
    nda.ResizeMix(),
    nda.Mixup(),
    nda.CutPasteForeign(),
    nda.PerlinBlend(scales=(0, 1)),
    nda.ClipStitch(),
]


@pytest.mark.parametrize("module", PAIRS, ids=lambda module: module.word)
def test_partners(module: NegativeTransform) -> None:
    """Of the batch every other image, of a pool every image."""
    shape = (5, 4, 3, 16, 16) if module.needs_clips else (5, 3, 16, 16)
    rounds = [module.draw(shape, generator=generator(seed))["partners"] for seed in range(400)]
    for image in range(5):
        assert_even(torch.stack(rounds)[:, image], sorted({0, 1, 2, 3, 4} - {image}))
    pool = torch.rand(3, *shape[1:])
    assert_even(drawn(module, (DRAWS, *shape[1:]), pool)["partners"], range(3))


def test_cross_patch_shuffle() -> None:
    rounds = [nda.CrossPatchShuffle(grid=(2, 2)).draw((4, 3, 8, 8), generator=generator(seed)) for seed in range(400)]
    for image in range(4):
        sources = torch.stack([params["sources"] for params in rounds])[:, image]
        assert_even(sources.flatten(), sorted({0, 1, 2, 3} - {image}))
    assert_even(drawn(nda.CrossPatchShuffle(grid=(1, 2)))["permutation"], [(1, 0)])


def test_stitch() -> None:
    params = drawn(nda.Stitch())
    joint = torch.stack([params["axis"], params["keep"]], dim=1)
    assert_even(joint, [(0, 0), (0, 1), (1, 0), (1, 1)])
    images = torch.stack([torch.zeros(1, 4, 4), torch.ones(1, 4, 4)])
    for axis, keep, half in [
        ("horizontal", "first", (slice(2, 4), slice(0, 4))),
        ("horizontal", "second", (slice(0, 2), slice(0, 4))),
        ("vertical", "first", (slice(0, 4), slice(2, 4))),
        ("vertical", "second", (slice(0, 4), slice(0, 2))),
    ]:
        expected = torch.zeros(4, 4)
        expected[half] = 1.0
        assert torch.equal(nda.Stitch(axis=axis, keep=keep)(images)[0, 0], expected)


def sides_of(boxes: Tensor) -> tuple[Tensor, Tensor]:
    return boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1]


@pytest.mark.parametrize(
    "module", [nda.CutMix(side=(0.25, 0.5)), nda.Cutout(side=(0.25, 0.5))], ids=["cutmix", "cutout"]
)
def test_boxes(module: NegativeTransform) -> None:
    boxes = drawn(module, (DRAWS, 3, 16, 32))["boxes"]
    width, height = sides_of(boxes)
    assert_even(width, range(8, 17))
    assert_even(height, range(4, 9))
    assert_even(boxes[width == 8][:, 0], range(25))
    assert_even(boxes[height == 8][:, 1], range(9))


def test_square_boxes() -> None:
    width, height = sides_of(drawn(nda.Cutout(side=(0.25, 0.5), square=True), (DRAWS, 3, 16, 32))["boxes"])
    assert torch.equal(width, height)
    assert_even(width, range(4, 9))


@pytest.mark.parametrize("strength", [0.25, 1.0])
def test_mixup(strength: float) -> None:
    foreign = (1.0 - drawn(nda.Mixup(alpha=1.0, strength=strength))["weights"]) / strength
    assert_uniform(foreign, 0.0, 1.0)
    middle = (1.0 - drawn(nda.Mixup(strength=strength))["weights"]) / strength
    assert middle.mean().item() == pytest.approx(0.5, abs=0.005)
    assert middle.std().item() == pytest.approx(math.sqrt(1 / (4 * 51)), rel=0.05)


@pytest.mark.parametrize(
    "module", [nda.CutPaste(area=(0.1, 0.1)), nda.CutPasteForeign(area=(0.1, 0.1))], ids=["cutpaste", "foreign"]
)
def test_copies(module: NegativeTransform) -> None:
    params = drawn(module, (DRAWS, 3, 200, 200))
    width, height = sides_of(params["boxes"])
    area = width * height / 40000
    assert 0.095 <= area.min() <= area.max() <= 0.1
    assert_uniform((height / width).log(), math.log(0.3), math.log(3.3), rounding=0.03)
    x0, y0 = params["boxes"][:, 0] - params["shifts"][:, 0], params["boxes"][:, 1] - params["shifts"][:, 1]
    assert_uniform(x0 / (200 - width), 0.0, 1.0)
    assert_uniform(y0 / (200 - height), 0.0, 1.0)
    assert (params["shifts"] != 0).any(dim=1).all()


def test_areas() -> None:
    width, height = sides_of(drawn(nda.CutPaste(aspect=1.0), (DRAWS, 3, 1000, 1000))["boxes"])
    assert torch.equal(width, height)
    assert_uniform(width.square() / 1e6, 0.02, 0.15, rounding=1e-3)


@pytest.mark.parametrize("module", [nda.CutPaste(jitter=0.5), nda.CutPasteScar(jitter=0.5)], ids=["cutpaste", "scar"])
def test_jitter(module: NegativeTransform) -> None:
    jitter = drawn(module)["jitter"]
    for part in range(2):
        for channel in range(3):
            assert_uniform(jitter[:, part, channel], -0.5, 0.5)


def test_scar() -> None:
    params = drawn(nda.CutPasteScar(length=(0.1, 0.3), width=(0.01, 0.03)), (DRAWS, 3, 100, 300))
    assert set(params["extents"][:, 0].tolist()) == set(range(10, 31))
    assert set(params["extents"][:, 1].tolist()) == {1, 2, 3}
    assert_uniform(params["angles"], -math.pi / 4, math.pi / 4)
    assert_uniform(params["centres"][:, 0], 0, 299)
    assert_uniform(params["centres"][:, 1], 0, 99)
    assert_uniform(params["centres"][:, 0] - params["shifts"][:, 0], 0, 299)


def test_foreign_copies_have_the_strength() -> None:
    assert torch.equal(drawn(nda.CutPasteForeign(strength=0.25))["weights"], torch.full((DRAWS,), 0.25))


@pytest.mark.parametrize("strength", [0.5, 1.0])
def test_perlin_blend(strength: float) -> None:
    params = drawn(nda.PerlinBlend(scales=(0, 2), strength=strength))
    assert_uniform(params["angles"][:, 0, 0], 0.0, 2 * math.pi)
    assert_uniform(params["rotations"], -math.pi / 2, math.pi / 2)
    assert_uniform(params["weights"] / strength, 0.2, 1.0)
    for direction in range(2):
        assert_even(params["frequencies"][:, direction], [1, 2, 4])
    assert_even(
        drawn(nda.PerlinBlend(), (DRAWS, 3, 31, 200))["frequencies"][:, 0], [1, 2, 4]
    )  # 4 pixels or more a cell


def test_patch_tile() -> None:
    params = drawn(nda.PatchTile(side=(0.25, 0.375)))
    assert_even(params["side"], [4, 5, 6])
    windows = params["windows"][params["side"] == 4]
    assert_uniform(windows[:, 1, 1].double()[:, 0] + torch.rand(len(windows), generator=generator(1)), 0, 13)
    assert (windows[:, 0, 0] != 0).any(dim=1).all()
    same = drawn(nda.PatchTile(same_window=True))["windows"]
    assert torch.equal(same, same[:, :1, :1].expand_as(same))


def test_texture_resample() -> None:
    params = drawn(nda.TextureResample(side=(0.25, 0.375)))
    assert_even(params["side"], [4, 5, 6])
    assert params["windows"].shape[1] == 4
    assert (params["windows"][:, 1:].flatten(1) != params["windows"][:, :1].flatten(1).repeat(1, 3)).any(dim=1).all()


def test_noise() -> None:
    noise = drawn(nda.Noise(std=0.5), (200, 3, 16, 16))["noise"]
    assert noise.mean().item() == pytest.approx(0.0, abs=0.01)
    assert noise.std().item() == pytest.approx(0.5, rel=0.02)


@pytest.mark.parametrize("strength", [0.5, 1.0])
def test_fields(strength: float) -> None:
    """Each field has the deviation of its own argument."""
    warp = nda.RandomFieldWarp(
        correlation=0.5, displacement=2.0, rotation=45.0, scale=0.125, shear=0.25, strength=strength
    )
    color = nda.RandomFieldColor(correlation=0.5, hue=60.0, saturation=0.125, contrast=0.25, strength=strength)
    for module, expected in (
        (warp, [math.radians(45), 0.125, 0.125, 0.25, 1.0, 1.0]),
        (color, [math.radians(60), 0.125, 0.25]),
    ):
        noise = drawn(module, (500, 3, 16, 16))["noise"]
        for field, deviation in enumerate(expected):
            assert noise[:, field].std().item() == pytest.approx(strength * deviation, rel=0.05)
            assert noise[:, field].mean().item() == pytest.approx(0.0, abs=0.05 * deviation)


@pytest.mark.parametrize("p", [0.2, 0.7])
def test_coins(p: float) -> None:
    assert drawn(nda.Flip(p=p))["batch_prob"].double().mean().item() == pytest.approx(p, abs=0.03)
    rounds = [nda.Flip(p=p, same_on_batch=True).draw(SQUARE, generator=generator(seed)) for seed in range(200)]
    coins = torch.stack([params["batch_prob"][:10] for params in rounds])
    assert torch.equal(coins, coins[:, :1].expand_as(coins)), "one coin for the whole batch"
    assert coins[:, 0].double().mean().item() == pytest.approx(p, abs=0.12)


def test_a_member_of_a_mixture_keeps_its_one_draw() -> None:
    mixture = nda.Mixture([nda.Jigsaw(same_on_batch=True), nda.Roll()])
    params = drawn(mixture, (50, 3, 16, 16))
    assert torch.equal(params["0.permutation"], params["0.permutation"][:1].expand(50, 4))
    assert (params["1.shifts"] != params["1.shifts"][:1]).any()
    assert_even(params["choice"], range(2))


def test_other_class() -> None:
    other = nda.OtherClass(num_classes=4)(torch.full((DRAWS,), 1), generator=generator(0))
    assert_even(other, [0, 2, 3])
