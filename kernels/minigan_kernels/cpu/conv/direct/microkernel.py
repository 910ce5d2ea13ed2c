"""Indirect GEMM: a matrix product whose left operand is found by tables.

    c[row] += sum over segments and k of  a[row offset + segment offset + k a_stride] b[k]

A row of c and of b is a vector of columns. In a convolution the rows are pixels, a segment is some
taps that are neighbours in memory, k goes through their channels, and the columns are filters. In a
weight gradient the rows are taps and channels, a segment is a line of pixels, and k goes through
them. In a grouped convolution with small groups each lane has its own operand: a is then a vector
as b is, else a number that is broadcast.

This is XNNPACK's IGEMM (its indirection buffer has a pointer for each pixel and tap; here that is
the sum of a row's and a segment's offset, so the tables are short and the same for all images). b
is packed in panels of NR columns. The microkernel keeps MR x NR accumulators in registers. Tables
are int64 in memory, given by their addresses: arrays within tuples would have their references
counted at every call, which takes a tenth longer.
"""

# mypy: disable-error-code="no-untyped-def, no-untyped-call, misc, attr-defined"
# mypy: disable-error-code="call-arg, var-annotated"
from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ...compiler.codegen import built
from ...compiler.jit import jit
from ...isa.simd import (
    LANES,
    REGISTERS,
    VECTOR_BYTES,
    load,
    load_int64,
    load_scalar,
    store,
    store_int64,
    store_scalar,
    zeros,
)

# With few vectors of columns more rows would fit, but each row needs a general register for its
# address, and there are 16 of those. NR_VECTORS columns take the fewest instructions a
# multiply-add.
MR, NR_VECTORS = (8, 4) if REGISTERS == 32 else (4, 2)
MR_OF = {1: MR, 2: MR, 3: MR, 4: 6}  # rows, by the vectors of columns in use
NR = NR_VECTORS * LANES  # floats in a row of a panel
NR_BYTES = NR_VECTORS * VECTOR_BYTES
KC = (1 << 14) // (2 * VECTOR_BYTES)  # rows of a panel in a K block: at most 32 KB, so L1 holds it
_EDGE_TABLE_BYTES = 128  # for two tables of MR offsets


class Form(NamedTuple):
    """How the operands of an indirect GEMM are stored, and whether it adds to c."""

    a_stride: int  # bytes from one value of a segment to the next
    b_stride: int  # bytes from one row of a panel of b to the next
    lanewise: int  # 1: a is a vector, each lane with its own operand; 0: a number
    accumulate: int  # 1: c += a b; 0: c = a b


class Rows(NamedTuple):
    """Rows of a or c: row i begins at `base` + offsets[i], in bytes."""

    base: int
    offsets: int  # address of the table


class Segments(NamedTuple):
    """The K dimension, in segments and in K blocks of whole segments."""

    offsets: int  # address of a table: bytes from a row's beginning to each segment
    lengths: int  # address of a table: values in each
    segment_count: int
    k_blocks: int  # address of a table: the first segment of each K block, and the end
    k_block_count: int


class Panels(NamedTuple):
    """A packed b: panels of NR columns."""

    base: int
    stride: int  # bytes from one panel to the next


def microkernel(name: str, vectors: int, *, lanewise: bool) -> str:
    """Source of c = a b, or += with `accumulate`, for MR_OF[vectors] rows and `vectors` vectors.

    b is the address of the rows of a panel that belong to the first segment.
    """
    rows = range(MR_OF[vectors])
    tile = [(i, j) for i in rows for j in range(vectors)]
    lines = [f"def {name}(form, a, segments, b, c, accumulate):"]
    lines += [f"    y{i} = c.base + load_int64(c.offsets + {8 * i})" for i in rows]
    lines.append("    if accumulate:")
    lines += [f"        c{i}{j} = load(y{i} + {j * VECTOR_BYTES})" for i, j in tile]
    lines.append("    else:")
    lines += [f"        c{i}{j} = zeros()" for i, j in tile]
    lines.append("    for segment in range(segments.segment_count):")
    lines.append("        x = a.base + load_int64(segments.offsets + 8 * segment)")
    lines += [f"        x{i} = x + load_int64(a.offsets + {8 * i})" for i in rows]
    lines.append("        k = 0")
    lines.append("        for _ in range(load_int64(segments.lengths + 8 * segment)):")
    lines += [f"            b{j} = load(b + {j * VECTOR_BYTES})" for j in range(vectors)]
    for i in rows:
        if not lanewise:
            lines.append(f"            a{i} = broadcast(x{i} + k)")
        for j in range(vectors):
            factor = f"load(x{i} + k + {j * VECTOR_BYTES})" if lanewise else f"a{i}"
            lines.append(f"            c{i}{j} = fma({factor}, b{j}, c{i}{j})")
    lines.append("            k = optimization_barrier(k + form.a_stride)")
    lines.append("            b += form.b_stride")
    lines += [f"    store(y{i} + {j * VECTOR_BYTES}, c{i}{j})" for i, j in tile]
    return "\n".join(lines) + "\n"


