"""Region kernels against loops over every box."""

import inspect
import re

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from nda_augment import functional, sampling
from nda_augment.functional import masks
from tests.cases import DTYPES, distinct, generator

FILLS = ["patch_mean", "image_mean", "zero", 0.25, 3, (0.1, 0.2, 0.3)]


def cutout_by_hand(images: Tensor, boxes: Tensor, fill: str | float | tuple[float, ...]) -> Tensor:
    """Fill box by box, channel by channel, frame by frame."""
    result = images.clone()
    frames = result.flatten(0, 1) if images.ndim == 5 else result
    per_frame = boxes.repeat_interleave(len(frames) // len(images), dim=0)
    for frame, (x0, y0, x1, y1) in zip(frames, per_frame.tolist(), strict=True):
        for channel, plane in enumerate(frame):
            patch = plane[y0:y1, x0:x1]
            colour = (
                {
                    "patch_mean": patch.double().mean(),
                    "image_mean": plane.double().mean(),
                    "zero": torch.tensor(0.0),
                }.get(fill)
                if isinstance(fill, str)
                else torch.tensor(fill[channel] if isinstance(fill, tuple) else fill)
            )
            patch[:] = colour.round() if images.dtype == torch.uint8 else colour
    return result


@pytest.mark.parametrize("fill", FILLS, ids=str)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("shape", [(6, 3, 7, 9), (4, 3, 7, 9), (3, 2, 3, 6, 4)], ids=str)  # five images or less: slices
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last], ids=["planes", "pixels"])
def test_cutout_agrees_with_a_loop(fill, dtype: torch.dtype, shape: tuple[int, ...], memory_format) -> None:
    if dtype == torch.uint8 and not isinstance(fill, str):
        fill = (10, 20, 30) if isinstance(fill, tuple) else 40
    images = distinct(shape, dtype=dtype)
    if images.ndim == 4:
        images = images.contiguous(memory_format=memory_format)
    boxes = sampling.boxes(shape[0], shape[-2:], side=(0.2, 1.0), generator=generator(0))
    result, expected = functional.cutout(images, boxes, fill), cutout_by_hand(images, boxes, fill)
    assert result.dtype == dtype
    if dtype == torch.uint8:
        assert (result.int() - expected.int()).abs().max() <= 1  # a half may be rounded either way
        assert (result != expected).float().mean() < 0.02
    else:
        assert_close(result, expected)


def test_the_mean_of_the_patch_keeps_the_mean_of_the_image() -> None:
    images = distinct((6, 3, 12, 10), dtype=torch.float64) * 20 - 5
    boxes = sampling.boxes(6, (12, 10), side=(0.3, 0.5))
    assert_close(functional.cutout(images, boxes).mean(dim=(2, 3)), images.mean(dim=(2, 3)))


@pytest.mark.parametrize("fill", FILLS, ids=str)
def test_cutout_has_derivatives(fill) -> None:
    images = distinct((2, 3, 3, 4), dtype=torch.float64).requires_grad_()
    boxes = torch.tensor([[0, 1, 2, 3], [1, 0, 4, 2]])
    assert torch.autograd.gradcheck(lambda x: functional.cutout(x, boxes, fill), (images,))


def test_a_box_of_the_whole_image_leaves_its_mean() -> None:
    images = distinct((2, 1, 4, 4))
    whole = torch.tensor([[0, 0, 4, 4]]).expand(2, 4)
    mean = images.mean(dim=(2, 3), keepdim=True).expand_as(images)
    assert_close(functional.cutout(images, whole, "patch_mean"), mean)
    assert_close(functional.cutout(images, whole, "image_mean"), mean)


def jittered_by_hand(colour: Tensor, plane: Tensor, jitter: Tensor | None) -> Tensor:
    if jitter is None:
        return colour
    mean, deviation = plane.mean(), plane.std(correction=0)
    return mean + (colour - mean) * jitter[0].exp() + jitter[1] * deviation


SHAPES = [(6, 3, 7, 9), (3, 2, 3, 6, 4)]
LAYOUTS = [torch.contiguous_format, torch.channels_last]


