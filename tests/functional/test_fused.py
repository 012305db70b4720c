"""Fused kernels against the eager operations: those that Numba builds, or Triton's where that interprets them.

Triton looks for TRITON_INTERPRET when a kernel is defined, so that `test_triton` runs this file in a process of its
own.
"""

import os

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.testing import assert_close

from nda_augment import functional
from nda_augment.functional import _kernels, _layout
from nda_augment.functional._layout import Fading, as_planes, fill_boxes, paste, size_of
from nda_augment.functional.patches import put_together
from nda_augment.transforms import (
    CrossPatchShuffle,
    CutMix,
    Cutout,
    CutPaste,
    CutPasteForeign,
    Jigsaw,
    Mixture,
    Mixup,
    PatchRotate,
    PatchShuffle,
    PatchTile,
    PerlinBlend,
    RandomFieldColor,
    RandomFieldWarp,
    Roll,
    Rotate90,
    Stitch,
    TextureResample,
    mixture,
)
from tests.cases import apply, distinct, generator

BUILDER = "triton" if os.environ.get("TRITON_INTERPRET") == "1" else "numba"
_fused = pytest.importorskip(f"nda_augment.functional._{BUILDER}", exc_type=ImportError)

DTYPES = [torch.float32, torch.uint8, torch.float64, *([torch.bfloat16, torch.float16] if BUILDER == "triton" else [])]
SHAPES = {"planes": (5, 3, 9, 12), "pixels": (5, 3, 9, 12), "clips": (5, 2, 3, 9, 12), "wide": (5, 3, 12, 300)}
KINDS = [
    *(("planes", dtype) for dtype in DTYPES),
    *(("pixels", torch.uint8), ("clips", torch.float32), ("wide", torch.float32)),
]
TRANSFORMS = [
    *(CutMix(), CutMix(feather=0.5), Mixup(), Cutout(), Cutout(fill="zero"), Cutout(fill=(1, 2, 3))),
    *(CutPaste(), CutPaste(jitter=0.1), CutPaste(jitter=0.1, feather=1.0)),
    *(Jigsaw((3, 4)), CrossPatchShuffle((3, 4)), Stitch()),
    *(CutPasteForeign(), CutPasteForeign(feather=0.5, strength=0.5)),
    *(Roll(), PatchShuffle((3, 4), offset="random")),
]
# What Numba alone has.
TRANSFORMS += (
    [] if BUILDER == "triton" else [Rotate90(), PatchRotate((3, 4)), PerlinBlend(), PatchTile(), TextureResample()]
)

MEMBERS = [Jigsaw((3, 4)), Cutout(), Cutout(fill="zero"), CutMix(), CutMix(feather=0.5), Mixup()]


def images_of(layout: str, dtype: torch.dtype, *, seed: int = 0) -> Tensor:
    images = distinct(SHAPES[layout], seed=seed, dtype=dtype)
    return images.contiguous(memory_format=torch.channels_last) if layout == "pixels" else images


def assert_agree(found: Tensor, expected: Tensor) -> None:
    """Within an ulp: of single precision not every processor multiplies and adds with one rounding, as kernels do.

    The interpreter cuts bfloat16 off, where a device rounds it, once for the colour and once for the blend.
    """
    assert found.stride() == expected.stride()
    if not expected.is_floating_point():
        assert_close(found, expected, rtol=0, atol=0)
    else:
        eps = torch.finfo(expected.dtype).eps * (2 if expected.dtype == torch.bfloat16 else 1)
        assert_close(found, expected, rtol=eps, atol=eps)


@pytest.fixture
def eager(monkeypatch: pytest.MonkeyPatch):
    """What is done on a device without fused kernels."""
    monkeypatch.setattr(_layout, "may_loop", lambda *tensors: False)
    return lambda: monkeypatch.setattr(_kernels, "_DTYPES", {})


@pytest.fixture
def kernels(monkeypatch: pytest.MonkeyPatch, eager):
    """The kernels, for tensors on the CPU."""
    if BUILDER == "triton":
        monkeypatch.setitem(_kernels._DTYPES, "cpu", _kernels._DTYPES["cuda"])
        monkeypatch.setattr(_kernels, "_kernels_on", lambda device, fake: _fused)
    assert _kernels.fused("paste_", torch.empty(1)) is _fused.paste_
    return _fused


@pytest.mark.parametrize(("layout", "dtype"), KINDS)
@pytest.mark.parametrize("module", TRANSFORMS, ids=str)
def test_transforms(module, layout: str, dtype: torch.dtype, kernels, eager) -> None:
    images, pool = images_of(layout, dtype), images_of(layout, dtype, seed=1)
    pool = torch.cat([pool, images]) if module.uses_partners else None
    negatives = apply(module, images, seed=3, pool=pool)
    eager()
    assert_agree(negatives, apply(module, images, seed=3, pool=pool))


