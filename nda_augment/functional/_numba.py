"""Kernels that Numba builds for the CPU: what takes several passes over whole images elsewhere, in one.

Those that ``_triton`` has take and return what they do there. They compute as the eager operations do, in their order
and rounded where they round, but for means, which are added in double precision, and for noise and fields, which come
to within the rounding of float32. Importing this module takes Numba.
"""

import ctypes
import math
import os
from functools import cache
from typing import Any

import numpy as np
import torch
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic
from numba.np.arrayobj import make_array
from numpy.typing import NDArray
from torch import Tensor

from nda_augment._constants import counted, kept
from nda_augment.functional._precision import working_dtype

Array = NDArray[Any]

# What is built is kept beside this file, or in the user's cache where that cannot be written to.
_OPTIONS: dict[str, Any] = {"nogil": True, "cache": True, "error_model": "numpy"}
_compiled = njit(**_OPTIONS)
# For products and sums that torch rounds once, too.
_compiled_with_one_rounding = njit(**_OPTIONS, fastmath={"contract"})
# For sums in any order, so that several are made at a time.
_compiled_in_any_order = njit(**_OPTIONS, fastmath={"reassoc"})

_BITS = {1: np.uint8, 2: np.int16, 4: np.int32, 8: np.int64}
_LEAST = 2**18  # bytes that are worth another thread
_NO_CHOICE = np.empty(0, np.int64)