MICROKERNELS: dict[str, str] = {
    f"tile_{vectors}": microkernel(f"tile_{vectors}", vectors, lanewise=False)
    for vectors in range(1, NR_VECTORS + 1)
} | {"lanewise_tile": microkernel("lanewise_tile", NR_VECTORS, lanewise=True)}
_compiled = {name: built(source) for name, source in MICROKERNELS.items()}
_tile_1, _tile_2 = _compiled["tile_1"], _compiled["tile_2"]
_lanewise_tile = _compiled["lanewise_tile"]
_MR_OF_4 = MR_OF[4]
# Where a panel has two vectors these are never called, but the caller has to compile.
_tile_3, _tile_4 = (_compiled.get(f"tile_{vectors}", _tile_2) for vectors in (3, 4))


@jit()
def move(source: int, target: int, count: int) -> None:
    """Copy `count` floats."""
    if count < LANES:
        for k in range(count):
            store_scalar(target + 4 * k, load_scalar(source + 4 * k))
        return
    for k in range(0, 4 * (count - LANES), VECTOR_BYTES):
        store(target + k, load(source + k))
    end = 4 * (count - LANES)
    store(target + end, load(source + end))


@jit()
def clear(target: int, count: int) -> None:
    """Write `count` zeros."""
    if count < LANES:
        for k in range(count):
            store_scalar(target + 4 * k, np.float32(0))
        return
    for k in range(0, 4 * (count - LANES), VECTOR_BYTES):
        store(target + k, zeros())
    store(target + 4 * (count - LANES), zeros())


def accumulator_bytes(rows: int) -> int:
    """Bytes of the workspace `accumulators` of an `indirect_gemm` with so many rows."""
    return _EDGE_TABLE_BYTES + NR_BYTES * (rows + MR + 1)


@jit()
def indirect_gemm(
    form: Form,
    rows: int,
    columns: int,
    a: Rows,
    segments: Segments,
    b: Panels,
    c: Rows,
    accumulators: int,
) -> None:
    """c = a b, or +=, for `rows` rows and `columns` columns.

    All rows pass by one K block of a panel of b, which so stays in L1. Tiles of c that are not
    whole are computed in `accumulators`, a workspace with a panel of all rows.
    """
    edge_a, edge_c = accumulators, accumulators + 8 * MR  # offsets of the rows of an edge tile
    accumulators += _EDGE_TABLE_BYTES
    for i in range(MR):
        store_int64(edge_c + 8 * i, i * NR_BYTES)
    for start in range(0, columns, NR):
        width = min(NR, columns - start)
        vectors = NR_VECTORS if form.lanewise else -(-width // LANES)
        mr = _MR_OF_4 if vectors == 4 else MR
        full = rows // mr * mr
        for i in range(mr):  # the last tile repeats its last row
            store_int64(edge_a + 8 * i, load_int64(a.offsets + 8 * min(full + i, rows - 1)))
        whole = width == NR or (width % LANES == 0 and not form.lanewise)
        direct = full if whole else 0  # rows that are computed in c itself
        source = a.base + 4 * start if form.lanewise else a.base
        target = c.base + 4 * start
        if form.accumulate:
            for row in range(direct, rows):
                earlier = target + load_int64(c.offsets + 8 * row)
                move(earlier, accumulators + row * NR_BYTES, width)
        panel = b.base + start // NR * b.stride
        for block in range(segments.k_block_count):
            first = load_int64(segments.k_blocks + 8 * block)
            last = min(load_int64(segments.k_blocks + 8 * block + 8), segments.segment_count)
            k_block = Segments(
                segments.offsets + 8 * first, segments.lengths + 8 * first, last - first, 0, 0
            )
            accumulate = form.accumulate > 0 or block > 0
            for row in range(0, rows, mr):
                x = Rows(source, a.offsets + 8 * row if row < full else edge_a)
                if row < direct:
                    y = Rows(target, c.offsets + 8 * row)
                else:
                    y = Rows(accumulators + row * NR_BYTES, edge_c)
                if form.lanewise:
                    _lanewise_tile(form, x, k_block, panel, y, accumulate)
                elif vectors == 1:
                    _tile_1(form, x, k_block, panel, y, accumulate)
                elif vectors == 2:
                    _tile_2(form, x, k_block, panel, y, accumulate)
                elif vectors == 3:
                    _tile_3(form, x, k_block, panel, y, accumulate)
                elif vectors == 4:
                    _tile_4(form, x, k_block, panel, y, accumulate)
            for segment in range(first, last):
                panel += load_int64(segments.lengths + 8 * segment) * form.b_stride
        for row in range(direct, rows):
            move(accumulators + row * NR_BYTES, target + load_int64(c.offsets + 8 * row), width)
