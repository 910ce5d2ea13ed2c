"""Whether the values of a tile are so close to each other that its transform loses none of them.

A transform adds all pixels of a tile. Its rounding errors go by the largest, so an output whose own
pixels are much smaller loses their digits, and all of them to an infinity or NaN that it does not
see. Outputs keep three digits or more where the values that each of them sees reach 1/RANGE of the
tile's largest. (Zeros do not count: a tile at the border of an empty plane is no exception.)

The transforms sum the squares of a few values of each tile, to which every pixel adds: that costs
one to four instructions of hundreds. Only a tile whose sum is JUMP times that of the one before it
in its block is looked at closely; so the block's first tile is, and each that a lone huge pixel is
in. What is not seen: a spread that grows from tile to tile by less; and, but in a block's first
tile, the edge where a bright area ends, or a huge pixel behind a brighter tile, which may be of the
image before. So an image may be computed in one way in this batch and in another way in that.
"""

# mypy: disable-error-code="no-untyped-def, no-untyped-call, misc, attr-defined, call-arg"
from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba.core import cgutils, types
from numba.core.extending import intrinsic

from ...compiler.jit import jit
from ...isa.simd import LANES, VECTOR_BYTES, load, store, vector

RANGE = 1024.0
JUMP = 16.0
_LARGEST = 2.0**112  # what transforms make of it is still finite

_int32 = ir.IntType(32)
_bits = ir.VectorType(_int32, LANES)


@intrinsic
def sum_lanes(typing, numbers):
    """The sum of all lanes, in the order that suits the CPU."""

    def emit(context, builder, sig, args):
        single = ir.FloatType()
        kind = ir.FunctionType(single, [single, args[0].type])
        name = f"llvm.vector.reduce.fadd.v{LANES}f32"
        function = cgutils.get_or_insert_function(builder.module, kind, name)
        return builder.call(function, [single(-0.0), args[0]], fastmath=("reassoc",))

    return types.float32(vector), emit


@intrinsic
def larger_magnitude(typing, a, b):
    """The larger one of |a| and |b| in every lane; NaN is larger than all."""

    def emit(context, builder, sig, args):
        mask = ir.Constant(_bits, [0x7FFFFFFF] * LANES)
        a, b = (builder.and_(builder.bitcast(value, _bits), mask) for value in args)
        larger = builder.select(builder.icmp_unsigned(">", a, b), a, b)
        return builder.bitcast(larger, args[0].type)

    return vector(vector, vector), emit


@intrinsic
def largest_lane(typing, magnitudes):
    """The largest lane of a vector without signs; NaN is larger than all."""

    def emit(context, builder, sig, args):
        kind = ir.FunctionType(_int32, [_bits])
        name = f"llvm.vector.reduce.umax.v{LANES}i32"
        function = cgutils.get_or_insert_function(builder.module, kind, name)
        largest = builder.call(function, [builder.bitcast(args[0], _bits)])
        return builder.bitcast(largest, ir.FloatType())

    return types.float32(vector), emit


@jit()
def jumps(squares: float, before: float) -> bool:
    """Whether a tile with that sum of squares, behind one with the sum `before`, may be out of
    range.
    """
    return not squares <= min(JUMP * before, _LARGEST)


@jit()
def add_magnitudes(table: np.ndarray, vectors: int, magnitudes: np.ndarray) -> None:
    """Raise the vectors at `magnitudes` to the largest ones at the addresses in `table`, of which
    each has some `vectors`.
    """
    for i in range(len(table)):
        place = magnitudes.ctypes.data + i * VECTOR_BYTES
        most: Any = load(place)
        for k in range(vectors):
            most = larger_magnitude(most, load(table[i] + k * VECTOR_BYTES))
        store(place, most)


@jit()
def differ(magnitudes: np.ndarray, largest: np.ndarray) -> bool:
    """Write the largest lane of each vector of a grid; whether they are not all alike."""
    least: Any = np.float32(_LARGEST)
    most: Any = np.float32(0)
    for i in range(largest.size):
        here: Any = largest_lane(load(magnitudes.ctypes.data + i * VECTOR_BYTES))
        if not here <= _LARGEST:
            here = np.float32(np.inf)
        largest[i], least, most = here, min(least, here), max(most, here)
    return bool(least * RANGE < most)


@jit()
def sees_little(
    largest: np.ndarray, side: int, size: int, first: int, down: int, across: int
) -> bool:
    """Whether one of down x across windows of size x size, of which the first begins at `first`,
    sees values of a grid, but none near the largest one; or that is infinite.
    """
    most = largest.max()
    if most == np.inf:
        return True
    for y in range(first, first + down):
        for x in range(first, first + across):
            seen = np.float32(0)
            for i in range(max(0, y), min(side, y + size)):
                for j in range(max(0, x), min(side, x + size)):
                    seen = max(seen, largest[i * side + j])
            if seen > 0 and seen * RANGE < most:
                return True
    return False


@jit()
def image_exceeds(magnitudes: np.ndarray, m: int, r: int, down: int, across: int) -> bool:
    """Whether an image's tile of vectors of `magnitudes`, with down x across outputs, is out of
    range: an output sees r x r values of it, a weight gradient m x m.
    """
    side = m + r - 1
    largest = np.empty(side**2, np.float32)
    if not differ(magnitudes, largest):
        return False
    return sees_little(largest, side, r, 0, down, across) or sees_little(largest, side, m, 0, r, r)


@jit()
def gradient_exceeds(magnitudes: np.ndarray, m: int, r: int) -> bool:
    """The same of an output gradient's tile: a pixel sees r x r values of it or fewer, a weight
    gradient all.
    """
    largest = np.empty(m**2, np.float32)
    pixels = m + r - 1
    return differ(magnitudes, largest) and sees_little(largest, m, r, 1 - r, pixels, pixels)
