"""The CPU's matrix unit (Intel AMX) inside Numba functions, and float32 split for it (bf16x3).

The unit multiplies tiles of bfloat16, 8 significant bits, and accumulates in float32: 16 times as
many multiply-adds a cycle as AVX-512 has in float32. A float32 has 24 bits, so it is the sum of
three bfloat16. The sum is exact if each term is what is left with its low half truncated. (The unit
takes for zero what is below 2^-126, so a number below 2^-110 loses its last term.)

    x = x1 + x2 + x3,    x1 = truncate(x),    x2 = truncate(x - x1),    x3 = x - x1 - x2.

When two such numbers are multiplied, six of the nine terms reach the 24 bits of the result:

    x y = x1 y1 + (x1 y2 + x2 y1) + (x1 y3 + x2 y2 + x3 y1) + terms below 2^-21 |x y|.

(Henry, Tang & Heinecke 2019, arXiv:1904.06376.) Six passes of a unit 16 times as fast make a GEMM
2.7 times as fast as with vectors, with the accuracy of float32.

A thread calls `tile_config` before it uses the unit and `tile_release` after it. There are eight
tiles, known by their numbers: 16 rows of 64 bytes, which are 16 accumulators in float32 or 16 pairs
of bfloat16. In a GEMM with inner dimension K, a row of the left operand's tile holds pairs along K;
the right operand's tile has a row for each pair along K, with a pair for each column. Any two
numbers may form a pair if both operands agree: `pack_bf16_pairs` takes those in the same lane of
two vectors, without a shuffle.

AMX is true where CPU and system offer the unit. The variable MINIGAN_AMX overrules that:

    1         use the unit if there is one (the default)
    0         leave it idle
    emulate   call `amx_emulation`'s functions in the place of the instructions: exact but slow, for
              tests on a CPU that lacks the unit; LANES must be 16 (MINIGAN_LANES=16)
"""

# mypy: disable-error-code="no-untyped-def, no-untyped-call, misc, attr-defined"
from __future__ import annotations

import ctypes
import os
import sys

from llvmlite import ir
from numba.core import cgutils, types
from numba.core.extending import intrinsic

from ...environment import SettingError
from .amx_emulation import provide
from .simd import FEATURES, LANES, vector

SPLITS = 3  # bfloat16 terms of a float32
TILE_BYTES = 1024
TILE_ROWS = 16  # rows of a tile, and columns of a tile of accumulators
# All bfloat16 terms of 32 rows, or of 32 columns, for 32 numbers along K.
K_STEP_BYTES = SPLITS * 2 * TILE_BYTES

_ARCH_REQ_XCOMP_PERM, _XTILEDATA, _SYS_ARCH_PRCTL = 0x1023, 18, 158


def _wanted() -> str:
    chosen = os.environ.get("MINIGAN_AMX", "1")
    if chosen not in ("0", "1", "emulate"):
        raise SettingError(f"MINIGAN_AMX must be 0, 1 or emulate, not {chosen or 'nothing'}")
    if chosen == "emulate" and LANES != TILE_ROWS:
        raise SettingError(f"MINIGAN_AMX=emulate needs MINIGAN_LANES=16, not {LANES}")
    return chosen


def _offered() -> bool:
    """Whether the CPU has the unit, and Linux lets this process use it when asked."""
    present = LANES == TILE_ROWS and {"+amx-tile", "+amx-bf16"} <= FEATURES
    if not present or not sys.platform.startswith("linux"):
        return False
    system = ctypes.CDLL(None).syscall
    return system(_SYS_ARCH_PRCTL, _ARCH_REQ_XCOMP_PERM, ctypes.c_ulong(_XTILEDATA)) == 0


EMULATED = _wanted() == "emulate"
AMX = EMULATED or (_wanted() == "1" and _offered())
_PREFIX = "minigan_amx_" if EMULATED else "llvm.x86."  # of the instructions' names
if EMULATED:
    provide(_PREFIX)

