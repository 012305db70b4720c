"""Kernels that Numba builds for the CPU: what takes several passes over whole images elsewhere, in one.

Those that ``_triton`` has take and return what they do there. They compute as the eager operations do, in their order
and rounded where they round, but for means, which are added in double precision, and for noise and fields, which come
to within the rounding of float32. They stand in one file, since Numba keeps what it has built and asks the file of a
kernel alone whether it has changed. Importing this module takes Numba.
"""

import math
from collections.abc import Iterable
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
from nda_augment.functional._openmp import OPTIONS, Kernel
from nda_augment.functional._precision import working_dtype

Array = NDArray[Any]

_compiled = njit(**OPTIONS)
# For products and sums that torch rounds once, too.
_compiled_with_one_rounding = njit(**OPTIONS, fastmath={"contract"})
# For sums in any order, so that several are made at a time.
_compiled_in_any_order = njit(**OPTIONS, fastmath={"reassoc"})

_BITS = {1: np.uint8, 2: np.int16, 4: np.int32, 8: np.int64}


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
    """Fill planes with those of images, and a box of each from elsewhere."""
    batch, count, height, width, values = target.shape
    chosen, size, streams = (_given(choice), number), (count, height, width), _streams(target)
    if image is None and offset is None and mean is None and feather is None and source.stride()[2:4] == (0, 0):
        _fill(*_bits(target, own, source[:, :, 0, 0]), _array(boxes), *chosen, *size, values, streams)
        return
    donor = counted(batch, target.device) if image is None else image
    shifts = kept(_no_shifts, batch, device=target.device) if offset is None else offset
    places = _array(boxes), _array(donor), _array(shifts)
    if mean is None and feather is None:
        line = values * target.element_size()
        _move(*_bytes(target, own, source), *places, *chosen, *size, line, streams)
        return
    real = working_dtype(target)
    colours = [target.new_empty(batch, 0, 0, dtype=real)] * 3
    if mean is not None and gain is not None and change is not None:
        colours = [part.to(real).flatten(2).repeat(1, 1, width) for part in (mean, gain, change)]
    opacity = kept(_opaque, batch, device=target.device) if weight is None else weight
    blended = *map(_array, (*colours, opacity)), mean is not None, -1.0 if feather is None else feather
    images = _values(target, own, source)
    _compute(*images, *places, *chosen, *size, values, *blended, _whole(target), streams)


def mix_(
    target: Tensor,
    own: Tensor,
    source: Tensor,
    image: Tensor,
    weight: Tensor,
    choice: Tensor | None = None,
    number: int = 0,
) -> None:
    """Fill planes with ``weight * own + (1 - weight) * source[image]``."""
    chosen, weights = (_given(choice), number), (_array(image), _array(weight))
    _mix(*_values(target, own, source), *weights, *chosen, _whole(target), _streams(target))


def box_mean(planes: Tensor, boxes: Tensor, choice: Tensor | None = None, number: int = 0) -> Tensor:
    """Return the mean of each plane over a box, ``(B, P, 1, 1, S)`` in the images' dtype."""
    means = planes.new_empty(*planes.shape[:2], 1, 1, planes.shape[-1])
    images, chosen = _values(planes, means), (_given(choice), number)
    _mean(*images, _array(boxes), *chosen, *planes.shape[1:], _whole(planes))
    return means


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
    """Fill planes with cells of a grid of those of images."""
    count, height, width, values = target.shape[1:]
    size = count, grid_rows, height // grid_rows, grid_cols, width // grid_cols * values * target.element_size()
    chosen = _given(choice), number
    _put(*_bytes(target, donor), _given(sources, 2), _given(cells, 2), *chosen, *size, _streams(target))


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
    grid = grid_rows, height // grid_rows, grid_cols, width // grid_cols
    _turn(*_bits(target, planes), _array(turns), count, *grid, values, _streams(target))
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
    _tile(*_bytes(target, planes), _array(side), _array(windows), *size, _streams(target))
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
    how = *weights, *planes.shape[1:], _whole(planes), _streams(target)
    _average(*_values(target, planes), _array(side), _array(windows), *how)
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
    target, (count, height, width, values) = torch.empty_like(planes), planes.shape[1:]
    fields = map(_array, (noise.transpose(1, 2), down, across))
    ready = (
        planes if planes.dtype == torch.float32 and values == 1 else planes.new_empty(0, 0, 0, 0, dtype=torch.float32)
    )
    pixels = _array(ready).reshape(len(ready), ready.shape[1], height * width)
    _warp(*_values(target, planes), pixels, *fields, count, values, _whole(planes))
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
    fields = map(_array, (noise.transpose(1, 2), down, across))
    _colour(*_values(target, planes), *fields, frames, plane, values, _whole(planes))
    return target