@pytest.mark.skipif(BUILDER == "triton", reason="fields are Numba's alone")
@pytest.mark.parametrize(("layout", "dtype"), [kind for kind in KINDS if kind[1] != torch.float64])
@pytest.mark.parametrize(
    "module", [RandomFieldColor(), RandomFieldWarp(), RandomFieldWarp(0.04, displacement=1.5)], ids=str
)
def test_fields(module, layout: str, dtype: torch.dtype, kernels, eager) -> None:
    """Sines and powers are rounded otherwise, and places with them."""
    images = images_of(layout, dtype)
    negatives = apply(module, images, seed=3)
    eager()
    expected = apply(module, images, seed=3)
    assert negatives.stride() == expected.stride()
    if dtype == torch.uint8:
        assert_close(negatives.int(), expected.int(), rtol=0, atol=1)
    else:
        assert_close(negatives, expected, rtol=1e-4, atol=1e-4 * float(images.max()))
    assert (negatives - images).abs().max() > 0


@st.composite
def places(draw: st.DrawFn) -> tuple[list[int], list[int]]:
    """A box in an image of 9 by 12, which may be empty, and how far what fills it has moved."""
    x0, x1 = sorted(draw(st.tuples(*[st.integers(0, 12)] * 2)))
    y0, y1 = sorted(draw(st.tuples(*[st.integers(0, 9)] * 2)))
    return [x0, y0, x1, y1], draw(st.lists(st.integers(-40, 40), min_size=2, max_size=2))


@given(drawn=st.lists(places(), min_size=5, max_size=5), feather=st.sampled_from([None, 0.0, 0.4]))
def test_any_boxes_and_offsets(drawn, feather: float | None) -> None:
    boxes, offset = (torch.tensor(part) for part in zip(*drawn, strict=True))
    planes, pool = (as_planes(images_of("pixels", torch.float32, seed=seed)) for seed in range(2))
    image, weights = torch.tensor([4, 4, 0, 1, 3]), torch.tensor([0.0, 1.0, 0.2, 0.5, 0.9])
    fading = None if feather is None else Fading(boxes, size_of(planes), feather, weights)
    expected = paste(planes, boxes, pool, image, offset, fading=fading)
    blended = {} if fading is None else {"weight": weights, "feather": feather}
    found = torch.empty_like(planes)
    _fused.paste_(found, planes, boxes, pool, image, offset, **blended)
    assert_agree(found, expected)


def test_boxes_that_reach_beyond_the_image(kernels, eager) -> None:
    """On a device nobody looks at them, and the eager masks end at the border too."""
    planes = as_planes(images_of("planes", torch.float32))
    boxes = torch.tensor([[-3, -2, 20, 4], [5, 5, 14, 30], [20, 0, 30, 4], [-9, 0, -2, 9], [4, 6, 2, 3]])
    colour = planes.new_full((), 7.0)
    found = fill_boxes(planes, boxes, colour)
    eager()
    assert_agree(found, fill_boxes(planes, boxes, colour))


@pytest.mark.parametrize("layout", SHAPES)
@pytest.mark.parametrize("grid", [(3, 4), (1, 2)])
@pytest.mark.parametrize(("sources", "cells"), [(False, True), (True, False), (True, True)])
def test_cells(layout: str, grid: tuple[int, int], sources: bool, cells: bool, kernels, eager) -> None:
    planes, donor = (as_planes(images_of(layout, torch.uint8, seed=seed)) for seed in range(2))
    donor, number = torch.cat([donor, planes]), grid[0] * grid[1]
    parts = (
        torch.randint(10, (5, number), generator=generator(0)) if sources else None,
        torch.randint(number, (5, number), generator=generator(1)) if cells else None,
    )
    found = put_together(planes, donor, *parts, grid)
    eager()
    assert_agree(found, put_together(planes, donor, *parts, grid))


@pytest.mark.parametrize("p", [1.0, 0.5])
@pytest.mark.parametrize(
    ("layout", "dtype"), [("planes", torch.float32), ("pixels", torch.uint8), ("clips", DTYPES[-1])]
)
def test_a_mixture(layout: str, dtype: torch.dtype, p: float, kernels, eager, monkeypatch) -> None:
    """Those of its members that can change the images that chose them where these lie, and another."""
    module, images = Mixture(MEMBERS, p=p), torch.cat([images_of(layout, dtype, seed=seed) for seed in range(3)])
    pool = torch.cat([images, images_of(layout, dtype, seed=4)])
    monkeypatch.setattr(mixture, "_may_count", lambda choice: False)
    negatives = apply(module, images, seed=1, pool=pool)
    eager()
    assert_agree(negatives, apply(module, images, seed=1, pool=pool))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_only_images_of_one_choice_are_written(dtype: torch.dtype) -> None:
    planes, choice = as_planes(images_of("planes", dtype)), torch.tensor([2, 0, 2, 1, 2])
    boxes, image = torch.tensor([[1, 0, 13, 8]]).expand(5, 4), torch.tensor([1, 2, 3, 4, 0])
    chosen, weights = (choice == 2).view(-1, 1, 1, 1, 1), torch.full((5,), 0.25, dtype=torch.float32)
    share = weights if dtype == torch.uint8 else weights.to(dtype)
    means = _fused.box_mean(planes, boxes)
    sources, cells = image.unsqueeze(1).expand(-1, 12), torch.arange(12).flip(0).expand(5, -1)
    for kernel, arguments in (
        (_fused.paste_, (planes, boxes, planes, image)),
        (_fused.paste_, (planes, boxes, planes, image, None, None, None, None, None, 0.5)),
        (_fused.paste_, (planes, boxes, means.expand_as(planes))),
        (_fused.mix_, (planes, planes, image, share)),
        (_fused.put_, (planes, sources, cells, 3, 4)),
        (_fused.put_, (planes, None, None, 1, 1)),
    ):
        all_images, some = torch.empty_like(planes), planes.clone()
        kernel(all_images, *arguments)
        kernel(some, *arguments, choice=choice, number=2)
        assert_close(some, torch.where(chosen, all_images, planes), rtol=0, atol=0)
    assert_close(_fused.box_mean(planes, boxes, choice, 2)[choice == 2], means[choice == 2], rtol=0, atol=0)