_byte, _void = ir.IntType(8), ir.VoidType()
_pointer = _byte.as_pointer()
_i32s = ir.VectorType(ir.IntType(32), LANES)


def _call(builder, name, arguments):
    kinds = [argument.type for argument in arguments]
    function = cgutils.get_or_insert_function(
        builder.module, ir.FunctionType(_void, kinds), _PREFIX + name
    )
    builder.call(function, arguments)


def _numbers(literals):
    return [_byte(literal.literal_value) for literal in literals]


def _all_literal(*arguments) -> bool:
    return all(isinstance(argument, types.IntegerLiteral) for argument in arguments)


@intrinsic
def tile_config(typing):
    """Make this thread's tiles 16 rows of 64 bytes."""
    # Palette and start row, 14 reserved bytes, 16 row lengths (two bytes each), 16 row counts.
    layout = [1, *[0] * 15, *[64, 0] * 8, *[0] * 16, *[TILE_ROWS] * 8, *[0] * 8]

    def emit(context, builder, sig, args):
        value = cgutils.alloca_once_value(builder, ir.Constant(ir.ArrayType(_byte, 64), layout))
        _call(builder, "ldtilecfg", [builder.bitcast(value, _pointer)])
        return context.get_dummy_value()

    return types.void(), emit


@intrinsic
def tile_release(typing):
    """End this thread's use of the tiles, so that the system need not save them."""

    def emit(context, builder, sig, args):
        _call(builder, "tilerelease", [])
        return context.get_dummy_value()

    return types.void(), emit


@intrinsic(prefer_literal=True)
def tile_zero(typing, tile):
    """Clear a tile."""
    if not _all_literal(tile):
        return None

    def emit(context, builder, sig, args):
        _call(builder, "tilezero", _numbers([tile]))
        return context.get_dummy_value()

    return types.void(tile), emit


@intrinsic(prefer_literal=True)
def tile_load(typing, tile, address, stride):
    """Load a tile from rows `stride` bytes apart."""
    return _moved("tileloadd64", tile)


@intrinsic(prefer_literal=True)
def tile_store(typing, tile, address, stride):
    """Store a tile to rows `stride` bytes apart."""
    return _moved("tilestored64", tile)


def _moved(name, tile):
    if not _all_literal(tile):
        return None

    def emit(context, builder, sig, args):
        place = builder.inttoptr(args[1], _pointer)
        _call(builder, name, [*_numbers([tile]), place, args[2]])
        return context.get_dummy_value()

    return types.void(tile, types.intp, types.intp), emit


@intrinsic(prefer_literal=True)
def tile_dpbf16(typing, sums, left, right):
    """Tile `sums` += tile `left` times tile `right`."""
    if not _all_literal(sums, left, right):
        return None

    def emit(context, builder, sig, args):
        _call(builder, "tdpbf16ps", _numbers([sums, left, right]))
        return context.get_dummy_value()

    return types.void(sums, left, right), emit


@intrinsic
def truncate_to_bf16(typing, x):
    """x with the low half of every lane cleared: rounded to bfloat16 towards zero."""

    def emit(context, builder, sig, args):
        bits = builder.bitcast(args[0], _i32s)
        high = builder.and_(bits, ir.Constant(_i32s, [0xFFFF0000] * LANES))
        return builder.bitcast(high, args[0].type)

    return vector(vector), emit


@intrinsic
def pack_bf16_pairs(typing, x, y):
    """The high halves of the lanes of x and y as pairs, x in the even (low) half."""

    def emit(context, builder, sig, args):
        x, y = (builder.bitcast(value, _i32s) for value in args)
        first = builder.lshr(x, ir.Constant(_i32s, [16] * LANES))
        second = builder.and_(y, ir.Constant(_i32s, [0xFFFF0000] * LANES))
        return builder.bitcast(builder.or_(first, second), args[0].type)

    return vector(vector, vector), emit
