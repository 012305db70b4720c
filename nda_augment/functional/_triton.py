"""Triton kernels for CUDA devices: what takes several passes over whole images elsewhere, in one.

A kernel reads and writes no pixel that it has no use for, and computes as the eager operations do, in their order and
rounded where they round; a mean alone adds in another order. Each is an operator of torch, so that fake tensors know
it. Importing this module takes Triton.
"""

from contextlib import AbstractContextManager

import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.library import custom_op
from triton.backends.nvidia.compiler import CUDAOptions

# Without fusion products and sums are rounded one by one. Indices out of range stop the device, as they do in torch.
_WANTED = {"enable_fp_fusion": False, "debug": True, "sanitize_overflow": False}
_OPTIONS = {name: value for name, value in _WANTED.items() if name in CUDAOptions.__dataclass_fields__}
_PIXELS = 1024  # of a tile
_TILES = 4  # of a program that may have nothing to do
_MOST_PROGRAMS = 2**16 - 1  # along the second axis of a grid


@custom_op("nda_augment::paste_", mutates_args=("target",))
def paste_(
    target: Tensor,
    own: Tensor,
    boxes: Tensor,
    source: Tensor,
    image: Tensor | None = None,
    offset: Tensor | None = None,
    mean: Tensor | None = None,
    gain: Tensor | None = None,
    change: Tensor | None = None,
    weight: Tensor | None = None,
    feather: float | None = None,
    choice: Tensor | None = None,
    number: int = 0,
) -> None:
    """Fill planes with those of images, and a box of each from elsewhere.

    Args:
        target: Contiguous planes ``(B, P, H, W, S)`` to write.
        own: Planes of the images, contiguous.
        boxes: int64 ``(B, 4)`` of ``(x0, y0, x1, y1)``.
        source: Planes ``(N, P, H, W, S)``, of any strides, that the boxes are filled from.
        image: int64 ``(B,)``, the image of ``source`` that they come from; its own by default.
        offset: int64 ``(B, 2)``, how far right and down the pixels move, cyclically.
        mean: Mean about which the contrast of each plane changes, ``(B, P, 1, 1, S)``; without it colours stay.
        gain: Factor of that contrast, likewise.
        change: Change of brightness, likewise.
        weight: Opacity of what is blended in, ``(B,)``; 1 by default.
        feather: Share of half a side over which it fades in; without a number it is not blended.
        choice: int64 ``(B,)``; only images whose choice is ``number`` are written.
        number: Number of the choice.
    """
    batch, count, height, width, values = target.shape
    rows, cols = _tile(height, width * values)
    tiles = triton.cdiv(height, rows)
    with _device_of(target):
        _paste[batch * count, tiles if choice is None else triton.cdiv(tiles, _TILES)](
            target,
            own,
            boxes.contiguous(),
            source,
            _contiguous(image),
            _contiguous(offset),
            _contiguous(mean),
            _contiguous(gain),
            _contiguous(change),
            _contiguous(weight),
            feather,
            _contiguous(choice),
            number,
            len(source),
            count,
            height,
            width,
            *source.stride(),
            dtype=_working_dtype(target),
            values=values,
            rows=rows,
            cols=cols,
            **_OPTIONS,
        )


@custom_op("nda_augment::mix_", mutates_args=("target",))
def mix_(
    target: Tensor,
    own: Tensor,
    source: Tensor,
    image: Tensor,
    weight: Tensor,
    choice: Tensor | None = None,
    number: int = 0,
) -> None:
    """Fill planes with ``weight * own + (1 - weight) * source[image]``.

    Args:
        target: Contiguous planes ``(B, P, H, W, S)`` to write.
        own: Planes of the images, contiguous.
        source: Contiguous planes ``(N, P, H, W, S)``.
        image: int64 ``(B,)``, the image of ``source``.
        weight: Share of an image itself, ``(B,)``, in the dtype of the images unless that is uint8.
        choice: int64 ``(B,)``; only images whose choice is ``number`` are written.
        number: Number of the choice.
    """
    pixels = target[:1].numel()
    tiles = triton.cdiv(pixels, _PIXELS)
    with _device_of(target):
        _mix[len(target), min(triton.cdiv(tiles, 1 if choice is None else _TILES), _MOST_PROGRAMS)](
            target,
            own,
            source,
            image.contiguous(),
            weight.contiguous(),
            _contiguous(choice),
            number,
            len(source),
            pixels,
            dtype=tl.float64 if torch.float64 in (target.dtype, weight.dtype) else tl.float32,
            block=_PIXELS,
            **_OPTIONS,
        )