def paste_(
    target: Tensor,
    own: Tensor | None,
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
    """Fill planes with those of images, and a box of each from elsewhere."""
    batch, count, height, width, values = target.shape
    in_place, chosen, size = own is None, (_given(choice), number), (count, height, width)
    if image is None and offset is None and mean is None and feather is None and source.stride()[2:4] == (0, 0):
        _fill(*_bits(target, own, source[:, :, 0, 0]), in_place, _array(boxes), *chosen, *size, values)
        return
    donor = counted(batch, target.device) if image is None else image
    shifts = kept(_no_shifts, batch, device=target.device) if offset is None else offset
    places = _array(boxes), _array(donor), _array(shifts)
    if mean is None and feather is None:
        _move(*_bytes(target, own, source), in_place, *places, *chosen, *size, values * target.element_size())
        return
    real = working_dtype(target)
    colours = [target.new_empty(batch, 0, 0, dtype=real)] * 3
    if mean is not None and gain is not None and change is not None:
        colours = [part.to(real).flatten(2).repeat(1, 1, width) for part in (mean, gain, change)]
    opacity = kept(_opaque, batch, device=target.device) if weight is None else weight
    blended = *map(_array, (*colours, opacity)), mean is not None, -1.0 if feather is None else feather
    _compute(*_values(target, own, source), in_place, *places, *chosen, *size, values, *blended, _whole(target))


def mix_(
    target: Tensor,
    own: Tensor | None,
    source: Tensor,
    image: Tensor,
    weight: Tensor,
    choice: Tensor | None = None,
    number: int = 0,
) -> None:
    """Fill planes with ``weight * own + (1 - weight) * source[image]``."""
    images = _values(target, own, source)
    _mix(*images, own is None, _array(image), _array(weight), _given(choice), number, _whole(target))


def box_mean(planes: Tensor, boxes: Tensor, choice: Tensor | None = None, number: int = 0) -> Tensor:
    """Return the mean of each plane over a box, ``(B, P, 1, 1, S)`` in the images' dtype."""
    means = planes.new_empty(*planes.shape[:2], 1, 1, planes.shape[-1])
    images, chosen = _values(planes, means), (_given(choice), number)
    _mean(*images, _array(boxes), *chosen, *planes.shape[1:], _whole(planes))
    return means


def put_together(
    planes: Tensor, donor: Tensor, sources: Tensor | None, cells: Tensor | None, grid_rows: int, grid_cols: int
) -> Tensor:
    """Return planes like others, put together from cells of a grid."""
    target, number = torch.empty_like(planes), grid_rows * grid_cols
    if sources is None:
        sources = counted(len(planes), planes.device).unsqueeze(1).expand(-1, number)
    cells = counted(number, planes.device).expand(len(planes), -1) if cells is None else cells
    count, height, width, values = planes.shape[1:]
    size = count, grid_rows, height // grid_rows, grid_cols, width // grid_cols * values * planes.element_size()
    _put(*_bytes(target, donor), _array(sources), _array(cells), *size)
    return target


def perlin_noise(angles: Tensor, across: Tensor, down: Tensor) -> Tensor:
    """Return Perlin noise ``(B, H, W)``."""
    noise = angles.new_empty(len(angles), down.shape[2], across.shape[3])
    _perlin(*map(_array, (noise, *_lattice(angles, across, down))))
    return noise


def blend_islands(
    planes: Tensor,
    source: Tensor,
    image: Tensor,
    weight: Tensor,
    angles: Tensor,
    across: Tensor,
    down: Tensor,
    threshold: float,
    least: int,
) -> Tensor:
    """Return planes with others blended into islands of Perlin noise.

    Args:
        planes: Contiguous planes ``(B, P, H, W, S)``.
        source: Contiguous planes ``(N, P, H, W, S)``.
        image: int64 ``(B,)``, the image of ``source`` that is blended in.
        weight: Opacity of what is blended in, ``(B,)``.
        angles: Directions of the gradient at each corner of the lattice, ``(B, N, N)``, in radians.
        across: Share of the columns in the pixels' places, in cells, ``(B, 2, 1, W)``.
        down: Share of the rows, ``(B, 2, H, 1)``.
        threshold: Noise that belongs to an island.
        least: Pixels that do at least: those where it is highest.
    """
    target, real = torch.empty_like(planes), working_dtype(planes)
    noise = *map(_array, _lattice(angles, across, down)), threshold, least
    opacity = _array(image), _array(weight.to(real))
    _islands(*_values(target, planes, source), *opacity, *noise, *planes.shape[1::3], _whole(planes))
    return target


def turn(planes: Tensor, turns: Tensor, grid_rows: int, grid_cols: int) -> Tensor:
    """Return planes whose cells are turned.

    Args:
        planes: Contiguous planes ``(B, P, H, W, S)``.
        turns: int64 ``(B, rows * cols)``, counter-clockwise quarter turns, 0..3; odd ones of square cells only.
        grid_rows: Rows of the grid.
        grid_cols: Columns of the grid.
    """
    target = torch.empty_like(planes)
    count, height, width, values = planes.shape[1:]
    _turn(
        *_bits(target, planes),
        _array(turns),
        count,
        grid_rows,
        height // grid_rows,
        grid_cols,
        width // grid_cols,
        values,
    )
    return target


def tile(planes: Tensor, side: Tensor, windows: Tensor) -> Tensor:
    """Return planes that are tiled with windows of themselves.

    Args:
        planes: Contiguous planes ``(B, P, H, W, S)``.
        side: int64 ``(B,)``, the side of the tiles.
        windows: int64 ``(B, rows, cols, 2)``, the corner ``(x, y)`` of the window that each tile shows.
    """
    target = torch.empty_like(planes)
    count, height, width, values = planes.shape[1:]
    size = count, height, width, values * planes.element_size()
    _tile(*_bytes(target, planes), _array(side), _array(windows), *size)
    return target


def average_tiles(planes: Tensor, side: Tensor, windows: Tensor, lower: Tensor, right: Tensor) -> Tensor:
    """Return the average of four tilings, each half a tile from the next.

    Args:
        planes: Contiguous planes ``(B, P, H, W, S)``.
        side: int64 ``(B,)``, the side of the tiles.
        windows: int64 ``(B, 4, rows, cols, 2)``, the corner ``(x, y)`` of the window that each tile shows.
        lower: Weight of the tilings that lie half a tile lower at each row, ``(B, H)``.
        right: Weight of those that lie half a tile further right at each column, ``(B, W)``.
    """
    target, real = torch.empty_like(planes), working_dtype(planes)
    weights = _array(lower.to(real)), _array(right.to(real).repeat_interleave(planes.shape[-1], 1))
    _average(*_values(target, planes), _array(side), _array(windows), *weights, *planes.shape[1:], _whole(planes))
    return target


def warp(planes: Tensor, noise: Tensor, down: Tensor, across: Tensor) -> Tensor:
    """Return planes warped by affine maps that vary from place to place.

    Args:
        planes: Contiguous planes ``(B, P, H, W, S)``, not in double precision.
        noise: Nodes of the six fields, ``(B, 6, N, N)``, float32: turn, binary logs of two scales, shear, and two
            shifts in half sides.
        down: Weight of each node at each row, ``(H, N)``.
        across: Weight of each node at each column, ``(N, W)``.
    """
    target = torch.empty_like(planes)
    fields = map(_array, (noise, down, across))
    _warp(*_values(target, planes), *fields, planes.shape[1], planes.shape[4], _whole(planes))
    return target


def colour(planes: Tensor, noise: Tensor, down: Tensor, across: Tensor) -> Tensor:
    """Return planes of three channels, frame by frame, whose colours are turned and stretched.

    Args:
        planes: Contiguous planes ``(B, P, H, W, S)``, not in double precision: ``P`` is 3 to a frame, or ``S`` is 3.
        noise: Nodes of the three fields, ``(B, 3, N, N)``, float32: hue, binary logs of saturation and contrast.
        down: Weight of each node at each row, ``(H, N)``.
        across: Weight of each node at each column, ``(N, W)``.
    """
    target = torch.empty_like(planes)
    count, height, width, values = planes.shape[1:]
    frames, plane = (count // 3, height * width) if values == 1 else (1, 1)
    fields = map(_array, (noise, down, across))
    _colour(*_values(target, planes), *fields, frames, plane, values, _whole(planes))
    return target


def _whole(images: Tensor) -> bool:
    return images.dtype == torch.uint8


def _array(tensor: Tensor) -> Array:
    array: Array = tensor.detach().contiguous().numpy()
    return array


def _given(choice: Tensor | None) -> Array:
    """Return choices, or none."""
    return _NO_CHOICE if choice is None else _array(choice)


def _values(target: Tensor, *sources: Tensor | None) -> list[Array]:
    """Return the values of each image, ``(B, P * H * W * S)``; no source is the target itself."""
    return [
        _array(planes).reshape(len(planes), -1)
        for planes in (target if each is None else each for each in (target, *sources))
    ]


def _bits(target: Tensor, *sources: Tensor | None) -> list[Array]:
    """Return values that are not looked at, so that one kernel does for all dtypes of a size."""
    found = _values(target, *sources)
    return [values.view(_BITS[found[0].itemsize]) for values in found]


def _bytes(target: Tensor, *sources: Tensor | None) -> list[Array]:
    """Return the bytes of values that are moved line by line, so that one kernel does for all dtypes."""
    return [values.view(np.uint8) for values in _values(target, *sources)]


def _no_shifts(batch: int, device: torch.device) -> Tensor:
    return torch.zeros(batch, 2, dtype=torch.long, device=device)


def _opaque(batch: int, device: torch.device) -> Tensor:
    return torch.ones(batch, device=device)


def _lattice(angles: Tensor, across: Tensor, down: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return the slopes at the corners of a lattice, ``(B, N, N, 2)``, and what columns and rows add to places."""
    slopes = math.sqrt(2) * torch.stack([angles.cos(), angles.sin()], dim=-1)
    return slopes, across.squeeze(2), down.squeeze(3)


class _Kernel:
    """A kernel for the images from a first one to a last one of a batch, which threads share."""

    def __init__(self, function: Any) -> None:
        self._kernel = _compiled(function)

    def __call__(self, target: Array, *arguments: Any) -> None:
        number = len(target)
        threads = min(torch.get_num_threads(), number, target.nbytes // _LEAST)
        openmp = _openmp() if threads > 1 else None
        if openmp is None:
            self._kernel(target, *arguments, 0, number)
            return
        failures: list[BaseException] = []

        def do_part(_: None) -> None:
            try:
                part, parts = openmp.omp_get_thread_num(), openmp.omp_get_num_threads()
                self._kernel(target, *arguments, number * part // parts, number * (part + 1) // parts)
            except BaseException as error:  # nobody above would hear of it, not even of an interrupt
                failures.append(error)

        openmp.GOMP_parallel(_PART(do_part), None, threads, 0)
        if failures:
            raise failures[0]


_PART = ctypes.CFUNCTYPE(None, ctypes.c_void_p)


@cache
def _openmp() -> Any:
    """Return the OpenMP that torch has loaded, or None if it is another one than GNU's or has lost its threads.

    Its threads look out for work for some milliseconds after each of torch's operations, and others, such as Numba's
    own, would have to wait for their cores meanwhile.
    """
    openmp = ctypes.CDLL(None) if os.name == "posix" else None
    return openmp if hasattr(openmp, "GOMP_parallel") and not _forked else None


_forked = False


def _after_fork() -> None:
    # Threads do not survive a fork, and OpenMP waits for them for ever.
    global _forked
    _forked = True
    _openmp.cache_clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


@intrinsic
def _copy(context, target, to, source, start, length):
    """Copy values of one array into another, from places on: a loop takes longer for the few of a line."""

    def build(context, builder, signature, arguments):
        target, to, source, start, length = arguments
        target = _address(context, builder, signature.args[0], target, to)
        source = _address(context, builder, signature.args[2], source, start)
        cgutils.raw_memcpy(builder, target, source, length, _size_of(context, signature.args[0]))
        return context.get_dummy_value()

    return types.none(target, types.intp, source, types.intp, types.intp), build


@intrinsic
def _fetch(context, source, start, length):
    """Ask for values of an array that are wanted soon: of memory that is read in pieces no processor guesses the next.

    Places that the array has not are no fault.
    """

    def build(context, builder, signature, arguments):
        source, start, length = arguments
        first = _address(context, builder, signature.args[0], source, start)
        number = ir.IntType(32)
        prefetch = cgutils.get_or_insert_function(
            builder.module, ir.FunctionType(ir.VoidType(), [first.type, *[number] * 3]), "llvm.prefetch.p0"
        )
        line = length.type(_LINE_OF_CACHE // _size_of(context, signature.args[0]))
        with cgutils.for_range(builder, builder.udiv(length, line)) as loop:
            place = builder.gep(first, [builder.mul(loop.index, line)])
            builder.call(prefetch, [place, *map(number, (_TO_READ, _TO_KEEP, _DATA))])
        return context.get_dummy_value()

    return types.none(source, types.intp, types.intp), build


_LINE_OF_CACHE = 64
_TO_READ, _TO_KEEP, _DATA = 0, 3, 1


def _size_of(context: Any, array: Any) -> Any:
    return context.get_abi_sizeof(context.get_data_type(array.dtype))


def _address(context: Any, builder: Any, kind: Any, array: Any, place: Any) -> Any:
    return builder.gep(make_array(kind)(context, builder, array).data, [place])


@_compiled
def _within(low, high, length):
    """Return the part of a range that lies in an image."""
    low = min(max(low, 0), length)
    return low, max(min(high, length), low)


@_compiled
def _runs(low, high, offset, length):
    """Return how long a part of a line is, where it comes from in a cycle, and how much of it before that one's end."""
    start = (low - offset) % length
    return high - low, start, min(high - low, length - start)


@_compiled
def _is_chosen(choice, number, image):
    return len(choice) == 0 or choice[image] == number


@_Kernel
def _fill(target, own, colours, in_place, boxes, choice, number, planes, height, width, values, first, last):
    for image in range(first, last):
        if _is_chosen(choice, number, image):
            _fill_box(target[image], own[image], colours[image], in_place, boxes[image], planes, height, width, values)


@_compiled
def _fill_box(target, own, colours, in_place, box, planes, height, width, values):
    left, right = _within(box[0], box[2], width)
    top, bottom = _within(box[1], box[3], height)
    done = 0
    for plane in range(planes):
        for row in range(plane * height + top, plane * height + bottom):
            at = (row * width + left) * values
            if not in_place:
                _copy(target, done, own, done, at - done)
            done = at + (right - left) * values
            for value in range(values):
                _repeat(target[at + value : done], values, colours[plane * values + value])
    if not in_place:
        _copy(target, done, own, done, len(target) - done)


@_compiled
def _repeat(target, gap, value):
    if gap == 1:
        for place in range(len(target)):
            target[place] = value
    else:
        for place in range(0, len(target), gap):
            target[place] = value


@_Kernel
def _move(
    target, own, source, in_place, boxes, donor, offset, choice, number, planes, height, width, values, first, last
):
    for image in range(first, last):
        if _is_chosen(choice, number, image):
            borrowed, box, shift = source[donor[image]], boxes[image], offset[image]
            _move_box(target[image], own[image], borrowed, in_place, box, shift, planes, height, width, values)


@_compiled
def _move_box(target, own, source, in_place, box, shift, planes, height, width, values):
    left, right = _within(box[0], box[2], width)
    top, bottom = _within(box[1], box[3], height)
    length, start, head = _runs(left, right, shift[0], width)
    length, start, head = length * values, start * values, head * values
    done = 0
    for plane in range(planes):
        come = (top - shift[1]) % height
        for row in range(plane * height + top, plane * height + bottom):
            at, line = (row * width + left) * values, (plane * height + come) * width * values
            if not in_place:
                _copy(target, done, own, done, at - done)
            _copy(target, at, source, line + start, head)
            if head < length:
                _copy(target, at + head, source, line, length - head)
            done = at + length
            come = come + 1 if come + 1 < height else 0
    if not in_place:
        _copy(target, done, own, done, len(target) - done)


@_Kernel
def _compute(
    target,
    own,
    source,
    in_place,
    boxes,
    donor,
    offset,
    choice,
    number,
    planes,
    height,
    width,
    values,
    mean,
    gain,
    change,
    weight,
    recoloured,
    feather,
    whole,
    first,
    last,
):
    for image in range(first, last):
        if _is_chosen(choice, number, image):
            _compute_box(
                target[image],
                own[image],
                source[donor[image]],
                in_place,
                boxes[image],
                offset[image],
                planes,
                height,
                width,
                values,
                mean[image],
                gain[image],
                change[image],
                weight[image],
                recoloured,
                feather,
                whole,
            )


@_compiled
def _compute_box(
    target,
    own,
    source,
    in_place,
    box,
    shift,
    planes,
    height,
    width,
    values,
    mean,
    gain,
    change,
    weight,
    recoloured,
    feather,
    whole,
):
    x0, y0, x1, y1 = box
    left, right = _within(x0, x1, width)
    top, bottom = _within(y0, y1, height)
    length, start, head = _runs(left, right, shift[0], width)
    across = np.empty(length * values, np.float32)
    if feather >= 0:
        for place in range(len(across)):
            across[place] = _depth(left + place // values, x0, x1, feather)
    left, length, start, head = left * values, length * values, start * values, head * values
    coming, kept = np.empty(length, mean.dtype), np.empty(length, mean.dtype)
    done = 0
    for plane in range(planes):
        come = (top - shift[1]) % height
        for row in range(top, bottom):
            at, line = (plane * height + row) * width * values + left, (plane * height + come) * width * values
            if not in_place:
                _copy(target, done, own, done, at - done)
            _convert(coming[:head], source[line + start :])
            _convert(coming[head:], source[line:])
            if recoloured:
                part = slice(left, left + length)
                _recolour(coming, mean[plane, part], gain[plane, part], change[plane, part])
                if whole:
                    _round(coming)
            if feather >= 0:
                _convert(kept, own[at:])
                _blend(coming, kept, across, _depth(row, y0, y1, feather) * weight)
                if whole:
                    _round(coming)
            done = at + length
            _convert(target[at:done], coming)
            come = come + 1 if come + 1 < height else 0
    if not in_place:
        _copy(target, done, own, done, len(target) - done)


@_compiled
def _convert(target, source):
    for place in range(len(target)):
        target[place] = source[place]


@_compiled
def _depth(place, low, high, feather):
    """Return how far a box has faded in at a place along one of its sides, in [0, 1]."""
    half = np.float32(0.5)
    middle = np.float32(place) + half
    depth = min(middle - np.float32(low), np.float32(high) - middle)
    reach = max(np.float32(feather) * np.float32(high - low) / np.float32(2), half)
    return min(max(depth / reach, np.float32(0)), np.float32(1))


@_compiled
def _recolour(line, mean, gain, change):
    for place in range(len(line)):
        line[place] = mean[place] + (line[place] - mean[place]) * gain[place] + change[place]


@_compiled
def _round(line):
    """Round computed values, halves to even, and hold them to what uint8 says."""
    for place in range(len(line)):
        line[place] = min(max(np.rint(line[place]), 0), 255)


@_compiled
def _blend(coming, kept, across, down):
    for place in range(len(coming)):
        share = type(coming[place])(down * across[place])
        coming[place] = _lerp(kept[place], coming[place], share) if share > 0 else kept[place]


@_compiled_with_one_rounding
def _lerp(start, end, weight):
    """Blend from the nearer end."""
    near = abs(weight) < type(weight)(0.5)
    return (start if near else end) + (weight if near else weight - type(weight)(1)) * (end - start)


@_Kernel
def _mix(target, own, source, in_place, donor, weight, choice, number, whole, first, last):
    for image in range(first, last):
        if _is_chosen(choice, number, image):
            _mix_images(target[image], own[image], source[donor[image]], in_place, weight[image], whole)


@_compiled
def _mix_images(target, own, source, in_place, share, whole):
    if not in_place:
        _mix_values(target, own, source, share, whole)
        return
    # Values that are written over are read one by one.
    few = np.empty(_FEW, target.dtype)
    for start in range(0, len(target), _FEW):
        end = min(start + _FEW, len(target))
        _mix_values(few[: end - start], own[start:end], source[start:end], share, whole)
        _copy(target, start, few, 0, end - start)


_FEW = 4096


@_compiled
def _mix_values(target, own, source, share, whole):
    # Blend from the nearer end.
    near = abs(share) < type(share)(0.5)
    base, factor = source if near else own, share if near else share - type(share)(1)
    if whole:
        _add_rounded(target, base, source, own, factor)
    else:
        _add(target, base, source, own, factor)


@_compiled_with_one_rounding
def _add(target, base, start, end, factor):
    for place in range(len(target)):
        target[place] = base[place] + factor * (end[place] - start[place])


@_compiled_with_one_rounding
def _add_rounded(target, base, start, end, factor):
    real = type(factor)
    for place in range(len(target)):
        mixed = real(base[place]) + factor * (real(end[place]) - real(start[place]))
        target[place] = np.uint8(np.rint(mixed))


@_Kernel
def _mean(images, means, boxes, choice, number, planes, height, width, values, whole, first, last):
    for image in range(first, last):
        if _is_chosen(choice, number, image):
            _mean_of_box(images[image], means[image], boxes[image], planes, height, width, values, whole)


@_compiled
def _mean_of_box(image, means, box, planes, height, width, values, whole):
    left, right = _within(box[0], box[2], width)
    top, bottom = _within(box[1], box[3], height)
    area = float((box[2] - box[0]) * (box[3] - box[1]))
    for plane in range(planes):
        for value in range(values):
            total = 0.0
            for row in range(plane * height + top, plane * height + bottom):
                start, end = (row * width + left) * values, (row * width + right) * values
                # Of one value a pixel the line is known to have no gaps.
                total += _sum(image[start:end]) if values == 1 else _sum(image[start + value : end : values])
            means[plane * values + value] = np.rint(total / area) if whole else total / area


@_compiled_in_any_order
def _sum(line):
    total = 0.0
    for place in range(len(line)):
        total += line[place]
    return total


@_Kernel
def _put(target, donor, sources, cells, planes, rows, height, cols, width, first, last):
    for image in range(first, last):
        _put_cells(target[image], donor, sources[image], cells[image], planes, rows, height, cols, width)


@_compiled
def _put_cells(target, donor, sources, cells, planes, rows, height, cols, width):
    line, size = cols * width, rows * height * cols * width
    starts = np.empty(len(cells), np.int64)
    for place in range(len(cells)):
        starts[place] = cells[place] // cols * height * line + cells[place] % cols * width
    at = 0
    for plane in range(planes):
        for first in range(0, len(cells), cols):
            # Line by line, so that what is written has no gaps.
            for row in range(height):
                for place in range(first, first + cols):
                    borrowed, start = donor[sources[place]], plane * size + starts[place] + row * line
                    _fetch(borrowed, start + 2 * line, width)
                    _copy(target, at, borrowed, start, width)
                    at += width


@_compiled
def _copy_lines(target, to, source, start, lines, stride, length):
    for line in range(lines):
        _copy(target, to + line * stride, source, start + line * stride, length)


@_Kernel
def _turn(target, source, turns, planes, rows, height, cols, width, values, first, last):
    for image in range(first, last):
        for cell in range(rows * cols):
            for plane in range(planes):
                corner = ((plane * rows + cell // cols) * height * cols + cell % cols) * width * values
                _turn_cell(
                    target[image], source[image], corner, turns[image, cell], height, width, cols * width, values
                )


@_compiled
def _turn_cell(target, source, corner, turns, height, width, line, values):
    if turns == 0:
        _copy_lines(target, corner, source, corner, height, line * values, width * values)
        return
    # Where the first pixel comes from, and how far from there the next one along a line, and that below it, do.
    if height != width or turns == 2:
        first, along, below = (height - 1) * line + width - 1, -1, -line
    elif turns == 1:
        first, along, below = width - 1, line, -1
    else:
        first, along, below = (height - 1) * line, -line, 1
    # A few lines at a time, so that those which columns become stay in a cache.
    for top in range(0, height, _BLOCK):
        for left in range(0, width, _BLOCK):
            to, start = corner + (top * line + left) * values, corner + (first + top * below + left * along) * values
            rows, cols = min(_BLOCK, height - top), min(_BLOCK, width - left)
            if rows == cols == _BLOCK and values == 1:
                # Numbers that a compiler knows take half the time.
                _turn_block(target, source, _BLOCK, _BLOCK, to, start, 1, line, along, below)
                continue
            for value in range(values):
                _turn_block(target, source, rows, cols, to + value, start + value, values, line, along, below)


@njit(**_OPTIONS, inline="always")
def _turn_block(target, source, rows, cols, to, start, gap, line, along, below):
    # Of numbers without a sign nobody asks whether they count from the end; those below 0 wrap around, and back.
    to, start, line = np.uint64(to), np.uint64(start), np.uint64(line * gap)
    along, below, gap = np.uint64(along * gap), np.uint64(below * gap), np.uint64(gap)
    for row in range(np.uint64(rows)):
        for col in range(np.uint64(cols)):
            target[to + row * line + col * gap] = source[start + row * below + col * along]


_BLOCK = 8


@_Kernel
def _tile(target, source, side, windows, planes, height, width, values, first, last):
    for image in range(first, last):
        for plane in range(planes):
            for row in range(height):
                at = (plane * height + row) * width * values
                _tile_line(
                    target[image], at, source[image], plane, row, 0, side[image], windows[image], height, width, values
                )


@_compiled
def _tile_line(target, at, source, plane, row, col, side, windows, height, width, values):
    """Fill a line with those of the windows that tiles show: its row and its first column are counted in tiles."""
    windows, inside, done = windows[row // side], row % side, 0
    while done < width:
        tile, begun = (col + done) // side, (col + done) % side
        start = ((plane * height + windows[tile, 1] + inside) * width + windows[tile, 0] + begun) * values
        length = min(side - begun, width - done)
        _copy(target, at + done * values, source, start, length * values)
        done += length


@_Kernel
def _average(target, source, side, windows, lower, right, planes, height, width, values, whole, first, last):
    for image in range(first, last):
        _average_tilings(
            target[image],
            source[image],
            side[image],
            windows[image],
            lower[image],
            right[image],
            planes,
            height,
            width,
            values,
            whole,
        )


@_compiled
def _average_tilings(target, source, side, windows, lower, right, planes, height, width, values, whole):
    length, half = width * values, side // 2
    lines, mixed = np.empty((4, length), source.dtype), np.empty(length, right.dtype)
    for plane in range(planes):
        for row in range(height):
            for number in range(4):
                down, across = row + number // 2 * half, number % 2 * half
                _tile_line(lines[number], 0, source, plane, down, across, side, windows[number], height, width, values)
            _average_lines(mixed, lines[0], lines[1], lines[2], lines[3], right, lower[row])
            if whole:
                _round(mixed)
            at = (plane * height + row) * length
            _convert(target[at : at + length], mixed)


@_compiled
def _average_lines(mixed, first, second, third, fourth, right, lower):
    real = type(lower)
    for place in range(len(mixed)):
        above = _lerp(real(first[place]), real(second[place]), right[place])
        below = _lerp(real(third[place]), real(fourth[place]), right[place])
        mixed[place] = _lerp(above, below, lower)


@_Kernel
def _perlin(noise, slopes, across, down, first, last):
    for image in range(first, last):
        _draw_noise(noise[image], slopes[image], across[image], down[image])


@_compiled
def _draw_noise(noise, slopes, across, down):
    width = noise.shape[1]
    for row in range(len(noise)):
        first = 0
        while first < width:
            left, upper = np.floor(across[0, first] + down[0, row]), np.floor(across[1, first] + down[1, row])
            end = first + 1
            while (
                end < width
                and np.floor(across[0, end] + down[0, row]) == left
                and np.floor(across[1, end] + down[1, row]) == upper
            ):
                end += 1
            part = slice(first, end)
            _draw_in_cell(noise[row, part], slopes, left, upper, across[0, part], across[1, part], down[:, row])
            first = end


@_compiled_with_one_rounding
def _draw_in_cell(noise, slopes, left, upper, across, along, down):
    """Draw noise in some pixels of a line that lie in one cell of the lattice, whose corners are the same for all."""
    last = len(slopes) - 1
    x0, x1 = min(max(int(left), 0), last), min(max(int(left) + 1, 0), last)
    y0, y1 = min(max(int(upper), 0), last), min(max(int(upper) + 1, 0), last)
    first, second, third, fourth = slopes[y0, x0], slopes[y0, x1], slopes[y1, x0], slopes[y1, x1]
    real = type(left)
    for place in range(len(noise)):
        x, y = across[place] + down[0], along[place] + down[1]
        right, lower = _faded(x - left), _faded(y - upper)
        above = _between(_plane(first, x - real(x0), y - real(y0)), _plane(second, x - real(x1), y - real(y0)), right)
        below = _between(_plane(third, x - real(x0), y - real(y1)), _plane(fourth, x - real(x1), y - real(y1)), right)
        noise[place] = _between(above, below, lower)


@_compiled_with_one_rounding
def _faded(t):
    """Return a share of a cell's side, faded as Perlin does."""
    real = type(t)
    return t * t * t * (t * (real(6) * t - real(15)) + real(10))


@_compiled_with_one_rounding
def _between(start, end, share):
    return start + share * (end - start)


@_compiled_with_one_rounding
def _plane(slope, x, y):
    return slope[0] * x + slope[1] * y


@_Kernel
def _islands(
    target, own, source, donor, weight, slopes, across, down, threshold, least, planes, values, whole, first, last
):
    for image in range(first, last):
        noise = np.empty((down.shape[2], across.shape[2]), slopes.dtype)
        _draw_noise(noise, slopes[image], across[image], down[image])
        opacity = _opacity(noise.reshape(-1), threshold, least, weight[image], values)
        for plane in range(planes):
            part = slice(plane * len(opacity), (plane + 1) * len(opacity))
            _blend_where(target[image, part], own[image, part], source[donor[image], part], opacity, whole)


@_compiled
def _opacity(noise, threshold, least, weight, values):
    """Return the opacity of each value: a weight where noise is at least a threshold, or among the highest."""
    limit = type(noise[0])(threshold)
    reached = 0
    for pixel in range(len(noise)):
        reached += noise[pixel] >= limit
    if reached < least:
        limit = np.partition(noise, len(noise) - least)[len(noise) - least]
    opacity = np.empty(len(noise), type(weight))
    for pixel in range(len(noise)):
        opacity[pixel] = weight if noise[pixel] >= limit else type(weight)(0)
    return opacity if values == 1 else np.repeat(opacity, values)


@_compiled
def _blend_where(target, own, source, opacity, whole):
    real = type(opacity[0])
    for place in range(len(target)):
        start, end, share = real(own[place]), real(source[place]), opacity[place]
        mixed = _lerp(start, end, share) if share > 0 else start
        target[place] = np.rint(mixed) if whole else mixed


@_Kernel
def _warp(target, source, noise, down, across, planes, values, whole, first, last):
    for image in range(first, last):
        _warp_image(target[image], source[image], noise[image], down, across, planes, values, whole)


@_compiled
def _warp_image(target, source, noise, down, across, planes, values, whole):
    height, width, size = len(down), across.shape[1], len(down) * across.shape[1]
    fields, x, y = np.empty((6, width), np.float32), np.empty(width, np.float32), np.empty(width, np.float32)
    first, step_x, step_y = np.empty(width, np.int32), np.empty(width, np.int32), np.empty(width, np.int32)
    for row in range(height):
        _draw_fields(fields, noise, down[row], across)
        _bend_line(x, y, fields, _middle(row, height), width)
        _find_pixels(x, width, first, step_x, np.int32(1))
        # In place of a turn: the columns are kept while the rows are looked for.
        columns = first.copy()
        _find_pixels(y, height, first, step_y, np.int32(width))
        for place in range(width):
            first[place] = (first[place] * np.int32(width) + columns[place]) * np.int32(values)
            step_x[place] *= np.int32(values)
            step_y[place] *= np.int32(values)
        for plane in range(planes):
            for value in range(values):
                start = plane * size * values + value
                part = source[start : start + (size - 1) * values + 1]
                line = target[start + row * width * values : start + ((row + 1) * width - 1) * values + 1]
                _sample_line(line, values, part, first, step_x, step_y, x, y, whole)


@_compiled
def _middle(place, length):
    """Return the middle of a pixel along a side, which goes from -1 to 1."""
    return np.float32(place * 2 + 1) / np.float32(length) - np.float32(1)


@_compiled_with_one_rounding
def _draw_fields(fields, noise, down, across):
    """Draw a line of some fields: weighted sums of the nodes of noise ``(F, N, N)``, down and across."""
    nodes = len(down)
    column = np.empty(nodes, np.float32)
    for field in range(len(fields)):
        column[:] = 0
        for row in range(nodes):
            for col in range(nodes):
                column[col] += down[row] * noise[field, row, col]
        line = fields[field]
        line[:] = 0
        for col in range(0, nodes - 3, 4):
            # Four at a time, so that the line is read and written less often.
            a, b, c, d = across[col], across[col + 1], across[col + 2], across[col + 3]
            for place in range(len(line)):
                line[place] += (column[col] * a[place] + column[col + 1] * b[place]) + (
                    column[col + 2] * c[place] + column[col + 3] * d[place]
                )
        for col in range(nodes - nodes % 4, nodes):
            for place in range(len(line)):
                line[place] += column[col] * across[col, place]


@_compiled_with_one_rounding
def _bend_line(x, y, fields, middle, width):
    """Fill in where the pixels of a line come from: a turn, two scales, a shear and two shifts of their places."""
    for place in range(width):
        here = np.float32(place * 2 + 1) / np.float32(width) - np.float32(1)
        sin, cos = _sin_and_cos(fields[0, place])
        sheared_x = _exp2(fields[1, place]) * (here + fields[3, place] * middle)
        sheared_y = _exp2(fields[2, place]) * middle
        x[place] = fields[4, place] + cos * sheared_x - sin * sheared_y
        y[place] = fields[5, place] + sin * sheared_x + cos * sheared_y


@_compiled
def _find_pixels(places, length, first, step, stride):
    """Turn places, from -1 to 1 along a side, into pixels and how far behind them places lie; mirror those outside."""
    side, half, none = np.float32(length), np.float32(0.5), np.float32(0)
    for number in range(len(places)):
        place = abs(((places[number] + np.float32(1)) * side - np.float32(1)) * half + half)
        turns = np.floor(place / side)
        rest = place - turns * side
        place = (rest if turns % np.float32(2) == none else side - rest) - half
        # What is no number becomes 0, too.
        place = place if place > none else none
        place = place if place < side - np.float32(1) else side - np.float32(1)
        first[number] = np.int32(place)
        step[number] = stride if first[number] + 1 < length else np.int32(0)
        places[number] = place - np.float32(first[number])


@_compiled
def _sample_line(line, gap, source, first, step_x, step_y, x, y, whole):
    one = np.float32(1)
    for place in range(len(first)):
        at = first[place]
        above = np.float32(source[at]) * (one - x[place]) + np.float32(source[at + step_x[place]]) * x[place]
        at += step_y[place]
        below = np.float32(source[at]) * (one - x[place]) + np.float32(source[at + step_x[place]]) * x[place]
        value = above * (one - y[place]) + below * y[place]
        line[place * gap] = min(max(np.rint(value), 0), 255) if whole else value


@_compiled_with_one_rounding
def _exp2(power):
    """Return 2 to a power, to within the rounding of float32: a series about the nearest whole number."""
    power = min(max(power, np.float32(-126)), np.float32(128))
    nearest = np.rint(power)
    rest = (power - nearest) * np.float32(0.6931471805599453)
    value = np.float32(1 / 5040)
    for factor in (1 / 720, 1 / 120, 1 / 24, 1 / 6, 0.5, 1.0, 1.0):
        value = value * rest + np.float32(factor)
    # A float32 whose bits say 2 to the nearest whole number and nothing else.
    return value * np.int32((np.int32(nearest) + np.int32(127)) << np.int32(23)).view(np.float32)


@_compiled_with_one_rounding
def _sin_and_cos(angle):
    """Return sine and cosine to within the rounding of float32: series about the nearest quarter turn.

    Source: the coefficients are those of Moshier, Cephes mathematical library.
    """
    quarters = np.rint(angle * np.float32(2 / np.pi))
    # A quarter turn in three parts, the first of which have so few digits that the products are exact.
    rest = angle - quarters * np.float32(1.5703125)
    rest = rest - quarters * np.float32(4.837512969970703e-4)
    rest = rest - quarters * np.float32(7.549789948768648e-8)
    square = rest * rest
    sin = np.float32(-1.9515295891e-4) * square + np.float32(8.3321608736e-3)
    sin = (sin * square - np.float32(1.6666654611e-1)) * square * rest + rest
    cos = np.float32(2.443315711809948e-5) * square - np.float32(1.388731625493765e-3)
    cos = (cos * square + np.float32(4.166664568298827e-2)) * square * square - np.float32(0.5) * square + np.float32(1)
    turn = np.int32(quarters) & np.int32(3)
    swapped = (turn & np.int32(1)) != 0
    upper, right = cos if swapped else sin, sin if swapped else cos
    return (
        -upper if turn >= np.int32(2) else upper,
        -right if turn == np.int32(1) or turn == np.int32(2) else right,
    )


@_Kernel
def _colour(target, source, noise, down, across, frames, plane, pixel, whole, first, last):
    for image in range(first, last):
        _colour_image(target[image], source[image], noise[image], down, across, frames, plane, pixel, whole)


@_compiled
def _colour_image(target, source, noise, down, across, frames, plane, pixel, whole):
    """Change the colours of an image whose channels lie ``plane`` values apart, and its pixels ``pixel``."""
    height, width = len(down), across.shape[1]
    size, step = height * width, pixel * width
    fields, colours = np.empty((3, width), np.float32), np.empty((3, width), np.float32)
    means = np.empty(frames, np.float32)
    for frame in range(frames):
        means[frame] = _sum(source[frame * 3 * size : (frame + 1) * 3 * size]) / size
    for row in range(height):
        _draw_fields(fields, noise, down[row], across)
        _prepare_colours(fields)
        for frame in range(frames):
            for channel in range(3):
                at = frame * 3 * size + channel * plane + row * step
                for place in range(width):
                    colours[channel, place] = source[at + place * pixel]
            _turn_colours(colours, fields, means[frame])
            for channel in range(3):
                at = frame * 3 * size + channel * plane + row * step
                if whole:
                    _round(colours[channel])
                for place in range(width):
                    target[at + place * pixel] = colours[channel, place]


@_compiled
def _prepare_colours(fields):
    """Turn hue, saturation and contrast into factors: of a channel, of the difference of the others, of the grey."""
    for place in range(fields.shape[1]):
        sin, cos = _sin_and_cos(fields[0, place])
        stretch, contrast = _exp2(fields[1, place]), _exp2(fields[2, place])
        fields[0, place], fields[1, place], fields[2, place] = cos * stretch, sin * stretch, contrast


@_compiled_with_one_rounding
def _turn_colours(colours, fields, middle):
    third, root = np.float32(1 / 3), np.float32(1 / math.sqrt(3))
    for place in range(colours.shape[1]):
        red, green, blue = colours[0, place], colours[1, place], colours[2, place]
        own, others = fields[0, place], fields[1, place] * root
        total = red + green + blue
        rest = middle * third + third * ((total - middle) * fields[2, place]) - third * (own * total)
        colours[0, place] = rest + own * red + others * (blue - green)
        colours[1, place] = rest + own * green + others * (red - blue)
        colours[2, place] = rest + own * blue + others * (green - red)