def order(keys: Tensor) -> Tensor:
    """Return the places of keys in ascending order, those of equal ones in theirs.

    Args:
        keys: Keys ``(B, n)``, not too many in a row: each is compared with all others.

    Returns:
        int64 tensor ``(B, n)``.
    """
    places = torch.empty_like(keys, dtype=torch.long)
    _order(_array(places), _array(keys))
    return places


def _whole(images: Tensor) -> bool:
    return images.dtype == torch.uint8


def _streams(target: Tensor) -> bool:
    """Tell whether images are to be written past the caches: more than these hold, each from a line of theirs on."""
    size = target.element_size()
    return (
        target.numel() * size >= _MOST_KEPT
        and target.shape[1:].numel() * size % _LINE_OF_CACHE == 0
        and target.data_ptr() % _LINE_OF_CACHE == 0
    )


_LINE_OF_CACHE = 64
_MOST_KEPT = 2**24


def _array(tensor: Tensor) -> Array:
    array: Array = tensor.detach().contiguous().numpy()
    return array


def _given(numbers: Tensor | None, ndim: int = 1) -> Array:
    """Return numbers of images or their cells, or none."""
    return np.empty((0,) * ndim, np.int64) if numbers is None else _array(numbers)


def _values(*images: Tensor) -> list[Array]:
    """Return the values of each image, ``(B, P * H * W * S)``."""
    return [_array(planes).reshape(len(planes), -1) for planes in images]


def _bits(*images: Tensor) -> list[Array]:
    """Return values that are not looked at, so that one kernel does for all dtypes of a size."""
    found = _values(*images)
    return [values.view(_BITS[found[0].itemsize]) for values in found]


def _bytes(*images: Tensor) -> list[Array]:
    """Return the bytes of values that are moved line by line, so that one kernel does for all dtypes."""
    return [values.view(np.uint8) for values in _values(*images)]


def _no_shifts(batch: int, device: torch.device) -> Tensor:
    return torch.zeros(batch, 2, dtype=torch.long, device=device)


def _opaque(batch: int, device: torch.device) -> Tensor:
    return torch.ones(batch, device=device)