def images_of(shape: tuple[int, ...], memory_format: torch.memory_format) -> Tensor:
    images = distinct(shape, dtype=torch.float64)
    return images.contiguous(memory_format=memory_format) if images.ndim == 4 else images


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("memory_format", LAYOUTS, ids=["planes", "pixels"])
@pytest.mark.parametrize("jitter", [False, True])
class TestCopies:
    """Both kernels that copy within an image, frame by frame, channel by channel, pixel by pixel."""

    def expected(self, images: Tensor, pasted: Tensor, source, jitter: Tensor | None) -> Tensor:
        result, (height, width) = images.clone(), images.shape[-2:]
        frames = images.shape[1] if images.ndim == 5 else 1
        for b in range(len(images)):
            planes, out = images[b].reshape(-1, height, width), result[b].view(-1, height, width)
            for p in range(len(planes)):
                own = None if jitter is None else jitter[b, :, p % (len(planes) // frames)]
                for y in range(height):
                    for x in range(width):
                        if pasted[b, 0, y, x]:
                            row, col = source(b, y, x)
                            out[p, y, x] = jittered_by_hand(planes[p, row % height, col % width], planes[p], own)
        return result

    def jitter(self, batch: int, wanted: bool) -> Tensor | None:
        return torch.rand(batch, 2, 3, generator=generator(3), dtype=torch.float64) - 0.5 if wanted else None

    def test_cut_paste(self, shape: tuple[int, ...], memory_format, jitter: bool) -> None:
        images, size = images_of(shape, memory_format), shape[-2:]
        boxes = sampling.area_boxes(shape[0], size, area=(0.1, 0.4), aspect=(0.3, 3.3), generator=generator(0))
        shifts = sampling.other_places(boxes, size, generator=generator(1))
        own = self.jitter(shape[0], jitter)
        result = functional.cut_paste(images, boxes, shifts, own)
        source = lambda b, y, x: (y - int(shifts[b, 1]), x - int(shifts[b, 0]))  # noqa: E731
        assert_close(result, self.expected(images, masks.box(boxes, size), source, own))

    def test_cut_paste_scar(self, shape: tuple[int, ...], memory_format, jitter: bool) -> None:
        images, batch = images_of(shape, memory_format), shape[0]
        g = generator(0)
        centres = torch.stack([torch.randint(0, side, (batch,), generator=g) for side in (shape[-1], shape[-2])], dim=1)
        extents = torch.randint(1, 6, (batch, 2), generator=g)
        angles = (torch.rand(batch, generator=g) - 0.5) * 2
        shifts = torch.randint(-2, 3, (batch, 2), generator=g)
        own = self.jitter(batch, jitter)
        result = functional.cut_paste_scar(images, centres, extents, angles, shifts, own)

        def source(b: int, y: int, x: int) -> tuple[int, int]:
            """The strip lies along the lines of the image where it comes from, and is turned where it goes."""
            dx, dy = x - int(centres[b, 0]), y - int(centres[b, 1])
            along = angles[b].cos() * dx + angles[b].sin() * dy
            across = angles[b].cos() * dy - angles[b].sin() * dx
            origin = centres[b] - shifts[b]
            return int(origin[1]) + round(float(across)), int(origin[0]) + round(float(along))

        pasted = masks.strip(centres, extents, angles, shape[-2:])
        assert_close(result, self.expected(images, pasted, source, own))


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("memory_format", LAYOUTS, ids=["planes", "pixels"])
@pytest.mark.parametrize("with_pool", [False, True])
class TestForeign:
    """Both kernels that blend a partner into a region."""

    def blended(self, images: Tensor, donors: Tensor, alpha: Tensor) -> Tensor:
        alpha = alpha.double().unsqueeze(1) if images.ndim == 5 else alpha.double()
        return torch.where(alpha > 0, alpha * donors + (1 - alpha) * images, images)

    def pool(self, shape: tuple[int, ...], wanted: bool) -> Tensor | None:
        return distinct((5, *shape[1:]), seed=1, dtype=torch.float64) if wanted else None

    @pytest.mark.parametrize("feather", [0.0, 0.7])
    def test_cut_paste_foreign(self, shape: tuple[int, ...], memory_format, with_pool: bool, feather: float) -> None:
        images, pool, batch = images_of(shape, memory_format), self.pool(shape, with_pool), shape[0]
        partners = sampling.partners(batch, 5 if with_pool else None, generator=generator(0))
        boxes = sampling.area_boxes(batch, shape[-2:], area=(0.1, 0.4), aspect=(0.3, 3.3), generator=generator(1))
        shifts = sampling.other_places(boxes, shape[-2:], generator=generator(2))
        weights = torch.rand(batch, generator=generator(3))
        result = functional.cut_paste_foreign(images, partners, boxes, shifts, weights, feather, pool=pool)
        others = images if pool is None else pool
        donors = torch.stack(
            [others[p].roll((y, x), (-2, -1)) for p, (x, y) in zip(partners.tolist(), shifts.tolist(), strict=True)]
        )
        alpha = masks.soft_box(boxes, shape[-2:], feather) * weights.view(-1, 1, 1, 1)
        assert_close(result, self.blended(images, donors, alpha), rtol=1e-6, atol=1e-6)

    def test_perlin_blend(self, shape: tuple[int, ...], memory_format, with_pool: bool) -> None:
        images, pool, batch = images_of(shape, memory_format), self.pool(shape, with_pool), shape[0]
        partners = sampling.partners(batch, 5 if with_pool else None, generator=generator(0))
        noise = {
            "angles": torch.rand(batch, 5, 5, generator=generator(1)) * 6,
            "frequencies": torch.full((batch, 2), 2),
            "rotations": torch.rand(batch, generator=generator(2)),
        }
        weights = torch.rand(batch, generator=generator(3))
        result = functional.perlin_blend(images, partners, weights=weights, threshold=0.2, pool=pool, **noise)
        islands = masks.perlin(**noise, size=shape[-2:], threshold=0.2)
        donors = (images if pool is None else pool)[partners]
        assert_close(result, self.blended(images, donors, islands * weights.view(-1, 1, 1, 1)), rtol=1e-6, atol=1e-6)


def test_autocast_costs_cutout_no_precision() -> None:
    images, boxes = distinct((2, 3, 6, 6)), torch.tensor([[0, 0, 3, 3], [1, 1, 4, 5]])
    with torch.autocast("cpu", dtype=torch.bfloat16):
        negatives = functional.cutout(images, boxes)
    assert torch.equal(negatives, functional.cutout(images, boxes))


def test_the_pool_is_named() -> None:
    images, boxes, two = distinct((2, 3, 6, 6)), torch.tensor([[0, 0, 3, 3]] * 2), torch.ones(2, 2).long()
    with pytest.raises(ValueError, match=r"^pool must be \(B, C, H, W\)"):
        functional.cut_paste_foreign(images, torch.tensor([1, 0]), boxes, two, torch.ones(2), pool=images[0])


def test_two_channels_are_jittered_alike_in_both_layouts() -> None:
    images, boxes = distinct((2, 2, 6, 6)), torch.tensor([[0, 0, 3, 3], [1, 1, 4, 5]])
    shifts, jitter = torch.full((2, 2), 2), torch.rand(2, 2, 2, generator=generator(3)) - 0.5
    planes = functional.cut_paste(images, boxes, shifts, jitter)
    pixels = functional.cut_paste(images.contiguous(memory_format=torch.channels_last), boxes, shifts, jitter)
    assert_close(planes, pixels)


def test_copies_are_opaque_and_have_a_hard_edge_by_default() -> None:
    images, g = distinct((2, 3, 8, 8)), generator(0)
    partners, by_two = torch.tensor([1, 0]), torch.full((2, 2), 2)
    boxes = torch.tensor([[1, 1, 6, 6], [2, 0, 7, 5]])
    pasted = functional.cut_paste_foreign(images, partners, boxes, by_two, torch.ones(2))
    inside = masks.box(boxes, (8, 8))
    assert torch.equal(pasted, torch.where(inside, images[partners].roll((2, 2), (-2, -1)), images))
    noise = (torch.rand(2, 5, 5, generator=g) * 6, torch.full((2, 2), 2), torch.zeros(2))
    assert torch.equal(
        functional.perlin_blend(images, partners, *noise, torch.ones(2)),
        functional.perlin_blend(images, partners, *noise, torch.ones(2), threshold=0.5),
    )


def test_parameters_of_the_copies_are_one_per_image() -> None:
    images, g = torch.rand(2, 3, 6, 6), generator(0)
    partners = torch.tensor([1, 0])
    boxes = sampling.boxes(2, (6, 6), side=(0.3, 0.5), generator=g)
    two, one, noise = (
        torch.ones(2, 2).long(),
        torch.ones(2),
        (torch.rand(2, 5, 5), torch.full((2, 2), 2), torch.rand(2)),
    )
    calls = {
        functional.cut_paste: [boxes, two, torch.zeros(2, 2, 3)],
        functional.cut_paste_scar: [two, two, one, two, torch.zeros(2, 2, 3)],
        functional.cut_paste_foreign: [partners, boxes, two, one],
        functional.perlin_blend: [partners, *noise, one],
    }
    for kernel, args in calls.items():
        assert kernel(images, *args).shape == images.shape
        for place in range(len(args)):
            short = [arg[:1] if number == place else arg for number, arg in enumerate(args)]
            name = list(inspect.signature(kernel).parameters)[1 + place]
            with pytest.raises(ValueError, match=f"^{name} must .*one entry per image"):
                kernel(images, *short)
        with pytest.raises(TypeError, match="floating point or uint8"):
            kernel(images.long(), *args)
        with pytest.raises(ValueError, match=r"must be \(B, C, H, W\)"):
            kernel(images[0], *args)


class TestErrors:
    BOXES = torch.tensor([[0, 0, 2, 2]])

    @pytest.mark.parametrize("fill", ["mean", "", "patch-mean"])
    def test_unknown_word(self, fill: str) -> None:
        with pytest.raises(ValueError, match=f"unknown fill '{fill}'; known are patch_mean, image_mean, zero"):
            functional.cutout(torch.rand(1, 3, 4, 4), self.BOXES, fill)

    @pytest.mark.parametrize("fill", [float("nan"), float("inf"), (0.0, float("nan"), 0.0), ()], ids=str)
    def test_a_fill_that_is_no_number(self, fill) -> None:
        with pytest.raises(ValueError, match=re.escape(f"finite numbers, got {fill}")):
            functional.cutout(torch.rand(1, 3, 4, 4), self.BOXES, fill)

    @pytest.mark.parametrize("fill", [(0.1,), (0.1, 0.2), (0.1, 0.2, 0.3, 0.4)], ids=str)
    def test_one_number_per_channel(self, fill) -> None:
        with pytest.raises(ValueError, match=f"{len(fill)} numbers for images of 3 channels"):
            functional.cutout(torch.rand(1, 3, 4, 4), self.BOXES, fill)

    @pytest.mark.parametrize("fill", [0, 255, (0, 128, 255)], ids=str)
    def test_the_ends_of_uint8_are_within(self, fill) -> None:
        filled = functional.cutout(torch.full((1, 3, 4, 4), 7, dtype=torch.uint8), self.BOXES, fill)
        row, col = self.BOXES[0, 1], self.BOXES[0, 0]
        assert filled[0, :, row, col].tolist() == list(fill if isinstance(fill, tuple) else [fill] * 3)

    @pytest.mark.parametrize("fill", [256, -1, 300.0, (0, 0, 999)], ids=str)
    def test_a_number_beyond_uint8(self, fill) -> None:
        with pytest.raises(ValueError, match="uint8"):
            functional.cutout(torch.zeros(1, 3, 4, 4, dtype=torch.uint8), self.BOXES, fill)

    @pytest.mark.parametrize("shape", [(1, 3), (2, 4), (4,)])
    def test_shape_of_the_boxes(self, shape: tuple[int, ...]) -> None:
        with pytest.raises(ValueError, match=r"boxes must have shape \(1, 4\)") as caught:
            functional.cutout(torch.rand(1, 3, 4, 4), torch.zeros(shape, dtype=torch.long))
        assert str(shape) in str(caught.value)

    @pytest.mark.parametrize("shape", [(4, 4), (3, 4, 4)])
    def test_rank(self, shape: tuple[int, ...]) -> None:
        with pytest.raises(ValueError, match=r"must be \(B, C, H, W\)"):
            functional.cutout(torch.rand(shape), self.BOXES)

    def test_dtype(self) -> None:
        with pytest.raises(TypeError, match=r"floating point or uint8, got torch\.int64"):
            functional.cutout(torch.zeros(1, 3, 4, 4, dtype=torch.long), self.BOXES)