@custom_op("nda_augment::box_mean", mutates_args=())
def box_mean(planes: Tensor, boxes: Tensor, choice: Tensor | None = None, number: int = 0) -> Tensor:
    """Return the mean of each plane over a box, ``(B, P, 1, 1, S)`` in the images' dtype.

    Args:
        planes: Contiguous planes ``(B, P, H, W, S)``.
        boxes: int64 ``(B, 4)`` of ``(x0, y0, x1, y1)``.
        choice: int64 ``(B,)``; images whose choice is another than ``number`` get no mean.
        number: Number of the choice.
    """
    batch, count, height, width, values = planes.shape
    means = planes.new_empty(batch, count, 1, 1, values)
    rows, cols = _tile(height, width)
    with _device_of(planes):
        _box_mean[(means.numel(),)](
            means,
            planes,
            boxes.contiguous(),
            _contiguous(choice),
            number,
            count,
            height,
            width,
            dtype=_working_dtype(planes),
            values=values,
            rows=rows,
            cols=cols,
            **_OPTIONS,
        )
    return means


@box_mean.register_fake
def _(planes: Tensor, boxes: Tensor, choice: Tensor | None = None, number: int = 0) -> Tensor:
    return planes.new_empty(*planes.shape[:2], 1, 1, planes.shape[-1])


@custom_op("nda_augment::put_", mutates_args=("target",))
def put_(
    target: Tensor,
    donor: Tensor,
    sources: Tensor | None,
    cells: Tensor | None,
    grid_rows: int,
    grid_cols: int,
    choice: Tensor | None = None,
    number: int = 0,
) -> None:
    """Fill planes with cells of a grid of those of images.

    Args:
        target: Contiguous planes ``(B, P, H, W, S)`` to write.
        donor: Contiguous planes ``(N, P, H, W, S)`` that cells come from.
        sources: int64 ``(B, rows * cols)``, the image of ``donor`` that each comes from; its own by default.
        cells: int64 ``(B, rows * cols)``, the cell of that image; the same by default.
        grid_rows: Rows of the grid.
        grid_cols: Columns of the grid.
        choice: int64 ``(B,)``; only images whose choice is ``number`` are written.
        number: Number of the choice.
    """
    batch, count, height, width, values = target.shape
    rows, cols = _tile(height, width * values)
    with _device_of(target):
        _put[batch * count, triton.cdiv(height, rows), triton.cdiv(width * values, cols)](
            target,
            donor.contiguous(),
            _contiguous(sources),
            _contiguous(cells),
            _contiguous(choice),
            number,
            len(donor),
            count,
            height,
            width,
            grid_rows=grid_rows,
            grid_cols=grid_cols,
            values=values,
            rows=rows,
            cols=cols,
            **_OPTIONS,
        )


@custom_op("nda_augment::perlin_noise", mutates_args=())
def perlin_noise(angles: Tensor, across: Tensor, down: Tensor) -> Tensor:
    """Return Perlin noise ``(B, H, W)``.

    Args:
        angles: Directions of the gradient at each corner of the lattice, ``(B, N, N)``, in radians.
        across: Share of the columns in the pixels' places, in cells, ``(B, 2, 1, W)``.
        down: Share of the rows, ``(B, 2, H, 1)``.
    """
    height, width = down.shape[2], across.shape[3]
    noise = angles.new_empty(len(angles), height, width)
    rows, cols = _tile(height, width)
    with _device_of(angles):
        _perlin_noise[len(angles), triton.cdiv(height, rows), triton.cdiv(width, cols)](
            noise,
            angles.contiguous(),
            across.contiguous(),
            down.contiguous(),
            angles.shape[-1],
            height,
            width,
            dtype=_working_dtype(angles),
            rows=rows,
            cols=cols,
            **_OPTIONS,
        )
    return noise