def _lattice(angles: Tensor, across: Tensor, down: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return the slopes at the corners of a lattice, ``(B, N, N, 2)``, and what columns and rows add to places."""
    slopes = math.sqrt(2) * torch.stack([angles.cos(), angles.sin()], dim=-1)
    return slopes, across.squeeze(2), down.squeeze(3)


@intrinsic
def _at(context, array):
    """Return the address of an array's first value. It lives no longer than the array, whose last use this may be."""

    def build(context, builder, signature, arguments):
        data = make_array(signature.args[0])(context, builder, arguments[0]).data
        return builder.ptrtoint(data, context.get_value_type(types.intp))

    return types.intp(array), build


@intrinsic
def _copy(context, to, source, length):
    """Copy bytes from an address to another: a loop takes longer for the few of a line."""

    def build(context, builder, signature, arguments):
        to, source, length = arguments
        to, source = _pointer(builder, to, ir.IntType(8)), _pointer(builder, source, ir.IntType(8))
        cgutils.raw_memcpy(builder, to, source, length, 1)
        return context.get_dummy_value()

    return types.none(types.intp, types.intp, types.intp), build


@intrinsic
def _stream(context, to, source, length):
    """Copy bytes in whole lines of the caches, and past these, which then read none of them."""

    def build(context, builder, signature, arguments):
        to, source, length = arguments
        line = ir.VectorType(ir.IntType(8), _LINE_OF_CACHE)
        to, source = _pointer(builder, to, line), _pointer(builder, source, line)
        past_caches = builder.module.add_metadata([ir.IntType(32)(1)])
        with cgutils.for_range(builder, builder.udiv(length, length.type(_LINE_OF_CACHE))) as loop:
            values = builder.load(builder.gep(source, [loop.index]), align=1)
            store = builder.store(values, builder.gep(to, [loop.index]), align=_LINE_OF_CACHE)
            store.set_metadata("nontemporal", past_caches)
        return context.get_dummy_value()

    return types.none(types.intp, types.intp, types.intp), build


@intrinsic
def _settle(context, line):
    """Let other threads see what was written past the caches, with a line of these that bytes have waited in."""

    def build(context, builder, signature, arguments):
        builder.fence("seq_cst")
        return context.get_dummy_value()

    return types.none(line), build


@intrinsic
def _fetch(context, source, length):
    """Ask for bytes that are wanted soon: of memory that is read in pieces no processor guesses the next.

    Addresses where nothing is are no fault.
    """

    def build(context, builder, signature, arguments):
        source, length = arguments
        first, number = _pointer(builder, source, ir.IntType(8)), ir.IntType(32)
        prefetch = cgutils.get_or_insert_function(
            builder.module, ir.FunctionType(ir.VoidType(), [first.type, *[number] * 3]), "llvm.prefetch.p0"
        )
        line = length.type(_LINE_OF_CACHE)
        lines = builder.udiv(builder.add(length, length.type(_LINE_OF_CACHE - 1)), line)
        with cgutils.for_range(builder, lines) as loop:
            place = builder.gep(first, [builder.mul(loop.index, line)])
            builder.call(prefetch, [place, *map(number, (_TO_READ, _TO_KEEP, _DATA))])
        return context.get_dummy_value()

    return types.none(types.intp, types.intp), build


_TO_READ, _TO_KEEP, _DATA = 0, 3, 1


@intrinsic
def _gather(context, to, source, places, length):
    """Copy float32 numbers from int32 places of a source, several at a time, which compilers do not do by themselves.

    Everything is an address; ``length`` is a multiple of ``_LANES``.
    """

    def build(context, builder, signature, arguments):
        to, source, places, length = arguments
        number, place, size = (ir.VectorType(kind, _LANES) for kind in (ir.FloatType(), ir.IntType(32), length.type))
        truth, pointers = (ir.VectorType(kind, _LANES) for kind in (ir.IntType(1), ir.FloatType().as_pointer()))
        to, places = _pointer(builder, to, number), _pointer(builder, places, place)
        gather = cgutils.get_or_insert_function(
            builder.module,
            ir.FunctionType(number, [pointers, ir.IntType(32), truth, number]),
            f"llvm.masked.gather.v{_LANES}f32.v{_LANES}p0",
        )
        first, everywhere = _spread(builder, source), ir.Constant(truth, [1] * _LANES)
        with cgutils.for_range(builder, builder.udiv(length, length.type(_LANES))) as loop:
            offset = builder.zext(builder.load(builder.gep(places, [loop.index]), align=4), size)
            offset = builder.shl(offset, ir.Constant(size, [2] * _LANES))
            found = builder.inttoptr(builder.add(first, offset), pointers)
            values = builder.call(gather, [found, ir.IntType(32)(4), everywhere, ir.Constant(number, ir.Undefined)])
            builder.store(values, builder.gep(to, [loop.index]), align=4)
        return context.get_dummy_value()

    return types.none(types.intp, types.intp, types.intp, types.intp), build


@intrinsic
def _weigh(context, to, weights, stride, nodes, number, length):
    """Sum up lines of float32 nodes in as many ways as ``_SUMS``, which stay at hand until they are complete.

    Lines are named by their addresses: ``to`` is that of the sums, one behind the other, and ``weights`` that of what
    the nodes weigh in the first, with those of the next ``stride`` numbers behind. ``length`` is that of a line, a
    multiple of ``_LANES``.
    """

    def build(context, builder, signature, arguments):
        to, weights, stride, nodes, number, length = arguments
        kind = ir.VectorType(ir.FloatType(), _LANES)
        to, nodes = _pointer(builder, to, kind), _pointer(builder, nodes, kind)
        weights = _pointer(builder, weights, kind.element)
        blocks = builder.udiv(length, length.type(_LANES))
        totals = [cgutils.alloca_once(builder, kind) for _ in range(_SUMS)]
        with cgutils.for_range(builder, blocks) as place:
            for total in totals:
                builder.store(ir.Constant(kind, [0.0] * _LANES), total)
            with cgutils.for_range(builder, number) as node:
                at = builder.add(builder.mul(node.index, blocks), place.index)
                values = builder.load(builder.gep(nodes, [at]), align=4)
                for line, total in enumerate(totals):
                    at = builder.add(builder.mul(stride, stride.type(line)), node.index)
                    weight = _spread(builder, builder.load(builder.gep(weights, [at])))
                    product = builder.fmul(weight, values, flags=("contract",))
                    builder.store(builder.fadd(builder.load(total), product, flags=("contract",)), total)
            for line, total in enumerate(totals):
                at = builder.add(builder.mul(blocks, blocks.type(line)), place.index)
                builder.store(builder.load(total), builder.gep(to, [at]), align=4)
        return context.get_dummy_value()

    return types.none(*[types.intp] * 6), build


_LANES, _SUMS = 32, 3


@_compiled
def _filled_up(array):
    """Return a copy of an array, with rows and columns of 0 behind its own: several are taken at a time."""
    rows, cols = array.shape
    filled = np.zeros((-(-rows // _SUMS) * _SUMS, -(-cols // _LANES) * _LANES), array.dtype)
    filled[:rows, :cols] = array
    return filled


def _spread(builder: Any, value: Any) -> Any:
    """Repeat a number in all lanes of a vector."""
    one = builder.insert_element(ir.Constant(ir.VectorType(value.type, _LANES), ir.Undefined), value, ir.IntType(32)(0))
    return builder.shuffle_vector(one, one, ir.Constant(ir.VectorType(ir.IntType(32), _LANES), [0] * _LANES))


def _pointer(builder: Any, address: Any, kind: Any) -> Any:
    return builder.inttoptr(address, kind.as_pointer())


@njit(**OPTIONS, inline="always")
def _append(to, source, length, rest):
    """Copy bytes behind those of an image that were written before.

    Past the caches it goes by whole lines of these: bytes of one that is not whole yet wait at the address ``rest``. At
    0 none do, and what is written is kept in the caches.
    """
    if rest == 0:
        _copy(to, source, length)
        return
    begun = to % _LINE_OF_CACHE
    if begun:
        head = min(_LINE_OF_CACHE - begun, length)
        _copy(rest + begun, source, head)
        if begun + head < _LINE_OF_CACHE:
            return
        _stream(to - begun, rest, _LINE_OF_CACHE)
        to, source, length = to + head, source + head, length - head
    left = length % _LINE_OF_CACHE
    _stream(to, source, length - left)
    if left:
        _copy(rest, source + length - left, left)


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


@Kernel
def _fill(first, last, target, own, colours, boxes, choice, number, planes, height, width, values, streams):
    line = np.empty(_LINE_OF_CACHE, np.uint8)
    rest = _at(line) if streams else 0
    for image in range(first, last):
        if _is_chosen(choice, number, image):
            box, colour = boxes[image], colours[image]
            _fill_box(target[image], own[image], colour, box, planes, height, width, values, rest)
    _settle(line)


@_compiled
def _fill_box(target, own, colours, box, planes, height, width, values, rest):
    left, right = _within(box[0], box[2], width)
    top, bottom = _within(box[1], box[3], height)
    line, done, size = np.empty((right - left) * values, target.dtype), 0, target.itemsize
    to, before = _at(target), _at(own)
    for plane in range(planes):
        for value in range(values):
            _repeat(line[value:], values, colours[plane * values + value])
        for row in range(plane * height + top, plane * height + bottom):
            at = (row * width + left) * values * size
            _append(to + done, before + done, at - done, rest)
            _append(to + at, _at(line), len(line) * size, rest)
            done = at + len(line) * size
    _append(to + done, before + done, len(target) * size - done, rest)


@_compiled
def _repeat(target, gap, value):
    if gap == 1:
        for place in range(len(target)):
            target[place] = value
    else:
        for place in range(0, len(target), gap):
            target[place] = value


@Kernel
def _move(
    first,
    last,
    target,
    own,
    source,
    boxes,
    donor,
    offset,
    choice,
    number,
    planes,
    height,
    width,
    values,
    streams,
):
    line = np.empty(_LINE_OF_CACHE, np.uint8)
    rest = _at(line) if streams else 0
    for image in range(first, last):
        if _is_chosen(choice, number, image):
            borrowed, box, shift = source[donor[image]], boxes[image], offset[image]
            _move_box(target[image], own[image], borrowed, box, shift, planes, height, width, values, rest)
    _settle(line)


@_compiled
def _move_box(target, own, source, box, shift, planes, height, width, values, rest):
    left, right = _within(box[0], box[2], width)
    top, bottom = _within(box[1], box[3], height)
    length, start, head = _runs(left, right, shift[0], width)
    length, start, head = length * values, start * values, head * values
    to, before, borrowed, done = _at(target), _at(own), _at(source), 0
    for plane in range(planes):
        come = (top - shift[1]) % height
        for row in range(plane * height + top, plane * height + bottom):
            at, line = (row * width + left) * values, (plane * height + come) * width * values
            _append(to + done, before + done, at - done, rest)
            _append(to + at, borrowed + line + start, head, rest)
            if head < length:
                _append(to + at + head, borrowed + line, length - head, rest)
            done = at + length
            come = come + 1 if come + 1 < height else 0
    _append(to + done, before + done, len(target) - done, rest)


@Kernel
def _compute(
    first,
    last,
    target,
    own,
    source,
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
    streams,
):
    line = np.empty(_LINE_OF_CACHE, np.uint8)
    rest = _at(line) if streams else 0
    for image in range(first, last):
        if _is_chosen(choice, number, image):
            _compute_box(
                target[image],
                own[image],
                source[donor[image]],
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
                rest,
            )
    _settle(line)


@_compiled
def _compute_box(
    target,
    own,
    source,
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
    rest,
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
    coming, kept, written = np.empty(length, mean.dtype), np.empty(length, mean.dtype), np.empty(length, target.dtype)
    to, before, done, size = _at(target), _at(own), 0, target.itemsize
    for plane in range(planes):
        come = (top - shift[1]) % height
        for row in range(top, bottom):
            at, line = (plane * height + row) * width * values + left, (plane * height + come) * width * values
            _append(to + done, before + done, at * size - done, rest)
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
            _convert(written, coming)
            _append(to + at * size, _at(written), length * size, rest)
            done = (at + length) * size
            come = come + 1 if come + 1 < height else 0
    _append(to + done, before + done, len(target) * size - done, rest)


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


@Kernel
def _mix(first, last, target, own, source, donor, weight, choice, number, whole, streams):
    line = np.empty(_LINE_OF_CACHE, np.uint8)
    rest = _at(line) if streams else 0
    for image in range(first, last):
        if _is_chosen(choice, number, image):
            _mix_images(target[image], own[image], source[donor[image]], weight[image], whole, rest)
    _settle(line)


@_compiled
def _mix_images(target, own, source, share, whole, rest):
    if rest == 0:
        _mix_values(target, own, source, share, whole)
        return
    few, size = np.empty(_FEW, target.dtype), target.itemsize
    for start in range(0, len(target), _FEW):
        end = min(start + _FEW, len(target))
        _mix_values(few[: end - start], own[start:end], source[start:end], share, whole)
        _append(_at(target) + start * size, _at(few), (end - start) * size, rest)


_FEW = 2048


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


@Kernel
def _mean(first, last, images, means, boxes, choice, number, planes, height, width, values, whole):
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


@Kernel
def _put(first, last, target, donor, sources, cells, choice, number, planes, rows, height, cols, width, streams):
    line = np.empty(_LINE_OF_CACHE, np.uint8)
    rest = _at(line) if streams else 0
    starts = np.empty(rows * cols, np.int64)
    for image in range(first, last):
        if _is_chosen(choice, number, image):
            for cell in range(rows * cols):
                source = sources[image, cell] if len(sources) else image
                shown = cells[image, cell] if len(cells) else cell
                starts[cell] = (source * planes * rows * height + shown // cols * height) * cols + shown % cols
            _put_cells(target[image], donor, starts, planes, rows, height, cols, width, rest)
    _settle(line)


@_compiled
def _put_cells(target, donor, starts, planes, rows, height, cols, width, rest):
    """Put cells together that begin at some of the segments that lines are cut into."""
    to, begin, line = _at(target), _at(donor), cols * width
    joined = np.empty(line, np.uint8)
    for plane in range(planes):
        for row in range(rows):
            for inside in range(height):
                below = (plane * rows * height + inside) * line
                if cols == 1:
                    _append(to, begin + starts[row] * width + below, width, rest)
                    to += line
                    continue
                at = _at(joined) if rest else to
                for cell in range(row * cols, (row + 1) * cols):
                    start = begin + starts[cell] * width + below
                    if inside + 4 < height:
                        _fetch(start + 4 * line, width)
                    _copy(at, start, width)
                    at += width
                if rest:
                    _append(to, _at(joined), line, rest)
                to += line


@Kernel
def _turn(first, last, target, source, turns, planes, rows, height, cols, width, values, streams):
    line = np.empty(_LINE_OF_CACHE, np.uint8)
    rest = _at(line) if streams else 0
    for image in range(first, last):
        _turn_cells(target[image], source[image], turns[image], planes, rows, height, cols, width, values, rest)
    _settle(line)


@_compiled
def _turn_cells(target, source, turns, planes, rows, height, cols, width, values, rest):
    to, start, line, size = _at(target), _at(source), cols * width * values, target.itemsize
    # A few lines at a time, so that those which columns become stay in a cache.
    band = np.empty(_BLOCK * line, source.dtype)
    for plane in range(planes):
        for row in range(rows):
            for top in range(0, height, _BLOCK):
                lines = min(_BLOCK, height - top)
                # Lines of the next plane: no processor guesses which ones columns take.
                _fetch(start + rows * height * line * size, lines * line * size)
                start += lines * line * size
                for col in range(cols):
                    corner = ((plane * rows + row) * height * cols + col) * width * values
                    part = band[col * width * values :]
                    _turn_lines(part, source, corner, turns[row * cols + col], top, lines, height, width, line, values)
                _append(to, _at(band), lines * line * size, rest)
                to += lines * line * size


@_compiled
def _turn_lines(band, source, corner, turns, top, lines, height, width, line, values):
    """Fill in some lines of a turned cell, from ``top`` on."""
    filled, begin, size = _at(band), _at(source), source.itemsize
    if turns == 0:
        for row in range(lines):
            start = begin + (corner + (top + row) * line) * size
            _copy(filled + row * line * size, start, width * values * size)
        return
    # Where the first pixel comes from, and how far from there the next one along a line, and that below it, do.
    across = line // values
    if height != width or turns == 2:
        first, along, below = (height - 1) * across + width - 1, -1, -across
    elif turns == 1:
        first, along, below = width - 1, across, -1
    else:
        first, along, below = (height - 1) * across, -across, 1
    for left in range(0, width, _BLOCK):
        to, start = left * values, corner + (first + top * below + left * along) * values
        cols = min(_BLOCK, width - left)
        if lines == cols == _BLOCK and values == 1:
            _turn_block(source[0], filled + to * size, line * size, begin + start * size, size, along, below)
            continue
        for row in range(lines):
            for col in range(cols):
                for value in range(values):
                    pixel = source[start + (row * below + col * along) * values + value]
                    band[to + (row * across + col) * values + value] = pixel


@njit(**OPTIONS, inline="always")
def _turn_block(kind, to, line, source, size, along, below):
    """Fill in a block of values like one; ``along`` and ``below`` say how far from each other they come from."""
    last = (_BLOCK - 1) * size
    if along == -1:
        for row in range(_BLOCK):
            _reverse(kind, to + row * line, source + row * below * size - last)
    elif below == -1:
        _transpose(kind, to + (_BLOCK - 1) * line, -line, source - last, along * size)
    else:
        _transpose(kind, to, line, source, along * size)


@intrinsic
def _reverse(context, kind, to, source):
    """Copy the values of a line of a block from last to first, all addresses."""

    def build(context, builder, signature, arguments):
        _, to, source = arguments
        line = ir.VectorType(ir.IntType(kind.bitwidth), _BLOCK)
        values = builder.load(_pointer(builder, source, line), align=1)
        builder.store(_shuffled(builder, values, values, reversed(range(_BLOCK))), _pointer(builder, to, line), align=1)
        return context.get_dummy_value()

    return types.none(kind, types.intp, types.intp), build


@intrinsic
def _transpose(context, kind, to, to_step, source, step):
    """Copy the lines of a block, ``step`` bytes apart, into its columns, whose lines are ``to_step`` bytes apart."""

    def build(context, builder, signature, arguments):
        _, to, to_step, source, step = arguments
        line = ir.VectorType(ir.IntType(kind.bitwidth), _BLOCK)

        def place(first: Any, step: Any, number: int) -> Any:
            return _pointer(builder, builder.add(first, builder.mul(step, step.type(number))), line)

        lines = [builder.load(place(source, step, number), align=1) for number in range(_BLOCK)]
        half = _BLOCK // 2
        # Each time the lines of the upper half are shuffled into those of the lower one.
        for _ in range(_BLOCK.bit_length() - 1):
            pairs = list(zip(lines[:half], lines[half:], strict=True))
            lines = [
                _shuffled(builder, *pair, (value + part * _BLOCK for value in values for part in range(2)))
                for pair in pairs
                for values in (range(half), range(half, _BLOCK))
            ]
        for number, values in enumerate(lines):
            builder.store(values, place(to, to_step, number), align=1)
        return context.get_dummy_value()

    return types.none(kind, *[types.intp] * 4), build


def _shuffled(builder: Any, first: Any, second: Any, places: Iterable[int]) -> Any:
    return builder.shuffle_vector(first, second, ir.Constant(ir.VectorType(ir.IntType(32), _BLOCK), list(places)))


_BLOCK = 8


@Kernel
def _tile(first, last, target, source, side, windows, planes, height, width, values, streams):
    line = np.empty(_LINE_OF_CACHE, np.uint8)
    rest = _at(line) if streams else 0
    joined = np.empty(width * values, np.uint8)
    for image in range(first, last):
        own, tiles, to = source[image], windows[image], _at(target[image])
        for plane in range(planes):
            for row in range(height):
                at = _at(joined) if streams else to
                _tile_line(at, own, plane, row, 0, side[image], tiles, height, width, values)
                if streams:
                    _append(to, _at(joined), width * values, rest)
                to += width * values
    _settle(line)


@_compiled
def _tile_line(to, source, plane, row, col, side, windows, height, width, values):
    """Fill a line with those of the windows that tiles show: its row and its first column are counted in tiles."""
    windows, inside, tile, begun, done = windows[row // side], row % side, col // side, col % side, 0
    begin, line = _at(source), width * values
    while done < width:
        place = (plane * height + windows[tile, 1] + inside) * width + windows[tile, 0] + begun
        length = min(side - begun, width - done)
        _fetch(begin + place * values + 4 * line, length * values)
        _copy(to + done * values, begin + place * values, length * values)
        tile, begun, done = tile + 1, 0, done + length


@Kernel
def _average(first, last, target, source, side, windows, lower, right, planes, height, width, values, whole, streams):
    line = np.empty(_LINE_OF_CACHE, np.uint8)
    rest = _at(line) if streams else 0
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
            rest,
        )
    _settle(line)


@_compiled
def _average_tilings(target, source, side, windows, lower, right, planes, height, width, values, whole, rest):
    to, length, half, size = _at(target), width * values, side // 2, target.itemsize
    lines, written = np.empty((4, length), source.dtype), np.empty(length, source.dtype)
    mixed = np.empty(length, right.dtype)
    tile, source = (height, width, values * size), source.view(np.uint8)
    for plane in range(planes):
        for row in range(height):
            for number in range(4):
                down, across = row + number // 2 * half, number % 2 * half
                _tile_line(_at(lines[number]), source, plane, down, across, side, windows[number], *tile)
            _average_lines(mixed, lines[0], lines[1], lines[2], lines[3], right, lower[row])
            if whole:
                _round(mixed)
            _convert(written, mixed)
            _append(to, _at(written), length * size, rest)
            to += length * size


@_compiled
def _average_lines(mixed, first, second, third, fourth, right, lower):
    real = type(lower)
    for place in range(len(mixed)):
        above = _lerp(real(first[place]), real(second[place]), right[place])
        below = _lerp(real(third[place]), real(fourth[place]), right[place])
        mixed[place] = _lerp(above, below, lower)


@Kernel
def _perlin(first, last, noise, slopes, across, down):
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


@Kernel
def _islands(
    first, last, target, own, source, donor, weight, slopes, across, down, threshold, least, planes, values, whole
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


@Kernel
def _warp(first, last, target, source, pixels, noise, down, across, planes, values, whole):
    ready = len(pixels) > 0
    parted = np.empty((0 if ready else planes * values, len(down) * across.shape[1]), np.float32)
    across = _filled_up(across)
    for image in range(first, last):
        if ready:
            _warp_image(target[image], pixels[image], noise[image], down, across, values, whole)
        else:
            _part_planes(parted, source[image], values)
            _warp_image(target[image], parted, noise[image], down, across, values, whole)


@_compiled
def _warp_image(target, pixels, noise, down, across, values, whole):
    height = len(down)
    width = pixels.shape[1] // height
    fields, columns = np.empty((6, across.shape[1]), np.float32), _weigh_down(noise, down)
    places = -(-_ROWS * width // _LANES) * _LANES
    x, y = np.empty(places, np.float32), np.empty(places, np.float32)
    corners, colours = np.zeros((4, places), np.int32), np.empty((4, places), np.float32)
    for first in range(0, height, _ROWS):
        last = min(first + _ROWS, height)
        for row in range(first, last):
            _draw_fields(fields, columns[row], len(noise), across)
            line = slice((row - first) * width, (row - first + 1) * width)
            _bend_line(x[line], y[line], fields, _middle(row, height), width)
        count = (last - first) * width
        _find_corners(corners, x[:count], y[:count], height, width)
        for plane in range(len(pixels)):
            for corner in range(4):
                _gather(_at(colours[corner]), _at(pixels[plane]), _at(corners[corner]), places)
            _blend_corners(colours, x[:count], y[:count])
            lines = colours[0, :count]
            if whole:
                _round(lines)
            start = (plane // values * height + first) * width * values + plane % values
            _convert(target[start : start + count * values : values], lines)


# Lines that are warped together, so that what neighbours share stays in the first cache.
_ROWS = 8


@_compiled
def _part_planes(pixels, source, values):
    size = pixels.shape[1]
    for plane in range(len(pixels)):
        start = plane // values * size * values + plane % values
        _convert(pixels[plane], source[start : start + size * values : values])


@_compiled
def _find_corners(corners, x, y, height, width):
    """Find the four pixels around places, which become shares of the way from the first to the others."""
    step_x, step_y = np.empty(len(x), np.int32), np.empty(len(x), np.int32)
    _find_pixels(x, width, corners[0], step_x)
    _find_pixels(y, height, corners[1], step_y)
    stride = np.int32(width)
    for place in range(len(x)):
        first = corners[1, place] * stride + corners[0, place]
        below = first + step_y[place] * stride
        corners[0, place], corners[1, place] = first, first + step_x[place]
        corners[2, place], corners[3, place] = below, below + step_x[place]


@_compiled
def _blend_corners(colours, x, y):
    one = np.float32(1)
    for place in range(len(x)):
        above = colours[0, place] * (one - x[place]) + colours[1, place] * x[place]
        below = colours[2, place] * (one - x[place]) + colours[3, place] * x[place]
        colours[0, place] = above * (one - y[place]) + below * y[place]


@_compiled
def _middle(place, length):
    """Return the middle of a pixel along a side, which goes from -1 to 1."""
    return np.float32(place * 2 + 1) / np.float32(length) - np.float32(1)


@_compiled
def _weigh_down(noise, down):
    """Return how the nodes of some fields, ``(N, F, N)``, weigh at each row, ``(rows, F * N)`` and more."""
    lines, weights = _filled_up(noise.reshape(len(noise), -1)), _filled_up(down)
    columns = np.empty((len(weights), lines.shape[1]), np.float32)
    for row in range(0, len(weights), _SUMS):
        _weigh(_at(columns[row]), _at(weights[row]), weights.shape[1], _at(lines), len(noise), lines.shape[1])
    return columns


@_compiled
def _draw_fields(fields, columns, nodes, across):
    """Draw a line of three fields, or six, from their nodes at its row, and what these weigh across."""
    for field in range(0, len(fields), _SUMS):
        _weigh(_at(fields[field]), _at(columns[field * nodes :]), nodes, _at(across), nodes, fields.shape[1])


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
def _find_pixels(places, length, first, step):
    """Turn places, from -1 to 1 along a side, into pixels and how far behind them places lie; mirror those outside."""
    side, half, none = np.float32(length), np.float32(0.5), np.float32(0)
    cycle, cycles = np.float32(2) * side, np.float32(0.5) / side
    for number in range(len(places)):
        place = abs(((places[number] + np.float32(1)) * side - np.float32(1)) * half + half)
        rest = place - np.floor(place * cycles) * cycle
        place = min(rest, cycle - rest) - half
        # What is no number becomes 0, too.
        place = place if place > none else none
        place = place if place < side - np.float32(1) else side - np.float32(1)
        first[number] = np.int32(place)
        step[number] = np.int32(first[number] + 1 < length)
        places[number] = place - np.float32(first[number])


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


@Kernel
def _colour(first, last, target, source, noise, down, across, frames, plane, pixel, whole):
    for image in range(first, last):
        _colour_image(target[image], source[image], noise[image], down, across, frames, plane, pixel, whole)


@_compiled
def _colour_image(target, source, noise, down, across, frames, plane, pixel, whole):
    """Change the colours of an image whose channels lie ``plane`` values apart, and its pixels ``pixel``."""
    height, width = len(down), across.shape[1]
    size, step = height * width, pixel * width
    across = _filled_up(across)
    fields, colours = np.empty((3, across.shape[1]), np.float32), np.empty((3, width), np.float32)
    means = np.empty(frames, np.float32)
    for frame in range(frames):
        means[frame] = _sum(source[frame * 3 * size : (frame + 1) * 3 * size]) / size
    columns = _weigh_down(noise, down)
    for row in range(height):
        _draw_fields(fields, columns[row], len(noise), across)
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


@Kernel
def _order(first, last, places, keys):
    for row in range(first, last):
        _order_row(places[row], keys[row])


@_compiled
def _order_row(places, keys):
    for place in range(len(keys)):
        key, before = keys[place], np.int32(0)
        for other in range(len(keys)):
            before = np.int32(before + np.int32(keys[other] < key))
        for other in range(place):
            before = np.int32(before + np.int32(keys[other] == key))
        places[before] = place
