"""What threads that wait for each other need inside Numba functions: atomic operations on integers
of 64 bits, a pause and a clock.

All operations are sequentially consistent. Addresses are integers, in bytes.
"""

# mypy: disable-error-code="no-untyped-def, no-untyped-call, misc, attr-defined"
from __future__ import annotations

from llvmlite import ir
from numba.core import cgutils, types
from numba.core.extending import intrinsic

from .simd import TRIPLE

_i64, _i32 = ir.IntType(64), ir.IntType(32)


def _at(builder, address):
    return builder.inttoptr(address, _i64.as_pointer())


@intrinsic
def atomic_load(typing, address):
    """The integer at an address, as other threads last wrote it."""

    def emit(context, builder, sig, args):
        return builder.load_atomic(_at(builder, args[0]), "seq_cst", 8)

    return types.int64(types.intp), emit


@intrinsic
def atomic_store(typing, address, value):
    """Write an integer; a thread that sees it also sees all that was written before it."""

    def emit(context, builder, sig, args):
        builder.store_atomic(args[1], _at(builder, args[0]), "seq_cst", 8)
        return context.get_dummy_value()

    return types.void(types.intp, types.int64), emit


@intrinsic
def compare_exchange(typing, address, old, new):
    """Whether the integer was `old`, and has become `new`."""

    def emit(context, builder, sig, args):
        result = builder.cmpxchg(_at(builder, args[0]), args[1], args[2], "seq_cst")
        return builder.extract_value(result, 1)

    return types.boolean(types.intp, types.int64, types.int64), emit


@intrinsic
def fetch_add(typing, address, step):
    """What the integer was before `step` was added to it."""

    def emit(context, builder, sig, args):
        return builder.atomic_rmw("add", _at(builder, args[0]), args[1], "seq_cst")

    return types.int64(types.intp, types.int64), emit


@intrinsic
def ticks(typing):
    """The CPU's counter of time, which is the same in all threads and takes nanoseconds to read.

    It is no count of cycles: TSC on x86, CNTVCT on ARM. A CPU without one gives always 0.
    """

    def emit(context, builder, sig, args):
        kind = ir.FunctionType(_i64, [])
        name = "llvm.readcyclecounter"
        return builder.call(cgutils.get_or_insert_function(builder.module, kind, name), [])

    return types.int64(), emit


@intrinsic
def pause(typing):
    """Tell the CPU that this loop waits: its core may serve another thread."""

    def emit(context, builder, sig, args):
        if TRIPLE.startswith("x86_64"):
            name, given = "llvm.x86.sse2.pause", []
        elif TRIPLE.startswith(("aarch64", "arm64")):
            name, given = "llvm.aarch64.hint", [_i32(1)]  # yield
        else:
            return context.get_dummy_value()
        kind = ir.FunctionType(ir.VoidType(), [value.type for value in given])
        builder.call(cgutils.get_or_insert_function(builder.module, kind, name), given)
        return context.get_dummy_value()

    return types.void(), emit