@pytest.mark.skipif(BUILDER == "numba", reason="Numba has no grid of programs")
def test_a_grid_has_fewer_programs_than_a_large_image_has_tiles(kernels, monkeypatch) -> None:
    images, partners = images_of("wide", torch.float32), torch.tensor([1, 2, 3, 4, 0])
    expected = functional.mixup(images, partners, torch.full((5,), 0.25))
    assert images[0].numel() > 2 * _fused._PIXELS
    monkeypatch.setattr(_fused, "_MOST_PROGRAMS", 2)
    assert_close(functional.mixup(images, partners, torch.full((5,), 0.25)), expected, rtol=0, atol=0)


def test_halves_are_rounded_to_even() -> None:
    own, other = (torch.full((1, 1, 1, 4, 1), value, dtype=torch.uint8) for value in (0, 1))
    odd, found = other + 2, torch.empty_like(own)
    for lower, upper, expected in (
        (own, other, 0),
        (other, own + 2, 2),
        (own + 2, odd, 2),
        (own + 254, own + 255, 254),
    ):
        _fused.mix_(found, lower, upper, torch.zeros(1, dtype=torch.long), torch.tensor([0.5]))
        assert found.unique().tolist() == [expected]


@pytest.mark.parametrize("weight", [None, 1.0, 0.0])
def test_what_is_not_pasted_is_not_touched(weight: float | None, kernels) -> None:
    """A pixel that is no number stays where it is, and what is pasted with no weight leaves no trace."""
    planes, coming = torch.full((1, 1, 1, 3, 1), torch.nan), torch.nan if weight == 0.0 else 7.0
    planes[..., 0, 0] = 5.0
    source = torch.full_like(planes, coming)
    box = torch.tensor([[0, 0, 1, 1]])
    fading = None if weight is None else Fading(box, size_of(planes), 0.0, torch.tensor([weight]))
    pasted = paste(planes, box, source, fading=fading).flatten()
    assert pasted[0] == (5.0 if weight == 0.0 else 7.0)
    assert pasted[1:].isnan().all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("size", [(9, 12), (1, 300), (40, 7)])
@pytest.mark.parametrize("nodes", [9, 3])  # all that the lattice takes, and too few, so that its border goes on
def test_perlin_noise(dtype: torch.dtype, size: tuple[int, int], nodes: int, kernels, eager) -> None:
    source = generator(0)
    angles = 7 * torch.rand(5, nodes, nodes, generator=source, dtype=dtype)
    frequencies = torch.tensor([[1, 1], [4, 4], [2, 4], [4, 1], [1, 2]])
    rotations = 4 * torch.rand(5, generator=source) - 2
    found = functional.perlin_noise(angles, frequencies, rotations, size)
    eager()
    assert_close(found, functional.perlin_noise(angles, frequencies, rotations, size), rtol=0, atol=2e-5)
    assert found.std() > 0.1


def test_a_derivative_is_left_to_torch(kernels) -> None:
    images = images_of("planes", torch.float32).requires_grad_()
    boxes, partners = torch.tensor([[0, 0, 4, 4]]).expand(5, 4), torch.tensor([1, 2, 3, 4, 0])
    functional.cutmix(images, partners, boxes).sum().backward()
    assert images.grad.sum() == images.numel()
    with torch.no_grad():
        assert _kernels.fused("paste_", images) is kernels.paste_
    traced = torch.vmap(lambda image: image if _kernels.fused("paste_", image) is None else None)(images.detach())
    assert traced is not None


def test_in_inference_mode(kernels) -> None:
    with torch.inference_mode():
        images = images_of("planes", torch.float32)
        mixed = functional.mixup(images, torch.tensor([1, 2, 3, 4, 0]), torch.ones(5))
    assert torch.equal(mixed, images)
