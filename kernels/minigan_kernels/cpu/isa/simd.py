"""Vectors of float32 inside Numba functions: one value is one register of the CPU.

LLVM's vectoriser decides for itself which loops become vector code, and it keeps accumulators that
outlive a loop in memory. A microkernel, whose accumulators must stay in registers, says so with
these:

    a = broadcast(p)        # the float at address p, in every lane
    b = load(q)             # LANES floats from address q on
    c = c + a * b           # contracted to one fused multiply-add where the CPU has it
    store(q, c)

Addresses are integers, in bytes (`array.ctypes.data` in Numba and in Python). So a kernel may keep
a table of addresses to read from, some of them in a row of zeros. `+ - *` work lane by lane, also
with a Python number on one side.

LANES is 16 with AVX-512, 8 with AVX2, else 4 (SSE, NEON). The environment variable MINIGAN_LANES
overrules the choice: LLVM splits a vector that is too wide for the CPU. The accumulators of a
microkernel and their operands must fit into the CPU's vector REGISTERS.
"""

# mypy: disable-error-code="no-untyped-def, no-untyped-call, misc, attr-defined"
from __future__ import annotations

import operator
import os

from llvmlite import ir
from numba.core import cgutils, types
from numba.core.extending import intrinsic, models, register_model
from numba.core.imputils import lower_builtin
from numba.core.registry import cpu_target
from numba.core.typing.templates import AbstractTemplate, infer_global, signature

from ...environment import SettingError

TRIPLE, _, _features = cpu_target.target_context.codegen().magic_tuple()
FEATURES = frozenset(_features.split(","))


def _lanes() -> int:
    widest = 16 if "+avx512f" in FEATURES else 8 if {"+avx2", "+fma"} <= FEATURES else 4
    chosen = os.environ.get("MINIGAN_LANES", str(widest))
    if chosen not in ("4", "8", "16"):
        raise SettingError(f"MINIGAN_LANES must be 4, 8 or 16, not {chosen or 'nothing'}")
    return int(chosen)


LANES = _lanes()
VECTOR_BYTES = 4 * LANES
CACHE_LINE = 64  # bytes
REGISTERS = 32 if LANES == 16 or TRIPLE.startswith(("aarch64", "arm64")) else 16


class Vector(types.Type):
    """Numba's type of LANES float32 values."""

    def __init__(self) -> None:
        super().__init__(name=f"vector{LANES}")


vector = Vector()
_float, _i32, _i64 = ir.FloatType(), ir.IntType(32), ir.IntType(64)
_vector = ir.VectorType(_float, LANES)


@register_model(Vector)
class _VectorModel(models.PrimitiveModel):
    def __init__(self, manager, kind) -> None:
        super().__init__(manager, kind, _vector)


@intrinsic
def load(typing, address):
    """The LANES floats at an address."""

    def emit(context, builder, sig, args):
        return builder.load(builder.inttoptr(args[0], _vector.as_pointer()), align=4)

    return vector(types.intp), emit


@intrinsic
def store(typing, address, value):
    """Write LANES floats to an address."""

    def emit(context, builder, sig, args):
        builder.store(args[1], builder.inttoptr(args[0], _vector.as_pointer()), align=4)
        return context.get_dummy_value()

    return types.void(types.intp, vector), emit


@intrinsic
def store_nontemporal(typing, address, value):
    """Write LANES floats, which nobody reads soon, to an aligned address past the caches."""

    def emit(context, builder, sig, args):
        target = builder.inttoptr(args[0], _vector.as_pointer())
        written = builder.store(args[1], target, align=VECTOR_BYTES)
        written.set_metadata("nontemporal", builder.module.add_metadata([_i32(1)]))
        return context.get_dummy_value()

    return types.void(types.intp, vector), emit


@intrinsic
def prefetch(typing, address):
    """Begin to bring the cache line at an address to the L2 cache; any address will do.

    Not to the L1 cache, which is full of what is in use.
    """

    def emit(context, builder, sig, args):
        byte = ir.IntType(8).as_pointer()
        kind = ir.FunctionType(ir.VoidType(), [byte, _i32, _i32, _i32])
        call = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
        builder.call(call, [builder.inttoptr(args[0], byte), _i32(0), _i32(2), _i32(1)])
        return context.get_dummy_value()

    return types.void(types.intp), emit


