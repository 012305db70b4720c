"""Pair kernels against loops over every pixel."""

import math

import pytest
import torch
from torch import Tensor, nn
from torch.testing import assert_close

from nda_augment import functional, sampling
from tests.cases import DTYPES, distinct, generator

LAYOUTS = [torch.contiguous_format, torch.channels_last]


def stitch_by_hand(images: Tensor, pool: Tensor, partners: Tensor, axis: Tensor, keep: Tensor) -> Tensor:
    result = torch.empty_like(images)
    height, width = images.shape[-2:]
    for b in range(len(images)):
        for y in range(height):
            for x in range(width):
                half = int(y >= height // 2) if axis[b] == 0 else int(x >= width // 2)
                donor = images[b] if half == keep[b] else pool[partners[b]]
                result[b, ..., y, x] = donor[..., y, x]
    return result


def cutmix_by_hand(images: Tensor, pool: Tensor, partners: Tensor, boxes: Tensor) -> Tensor:
    result = images.clone()
    for b, (x0, y0, x1, y1) in enumerate(boxes.tolist()):
        result[b, ..., y0:y1, x0:x1] = pool[partners[b], ..., y0:y1, x0:x1]
    return result


def mixup_by_hand(images: Tensor, pool: Tensor, partners: Tensor, weights: Tensor) -> Tensor:
    result = torch.empty_like(images)
    for b, weight in enumerate(weights.double().tolist()):
        blend = weight * images[b].double() + (1 - weight) * pool[partners[b]].double()
        result[b] = blend.round() if images.dtype == torch.uint8 else blend
    return result


def resize_mix_by_hand(images: Tensor, pool: Tensor, partners: Tensor, boxes: Tensor) -> Tensor:
    result = images.clone()
    for b, (x0, y0, x1, y1) in enumerate(boxes.tolist()):
        whole = pool[partners[b]]
        for y in range(y0, y1):
            for x in range(x0, x1):
                row = math.floor((y - y0 + 0.5) / (y1 - y0) * images.shape[-2])
                col = math.floor((x - x0 + 0.5) / (x1 - x0) * images.shape[-1])
                result[b, ..., y, x] = whole[..., row, col]
    return result


def stitch_params(batch: int, size: tuple[int, int]) -> dict[str, Tensor]:
    g = generator(1)
    return {
        "axis": torch.randint(0, 2, (batch,), generator=g),
        "keep": torch.randint(0, 2, (batch,), generator=g),
    }


def cutmix_params(batch: int, size: tuple[int, int]) -> dict[str, Tensor]:
    return {"boxes": sampling.boxes(batch, size, side=(0.2, 0.9), generator=generator(1))}


def mixup_params(batch: int, size: tuple[int, int]) -> dict[str, Tensor]:
    return {"weights": sampling.symmetric_beta(batch, 1.0, generator=generator(1))}


KERNELS = {
    "stitch": (functional.stitch, stitch_by_hand, stitch_params),
    "cutmix": (functional.cutmix, cutmix_by_hand, cutmix_params),
    "resize_mix": (functional.resize_mix, resize_mix_by_hand, cutmix_params),
    "mixup": (functional.mixup, mixup_by_hand, mixup_params),
}
each_kernel = pytest.mark.parametrize(("kernel", "by_hand", "params_of"), KERNELS.values(), ids=KERNELS)


@each_kernel
@pytest.mark.parametrize("shape", [(6, 3, 4, 6), (5, 1, 7, 5), (4, 2, 3, 6, 4)], ids=str)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("with_pool", [False, True])
def test_agrees_with_a_loop(kernel, by_hand, params_of, shape: tuple[int, ...], dtype: torch.dtype, with_pool) -> None:
    images = distinct(shape, dtype=dtype)
    pool = distinct((9, *shape[1:]), seed=1, dtype=dtype) if with_pool else None
    partners = sampling.partners(shape[0], 9 if with_pool else None, generator=generator(2))
    params = params_of(shape[0], shape[-2:])
    result = kernel(images, partners, *params.values(), pool=pool)
    expected = by_hand(images, images if pool is None else pool, partners, **params)
    if dtype == torch.uint8:
        assert (result.int() - expected.int()).abs().max() <= 1  # a half may be rounded either way
        assert (result != expected).float().mean() < 0.01
    else:
        # In half precision the weight itself is rounded: up to two steps off.
        assert_close(result, expected, rtol=4 * torch.finfo(dtype).eps, atol=4 * torch.finfo(dtype).eps)


@each_kernel
@pytest.mark.parametrize("images_layout", LAYOUTS)
@pytest.mark.parametrize("pool_layout", LAYOUTS)
def test_the_pool_may_lie_otherwise(kernel, by_hand, params_of, images_layout, pool_layout) -> None:
    images, pool = distinct((4, 3, 6, 4)), distinct((5, 3, 6, 4), seed=1)
    partners, params = sampling.partners(4, 5, generator=generator(2)), params_of(4, (6, 4))
    result = kernel(
        images.contiguous(memory_format=images_layout),
        partners,
        *params.values(),
        pool=pool.contiguous(memory_format=pool_layout),
    )
    assert result.is_contiguous(memory_format=images_layout)
    assert_close(result, by_hand(images, pool, partners, **params))


@each_kernel
def test_derivatives_are_right(kernel, by_hand, params_of) -> None:
    images = distinct((2, 1, 2, 4), dtype=torch.float64).requires_grad_()
    pool = distinct((3, 1, 2, 4), seed=1, dtype=torch.float64).requires_grad_()
    partners, params = torch.tensor([2, 0]), params_of(2, (2, 4)).values()
    assert torch.autograd.gradcheck(lambda a, b: kernel(a, partners, *params, pool=b), (images, pool))
    assert torch.autograd.gradcheck(lambda a: kernel(a, torch.tensor([1, 0]), *params), (images,))


@pytest.mark.parametrize(
    ("axis", "keep", "expected"),
    [
        (0, 0, [[1, 1, 1], [0, 0, 0], [0, 0, 0]]),
        (0, 1, [[0, 0, 0], [1, 1, 1], [1, 1, 1]]),
        (1, 0, [[1, 0, 0], [1, 0, 0], [1, 0, 0]]),
        (1, 1, [[0, 1, 1], [0, 1, 1], [0, 1, 1]]),
    ],
)
def test_the_middle_line_of_an_odd_side_belongs_to_the_second_half(axis: int, keep: int, expected: list) -> None:
    images = torch.stack([torch.ones(1, 3, 3), torch.zeros(1, 3, 3)])
    both = torch.tensor([axis, axis]), torch.tensor([keep, keep])
    assert functional.stitch(images, torch.tensor([1, 0]), *both)[0, 0].tolist() == expected


def test_mixup_of_the_limits_is_one_image_or_the_other() -> None:
    images = distinct((3, 1, 4, 4))
    partners = torch.tensor([1, 2, 0])
    assert torch.equal(functional.mixup(images, partners, torch.ones(3)), images)
    assert torch.equal(functional.mixup(images, partners, torch.zeros(3)), images[partners])


@pytest.mark.parametrize("dtype", [torch.int64, torch.int32, torch.bool, torch.complex64])
@pytest.mark.parametrize("name", KERNELS)
def test_halves_and_boxes_are_moved_in_any_dtype_and_blends_are_refused(name: str, dtype: torch.dtype) -> None:
    kernel, by_hand, params_of = KERNELS[name]
    images, partners, params = (
        torch.arange(4 * 3 * 16).view(4, 3, 4, 4).to(dtype),
        torch.arange(4).roll(1),
        params_of(4, (4, 4)),
    )
    if name == "mixup":
        with pytest.raises(TypeError, match=rf"floating point or uint8, got {dtype}.*\.float\(\)"):
            kernel(images, partners, *params.values())
    else:
        assert torch.equal(kernel(images, partners, *params.values()), by_hand(images, images, partners, **params))
    if name in ("stitch", "cutmix"):
        with pytest.raises(TypeError, match=rf"floating point or uint8, got {dtype}"):
            kernel(images, partners, *params.values(), feather=0.5)


def test_mixup_stays_between_the_two() -> None:
    images = distinct((8, 1, 6, 6), dtype=torch.float64) * 200 - 100
    partners, weights = sampling.partners(8), torch.rand(8)
    blend = functional.mixup(images, partners, weights)
    assert (blend >= torch.minimum(images, images[partners]) - 1e-12).all()
    assert (blend <= torch.maximum(images, images[partners]) + 1e-12).all()


@each_kernel
class TestErrors:
    def args(self, params_of, batch: int = 4) -> list[Tensor]:
        return [torch.arange(batch).roll(1), *params_of(batch, (4, 4)).values()]

    @pytest.mark.parametrize("shape", [(4,), (4, 4), (3, 4, 4), (1, 1, 4, 3, 4, 4)])
    def test_rank(self, kernel, by_hand, params_of, shape: tuple[int, ...]) -> None:
        with pytest.raises(ValueError, match=r"must be \(B, C, H, W\)") as caught:
            kernel(torch.rand(shape), *self.args(params_of))
        assert str(shape) in str(caught.value)

    def test_no_tensor(self, kernel, by_hand, params_of) -> None:
        with pytest.raises(TypeError, match=r"images must be a torch.Tensor, got list"):
            kernel([[1.0]], *self.args(params_of))
        with pytest.raises(TypeError, match=r"must be a torch.Tensor of shape .* got int"):
            kernel(torch.rand(4, 3, 4, 4), 1, *self.args(params_of)[1:])

    @pytest.mark.parametrize("wrong", [0, 1])
    def test_shapes_of_parameters(self, kernel, by_hand, params_of, wrong: int) -> None:
        args = self.args(params_of)
        expected, given = tuple(args[wrong].shape), tuple(args[wrong][:1].shape)
        args[wrong] = args[wrong][:1]  # would broadcast
        with pytest.raises(ValueError, match="one entry per image") as caught:
            kernel(torch.rand(4, 3, 4, 4), *args)
        assert str(expected) in str(caught.value)
        assert str(given) in str(caught.value)

    @pytest.mark.parametrize(
        "pool",
        [torch.rand(5, 1, 4, 4), torch.rand(5, 3, 4, 5), torch.rand(5, 3, 4, 4).double(), torch.rand(5, 2, 3, 4, 4)],
        ids=["channels", "size", "dtype", "clips"],
    )
    def test_a_pool_that_does_not_match(self, kernel, by_hand, params_of, pool: Tensor) -> None:
        with pytest.raises(ValueError, match=r"pool must hold images of shape \(3, 4, 4\), torch.float32 on cpu") as e:
            kernel(torch.rand(4, 3, 4, 4), *self.args(params_of), pool=pool)
        assert str(tuple(pool.shape[1:])) in str(e.value)
        assert str(pool.dtype) in str(e.value)


def test_resize_mix_shows_the_whole_partner_as_torch_resizes_it() -> None:
    images = distinct((2, 3, 8, 12))
    boxes = torch.tensor([[1, 2, 7, 6], [0, 0, 12, 8]])
    small = functional.resize_mix(images, torch.tensor([1, 0]), boxes)
    expected = nn.functional.interpolate(images[1:], (4, 6), mode="nearest-exact")
    assert torch.equal(small[0, :, 2:6, 1:7], expected[0])
    assert torch.equal(small[1], images[0])
