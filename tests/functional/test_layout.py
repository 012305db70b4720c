"""The ways to fill a new batch: slices on the CPU agree with one operation for the whole batch."""

import pytest
import torch
from torch import Tensor
from torch.autograd import forward_ad

from nda_augment import functional
from nda_augment.functional import _kernels, _layout
from tests.cases import REGISTERED, Case, distinct, draw, generator, labels_for
from tests.properties import assert_same_pixels

LAYOUTS = {
    "planes": lambda images: images,
    "pixels": lambda images: images.contiguous(memory_format=torch.channels_last) if images.ndim == 4 else images,
}


def as_on_a_device(monkeypatch: pytest.MonkeyPatch) -> None:
    """Do what is done for tensors that cannot be looked into."""
    without_kernels(monkeypatch)
    monkeypatch.setattr(_layout, "may_write", lambda *tensors: False)


def without_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    """Do what is done where Numba is missing."""
    monkeypatch.setattr(_kernels, "_DTYPES", {})


@pytest.mark.parametrize("dtype", [torch.float32, torch.uint8], ids=str)
@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
@pytest.mark.parametrize("case", REGISTERED, ids=str)
def test_slices_agree_with_the_whole_batch(case: Case, layout, dtype: torch.dtype, monkeypatch) -> None:
    module, images = case.make(), layout(case.images(3, dtype=dtype))
    params = draw(module, images, seed=0)
    by_kernels = module.transform(images, params)
    without_kernels(monkeypatch)
    monkeypatch.setattr(_layout, "_CHUNK", 1)
    by_slices = module.transform(images, params)
    as_on_a_device(monkeypatch)
    whole = module.transform(images, params)
    assert_same_pixels(by_slices, whole)
    assert_same_pixels(by_kernels, whole)


@pytest.mark.parametrize("case", [case for case in REGISTERED if case.module.uses_partners], ids=str)
def test_a_pool_that_lies_otherwise(case: Case, monkeypatch) -> None:
    module, images = case.make(), case.images(3)
    pool = LAYOUTS["pixels"](distinct(images.shape, seed=1))
    options = labels_for(module, images, pool)
    by_kernels = module(images, generator=generator(0), pool=pool, **options)
    without_kernels(monkeypatch)
    by_slices = module(images, generator=generator(0), pool=pool, **options)
    as_on_a_device(monkeypatch)
    whole = module(images, generator=generator(0), pool=pool, **options)
    assert_same_pixels(by_slices, whole)
    assert_same_pixels(by_kernels, whole)


@pytest.mark.parametrize("case", REGISTERED, ids=str)
def test_large_batches_of_small_images_agree_too(case: Case, monkeypatch) -> None:
    """There masks are cheaper than slices."""
    module, images = case.make(), case.images(40)
    assert not _layout.slices_pay(len(images), images)
    params = draw(module, images, seed=0)
    without_kernels(monkeypatch)
    negatives = module.transform(images, params)
    as_on_a_device(monkeypatch)
    assert_same_pixels(negatives, module.transform(images, params))


def test_what_is_not_pasted_is_not_touched() -> None:
    """A pixel that is no number stays where it is: nothing is multiplied by a mask."""
    images = torch.full((40, 1, 4, 4), torch.nan)
    images[:, :, 0, 0] = torch.inf
    pasted = _layout.overlay(torch.ones_like(images), images, torch.zeros(40, 1, 4, 4, dtype=torch.bool))
    assert torch.equal(pasted.isnan(), images.isnan())
    assert pasted.isinf().sum() == 40


@pytest.mark.parametrize(
    ("low", "high", "offset", "runs"),
    [
        (2, 5, 0, [((2, 5), (2, 5))]),
        (2, 5, 2, [((2, 5), (0, 3))]),
        (2, 5, 3, [((2, 3), (7, 8)), ((3, 5), (0, 2))]),
        (0, 8, 3, [((0, 3), (5, 8)), ((3, 8), (0, 5))]),
        (4, 7, -2, [((4, 6), (6, 8)), ((6, 7), (0, 1))]),
        (3, 3, 5, [((3, 3), (6, 6))]),
    ],
)
def test_runs_wrap_around_once(low: int, high: int, offset: int, runs) -> None:
    found = [((to.start, to.stop), (origin.start, origin.stop)) for to, origin in _layout._runs(low, high, offset, 8)]
    assert found == runs


def test_a_gradient_takes_the_way_of_one_operation() -> None:
    images = torch.rand(2, 3, 64, 64)
    assert _layout.slices_pay(2, images)
    assert not _layout.slices_pay(2, images.clone().requires_grad_())
    with torch.no_grad():
        assert _layout.slices_pay(2, images.clone().requires_grad_())
    assert not _layout.slices_pay(2, images.to("meta"))


@pytest.mark.filterwarnings("ignore::FutureWarning")  # torch's own, of how it registers these derivatives
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("batch", [2, 40])
def test_derivatives_in_forward_mode_survive(batch: int) -> None:
    images, tangents = torch.rand(batch, 3, 8, 8), torch.rand(batch, 3, 8, 8)
    partners, boxes = torch.arange(batch).roll(1), torch.tensor([[1, 2, 5, 7]]).expand(batch, 4)
    with forward_ad.dual_level():
        mixed = functional.cutmix(forward_ad.make_dual(images, tangents), partners, boxes)
        tangent = forward_ad.unpack_dual(mixed).tangent
    assert torch.equal(tangent, functional.cutmix(tangents, partners, boxes))


def shapes_seen(images: Tensor, sizes: list[int]) -> Tensor:
    sizes.append(len(images))
    return images + 1


def test_chunks_are_a_few_images(monkeypatch) -> None:
    monkeypatch.setattr(_layout, "_CHUNK", 25)
    images, sizes = torch.rand(7, 10), []
    assert torch.equal(_layout.by_chunks(lambda part: shapes_seen(part, sizes), images), images + 1)
    assert sizes == [2, 2, 2, 1]
    assert _layout.by_chunks(lambda part: part, images[:0]).shape == (0, 10)