@perlin_noise.register_fake
def _(angles: Tensor, across: Tensor, down: Tensor) -> Tensor:
    return angles.new_empty(len(angles), down.shape[2], across.shape[3])


@triton.jit(do_not_specialize=["number", "pool"])
def _paste(
    target,
    own,
    boxes,
    source,
    image,
    offset,
    mean,
    gain,
    change,
    weight,
    feather,
    choice,
    number,
    pool,
    count,
    height,
    width,
    by_image,
    by_plane,
    by_row,
    by_col,
    by_value,
    dtype: tl.constexpr,
    values: tl.constexpr,
    rows: tl.constexpr,
    cols: tl.constexpr,
):
    plane = tl.program_id(0).to(tl.int64)
    batch = plane // count
    x0, y0, x1, y1 = _box(boxes, batch)
    bottom = height
    if choice is not None:
        bottom = tl.where(tl.load(choice + batch) == number, height, 0)
    donor = batch
    if image is not None:
        donor = tl.load(image + batch)
        tl.device_assert((donor >= 0) & (donor < pool), "index out of range")
    source += donor * by_image + plane % count * by_plane
    down, across = 0, 0
    if offset is not None:
        across, down = _cyclic(tl.load(offset + 2 * batch), width), _cyclic(tl.load(offset + 2 * batch + 1), height)
    element = target.dtype.element_ty
    for first in range(tl.program_id(1) * rows, bottom, tl.num_programs(1) * rows):
        for start in range(0, width * values, cols):
            y, place = first + tl.arange(0, rows)[:, None], start + tl.arange(0, cols)[None, :]
            x, value = place // values, place % values
            here = (y < bottom) & (x < width)
            inside = here & (y >= y0) & (y < y1) & (x >= x0) & (x < x1)
            row, col = y - down, x - across
            row, col = tl.where(row < 0, row + height, row), tl.where(col < 0, col + width, col)
            coming = tl.load(source + row * by_row + col * by_col + value * by_value, mask=inside)
            if mean is not None:
                part = plane * values + value
                around = tl.load(mean + part)
                deviation = (coming.to(dtype) - around) * tl.load(gain + part)
                coming = _to(around + deviation + tl.load(change + part), element)
            at = plane * height * width * values + y * width * values + place
            if feather is None:
                kept = tl.load(own + at, mask=here & ~inside)
                tl.store(target + at, tl.where(inside, coming, kept), mask=here)
            else:
                kept = tl.load(own + at, mask=here)
                opacity = _depth(y, y0, y1, feather)
                if weight is not None:
                    opacity *= tl.load(weight + batch)
                opacity *= _depth(x, x0, x1, feather)
                mixed = _to(_lerp(kept.to(dtype), coming.to(dtype), opacity.to(dtype)), element)
                tl.store(target + at, tl.where(inside & (opacity > 0), mixed, kept), mask=here)


@triton.jit(do_not_specialize=["number", "pool"])
def _mix(target, own, source, image, weight, choice, number, pool, pixels, dtype: tl.constexpr, block: tl.constexpr):
    batch = tl.program_id(0).to(tl.int64)
    donor = tl.load(image + batch)
    tl.device_assert((donor >= 0) & (donor < pool), "index out of range")
    end = pixels
    if choice is not None:
        end = tl.where(tl.load(choice + batch) == number, pixels, 0)
    share = tl.full((block,), 1.0, dtype) * tl.load(weight + batch).to(dtype)
    for start in range(tl.program_id(1) * block, end, tl.num_programs(1) * block):
        place = start + tl.arange(0, block)
        here = place < end
        kept = tl.load(own + batch * pixels + place, mask=here).to(dtype)
        coming = tl.load(source + donor * pixels + place, mask=here).to(dtype)
        mixed = _to(_lerp(coming, kept, share), target.dtype.element_ty)
        tl.store(target + batch * pixels + place, mixed, mask=here)


