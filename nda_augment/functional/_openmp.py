"""Kernels of Numba that share the images of a batch among torch's own threads. Importing this module takes Numba."""

import ctypes
import os
import zlib
from functools import cache
from pathlib import Path
from types import FunctionType
from typing import Any

import torch
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic
from numba.np.arrayobj import make_array

from nda_augment._forks import is_forked

# What is built is kept beside the file of the kernel, or in the user's cache where that cannot be written to.
OPTIONS: dict[str, Any] = {"nogil": True, "cache": True, "error_model": "numpy"}

_LEAST = 2**16  # bytes that are worth another thread
_TURNS = 4  # parts for each thread, of which the next goes to who is done


class Kernel:
    """A kernel ``function(first, last, target, *arguments)`` for the images from a first one to a last one of a batch.

    Called with the target and the arguments alone, it does all images, on several threads if that pays.
    """

    def __init__(self, function: Any) -> None:
        self._kernel = njit(**OPTIONS)(function)
        self._shared = njit(**OPTIONS)(_for_all_images(function, self._kernel))

    def __call__(self, target: Any, *arguments: Any) -> None:
        threads = min(torch.get_num_threads(), len(target), target.nbytes // _LEAST)
        run = _address_of_run() if threads > 1 else None
        if run is None:
            self._kernel(0, len(target), target, *arguments)
        elif self._shared(run, threads, max(len(target) // (threads * _TURNS), 1), target, *arguments):
            raise MemoryError("a thread had not enough memory for what a kernel keeps of an image")


def _for_all_images(function: Any, kernel: Any) -> FunctionType:
    """Return a function ``(run, threads, step, *arguments)`` that shares out the images, and tells of failures."""
    # Numba's cache tells functions by name, finds what they call among their globals, and asks their file, and none
    # else, whether they are what they were: it has to be that of the kernel, and this one has to be in the name.
    code = _do_all.__code__.replace(co_filename=function.__code__.co_filename)
    shared = FunctionType(code, {"_share": _share, "_kernel": kernel, "len": len}, function.__name__)
    shared.__qualname__, shared.__module__ = f"{function.__qualname__}_shared_{_VERSION}", function.__module__
    return shared


def _do_all(run, threads, step, *arguments):
    return _share(run, threads, step, len(arguments[0]), _kernel, arguments)


_kernel: Any = None  # each copy of the function above has its own
_VERSION = f"{zlib.crc32(Path(__file__).read_bytes()):x}"


def _address_of_run() -> int | None:
    """Return where GNU's OpenMP that torch has loaded runs a function on its threads, or None if it cannot.

    Its threads look out for work for some milliseconds after each of torch's operations, and others, such as Numba's
    own, would have to wait for their cores meanwhile. In a fork it would wait for threads that are not there, for ever.
    """
    return None if is_forked() else _address_of("GOMP_parallel")


@cache
def _address_of(name: str) -> int | None:
    """Return where a function of the libraries lies that the process has loaded, or None if none of them has it."""
    function = getattr(ctypes.CDLL(None), name, None) if os.name == "posix" else None
    return None if function is None else ctypes.cast(function, ctypes.c_void_p).value


@intrinsic
def _share(context, run, threads, step, number, kernel, arguments):
    """Do ``kernel(first, last, *arguments)`` for all of a number, ``step`` at a time; tell whether any part failed.

    ``run(function, record, threads, 0)`` calls ``function(record)`` in each thread, natively: through Python it takes
    30 times as long. Whoever is done takes the next part.
    """
    called = kernel.get_call_type(context, (types.intp, types.intp, *arguments.types), {})

    def build(context, builder, signature, values):
        run, threads, step, number, _, arguments = values
        size, flag = number.type, ir.IntType(8)
        arguments = _unowned(context, builder, signature.args[-1], arguments)
        record = cgutils.alloca_once(builder, ir.LiteralStructType([size, size, size, flag, arguments.type]))
        for place, value in enumerate((size(0), step, number, flag(0), arguments)):
            builder.store(value, cgutils.gep_inbounds(builder, record, 0, place))
        part = _build_part(context, builder.module, record.type, signature.args[-1], kernel, called)
        pointer, whole = ir.IntType(8).as_pointer(), ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [part.type, pointer, whole, whole])
        builder.call(
            builder.inttoptr(run, kind.as_pointer()),
            [part, builder.bitcast(record, pointer), builder.trunc(threads, whole), whole(0)],
        )
        return builder.load(cgutils.gep_inbounds(builder, record, 0, _FAILED))

    return types.uint8(types.intp, types.intp, types.intp, types.intp, kernel, arguments), build


def _unowned(context: Any, builder: Any, kinds: Any, arguments: Any) -> Any:
    """Return arguments whose arrays are counted by nobody: threads wait for each other to count parts of the same."""
    for place, kind in enumerate(kinds):
        if isinstance(kind, types.Array):
            array = make_array(kind)(context, builder, builder.extract_value(arguments, place))
            array.meminfo = cgutils.get_null_value(array.meminfo.type)
            array.parent = cgutils.get_null_value(array.parent.type)
            arguments = builder.insert_value(arguments, array._getvalue(), place)
    return arguments


_NEXT, _STEP, _NUMBER, _FAILED, _ARGUMENTS = range(5)


def _build_part(context: Any, module: Any, record: Any, packed: Any, kernel: Any, called: Any) -> Any:
    """Build what each thread does: parts of the images, until none is left."""
    kind = ir.FunctionType(ir.VoidType(), [ir.IntType(8).as_pointer()])
    part = ir.Function(module, kind, module.get_unique_name("part"))
    part.linkage = "internal"
    builder = ir.IRBuilder(part.append_basic_block())
    given = builder.bitcast(part.args[0], record)

    def field(place: int) -> Any:
        return cgutils.gep_inbounds(builder, given, 0, place)

    step, number = builder.load(field(_STEP)), builder.load(field(_NUMBER))
    arguments = cgutils.unpack_tuple(builder, builder.load(field(_ARGUMENTS)), len(packed))
    compiled = kernel.dispatcher.get_compile_result(called)
    context.add_linking_libs([compiled.library])
    function = context.declare_function(module, compiled.fndesc)
    again, do, end = map(part.append_basic_block, ("again", "do", "end"))
    builder.branch(again)
    builder.position_at_end(again)
    first = builder.atomic_rmw("add", field(_NEXT), step, "monotonic")
    builder.cbranch(builder.icmp_signed("<", first, number), do, end)
    builder.position_at_end(do)
    last = builder.add(first, step)
    last = builder.select(builder.icmp_signed("<", last, number), last, number)
    status, _ = context.call_conv.call_function(
        builder, function, called.return_type, called.args, [first, last, *arguments]
    )
    with cgutils.if_unlikely(builder, status.is_error):
        builder.store(ir.IntType(8)(1), field(_FAILED))
    builder.branch(again)
    builder.position_at_end(end)
    builder.ret_void()
    return part