@intrinsic
def broadcast(typing, address):
    """The float at an address, in every lane."""

    def emit(context, builder, sig, args):
        source = builder.inttoptr(args[0], _float.as_pointer())
        return _splat(builder, builder.load(source, align=4))

    return vector(types.intp), emit


@intrinsic
def zeros(typing):
    """Zero in every lane."""
    return vector(), lambda context, builder, sig, args: ir.Constant(_vector, [0.0] * LANES)


@intrinsic
def fma(typing, a, b, c):
    """a * b + c in every lane, rounded once where the CPU can."""

    def emit(context, builder, sig, args):
        kind = ir.FunctionType(_vector, [_vector] * 3)
        name = f"llvm.fmuladd.v{LANES}f32"
        return builder.call(cgutils.get_or_insert_function(builder.module, kind, name), args)

    return vector(vector, vector, vector), emit


@intrinsic
def optimization_barrier(typing, number):
    """`number`, as a value that LLVM's strength reduction knows nothing of.

    In a loop over `address + k * step` it would spend a register on a pointer for every address.
    """

    def emit(context, builder, sig, args):
        kind = ir.FunctionType(args[0].type, [args[0].type])
        return builder.asm(kind, "", "=r,0", args, side_effect=False)

    return types.intp(types.intp), emit


@intrinsic
def load_scalar(typing, address):
    """The float at an address."""

    def emit(context, builder, sig, args):
        return builder.load(builder.inttoptr(args[0], _float.as_pointer()), align=4)

    return types.float32(types.intp), emit


@intrinsic
def store_scalar(typing, address, number):
    """Write a float to an address."""

    def emit(context, builder, sig, args):
        target = builder.inttoptr(args[0], _float.as_pointer())
        builder.store(args[1], target, align=4)
        return context.get_dummy_value()

    return types.void(types.intp, types.float32), emit


@intrinsic
def load_int64(typing, address):
    """The 64-bit integer at an address."""

    def emit(context, builder, sig, args):
        return builder.load(builder.inttoptr(args[0], _i64.as_pointer()), align=8)

    return types.int64(types.intp), emit


@intrinsic
def store_int64(typing, address, number):
    """Write a 64-bit integer to an address."""

    def emit(context, builder, sig, args):
        builder.store(args[1], builder.inttoptr(args[0], _i64.as_pointer()), align=8)
        return context.get_dummy_value()

    return types.void(types.intp, types.int64), emit


@intrinsic
def unpack_lo(typing, a, b):
    """a0 b0 a1 b1 ..., from the lower halves of a and b."""
    return _interleave(0)


@intrinsic
def unpack_hi(typing, a, b):
    """The same from their upper halves: a, b, a, b ..."""
    return _interleave(LANES // 2)


def _interleave(first):
    order = [lane for i in range(first, first + LANES // 2) for lane in (i, LANES + i)]

    def emit(context, builder, sig, args):
        mask = ir.Constant(ir.VectorType(_i32, LANES), order)
        return builder.shuffle_vector(args[0], args[1], mask)

    return vector(vector, vector), emit


def _splat(builder, number):
    undefined = ir.Constant(_vector, ir.Undefined)
    one = builder.insert_element(undefined, number, _i32(0))
    everywhere = ir.Constant(ir.VectorType(_i32, LANES), None)
    return builder.shuffle_vector(one, undefined, everywhere)


def _lane_by_lane(operation, instruction: str) -> None:
    """Let Numba compile `operation` of two vectors, or of a vector and a number."""

    @infer_global(operation)
    class _Typing(AbstractTemplate):
        def generic(self, args, kws):
            if len(args) == 2 and vector in args:
                numbers = [a for a in args if a is not vector]
                if all(isinstance(a, (types.Float, types.Integer)) for a in numbers):
                    pair = [vector if a is vector else types.float32 for a in args]
                    return signature(vector, *pair)
            return None

    def emit(context, builder, sig, args):
        wide = [
            value if kind is vector else _splat(builder, value)
            for kind, value in zip(sig.args, args, strict=True)
        ]
        return getattr(builder, instruction)(*wide, flags=("contract", "nsz"))

    for kinds in ((Vector, Vector), (Vector, types.Float), (types.Float, Vector)):
        lower_builtin(operation, *kinds)(emit)


_lane_by_lane(operator.add, "fadd")
_lane_by_lane(operator.sub, "fsub")
_lane_by_lane(operator.mul, "fmul")