@triton.jit(do_not_specialize=["number"])
def _box_mean(
    means,
    planes,
    boxes,
    choice,
    number,
    count,
    height,
    width,
    dtype: tl.constexpr,
    values: tl.constexpr,
    rows: tl.constexpr,
    cols: tl.constexpr,
):
    part = tl.program_id(0).to(tl.int64)
    plane, value = part // values, part % values
    batch = plane // count
    x0, y0, x1, y1 = _box(boxes, batch)
    bottom = tl.minimum(y1, height)
    if choice is not None:
        bottom = tl.where(tl.load(choice + batch) == number, bottom, y0)
    total = tl.zeros((rows, cols), dtype)
    for first in range(tl.maximum(y0, 0), bottom, rows):
        for start in range(tl.maximum(x0, 0), tl.minimum(x1, width), cols):
            y, x = first + tl.arange(0, rows)[:, None], start + tl.arange(0, cols)[None, :]
            at = plane * height * width * values + (y * width + x) * values + value
            total += tl.load(planes + at, mask=(y < bottom) & (x < x1) & (x < width), other=0).to(dtype)
    area = ((x1 - x0) * (y1 - y0)).to(dtype)
    tl.store(means + part, _to(_quotient(tl.sum(total), area), means.dtype.element_ty))


@triton.jit(do_not_specialize=["number", "pool"])
def _put(
    target,
    donor,
    sources,
    cells,
    choice,
    number,
    pool,
    count,
    height,
    width,
    grid_rows: tl.constexpr,
    grid_cols: tl.constexpr,
    values: tl.constexpr,
    rows: tl.constexpr,
    cols: tl.constexpr,
):
    plane = tl.program_id(0).to(tl.int64)
    batch = plane // count
    lines, wide = height // grid_rows, width // grid_cols
    y = tl.program_id(1) * rows + tl.arange(0, rows)[:, None]
    place = tl.program_id(2) * cols + tl.arange(0, cols)[None, :]
    x, value = place // values, place % values
    bottom = height
    if choice is not None:
        bottom = tl.where(tl.load(choice + batch) == number, height, 0)
    here = (y < bottom) & (x < width)
    cell = y // lines * grid_cols + x // wide
    known = batch * grid_rows * grid_cols + cell
    image = batch
    if sources is not None:
        image = tl.load(sources + known, mask=here, other=0)
        tl.device_assert((image >= 0) & (image < pool), "index out of range")
    if cells is not None:
        cell = tl.load(cells + known, mask=here, other=0).to(tl.int32)
        tl.device_assert((cell >= 0) & (cell < grid_rows * grid_cols), "index out of range")
    row, col = cell // grid_cols * lines + y % lines, cell % grid_cols * wide + x % wide
    size = height * width * values
    coming = tl.load(donor + (image * count + plane % count) * size + (row * width + col) * values + value, mask=here)
    tl.store(target + plane * size + y * width * values + place, coming, mask=here)


@triton.jit
def _perlin_noise(
    noise,
    angles,
    across,
    down,
    nodes,
    height,
    width,
    dtype: tl.constexpr,
    rows: tl.constexpr,
    cols: tl.constexpr,
):
    batch = tl.program_id(0).to(tl.int64)
    y = tl.program_id(1) * rows + tl.arange(0, rows)[:, None]
    x = tl.program_id(2) * cols + tl.arange(0, cols)[None, :]
    across += 2 * batch * width + x
    down += 2 * batch * height + y
    col = (tl.load(across, mask=x < width) + tl.load(down, mask=y < height)).to(dtype)
    row = (tl.load(across + width, mask=x < width) + tl.load(down + height, mask=y < height)).to(dtype)
    left, upper = tl.floor(col), tl.floor(row)
    right, lower = _faded(col - left), _faded(row - upper)
    angles += batch * nodes * nodes
    above = _lerp(_slope(angles, nodes, upper, left, row, col), _slope(angles, nodes, upper, left + 1, row, col), right)
    upper += 1
    below = _lerp(_slope(angles, nodes, upper, left, row, col), _slope(angles, nodes, upper, left + 1, row, col), right)
    here = (y < height) & (x < width)
    drawn = _lerp(above, below, lower).to(noise.dtype.element_ty)
    tl.store(noise + (batch * height + y) * width + x, drawn, mask=here)


@triton.jit
def _faded(t):
    """Return a share of a cell's side, faded as Perlin does."""
    return t * t * t * (t * (6 * t - 15) + 10)


@triton.jit
def _slope(angles, nodes, line, place, row, col):
    """Return the plane through a corner of the lattice, the nearest one that there is, at places in cells."""
    line, place = tl.clamp(line, 0.0, nodes - 1.0), tl.clamp(place, 0.0, nodes - 1.0)
    angle = tl.load(angles + (line * nodes + place).to(tl.int32)).to(col.dtype)
    return 1.4142135623730951 * (tl.cos(angle) * (col - place) + tl.sin(angle) * (row - line))


@triton.jit
def _box(boxes, batch):
    """Return the borders of an image's box."""
    corner = boxes + 4 * batch
    x0, y0 = tl.load(corner).to(tl.int32), tl.load(corner + 1).to(tl.int32)
    return x0, y0, tl.load(corner + 2).to(tl.int32), tl.load(corner + 3).to(tl.int32)


@triton.jit
def _cyclic(offset, length):
    """Return an offset from 0 to below a length; a remainder has the sign of the dividend."""
    return ((offset % length + length) % length).to(tl.int32)


@triton.jit
def _depth(place, low, high, feather):
    """Return how far a box has faded in at a place along one of its sides, in [0, 1]."""
    middle = place.to(tl.float32) + 0.5
    depth = tl.minimum(middle - low, high - middle)
    reach = tl.maximum(feather * (high - low).to(tl.float32) / 2, 0.5)
    return tl.minimum(tl.maximum(_quotient(depth, reach), 0.0), 1.0)


@triton.jit
def _lerp(start, end, weight):
    """Blend from the nearer end, with one rounding of product and sum, as torch does."""
    near = tl.abs(weight) < 0.5
    return tl.fma(tl.where(near, weight, weight - 1), end - start, tl.where(near, start, end))


@triton.jit
def _quotient(dividend, divisor):
    """Divide as IEEE 754 says: of floats in single precision Triton else takes an approximation."""
    if dividend.dtype == tl.float32:
        return tl.div_rn(dividend, divisor)
    return dividend / divisor


@triton.jit
def _to(number, element: tl.constexpr):
    """Convert computed values to the images' dtype; to uint8 they are rounded, halves to even, and held to 0..255."""
    if element == tl.uint8:
        low = tl.floor(number)
        rest = number - low
        up = (rest > 0.5) | ((rest == 0.5) & ((low.to(tl.int32) & 1) == 1))
        number = tl.minimum(tl.maximum(low + up.to(number.dtype), 0.0), 255.0)
    return number.to(element)


@paste_.register_fake
@mix_.register_fake
def _nothing(*arguments: object) -> None:
    """Return what is returned where nothing is written."""


def _tile(height: int, line: int) -> tuple[int, int]:
    """Return the rows and columns of a tile for planes of a height whose lines are so long."""
    cols = min(triton.next_power_of_2(line), _PIXELS // 4)
    return min(_PIXELS // cols, triton.next_power_of_2(height)), cols


def _working_dtype(images: Tensor) -> tl.dtype:
    return tl.float64 if images.dtype == torch.float64 else tl.float32


def _contiguous(tensor: Tensor | None) -> Tensor | None:
    return None if tensor is None else tensor.contiguous()


def _device_of(tensor: Tensor) -> AbstractContextManager[None]:
    """Return a context in which kernels run on the device of a tensor."""
    return torch.cuda.device_of(tensor)  # type: ignore[no-untyped-call]  # torch leaves it untyped
