"""The batched GEMM of the Winograd domain by the CPU's matrix unit, AMX; `gemm_simd` is its twin.

Operands are split into bfloat16 terms (see `isa.amx`). Tiles of images are split where they are
used, so they travel through memory as float32. Weights, which many tiles use, are split when they
are transformed. The unit is busy for 16 cycles with a product of two tiles, and the vector units
are idle then: while it multiplies one slice of K, they split the next one and prefetch the one
after that.

Split operands are stored as the unit reads them. A strip is 32 rows of a or 32 columns of b. Each
of its K steps, 32 numbers along K, is two tiles for each term.
"""

# mypy: disable-error-code="call-arg"
from __future__ import annotations

from typing import NamedTuple

from ..compiler.jit import jit
from ..isa.amx import (
    K_STEP_BYTES,
    TILE_BYTES,
    TILE_ROWS,
    tile_config,
    tile_release,
    tile_store,
    tile_zero,
)
from ..isa.simd import CACHE_LINE, VECTOR_BYTES, load, prefetch, store
from .blocking import A_BLOCK_BYTES, C_PANEL_BYTES, NR_VECTORS
from .microkernel_amx import compiled_steps
from .operands import Accumulators, GemmScratch, GemmSize, Operand

_steps = compiled_steps()
_step, _step_straight = _steps["step"], _steps["step_straight"]
_step_transposed, _step_transposed_extra = (
    _steps["step_transposed"],
    _steps["step_transposed_extra"],
)
_split_straight, _split_transposed = _steps["split_straight"], _steps["split_transposed"]

SCRATCH_BYTES = 6 * TILE_BYTES  # two tiles of transposed vectors and four of accumulators


class Strips(NamedTuple):
    """Where an operand's strips are; all strides are in bytes."""

    address: int
    plane_stride: int
    slice_stride: int  # from one slice of K to the next
    strip_stride: int
    step_stride: int  # from one K step to the next
    half_stride: int  # from a K step's first 16 rows, or columns, to the others
    pair_stride: int  # from a vector to the one that it makes pairs with


class ResultTiles(NamedTuple):
    """Where the accumulators of 2 x 2 tiles are; all strides are in bytes."""

    address: int
    plane_stride: int
    row_stride: int
    down_stride: int  # from one tile to the one below
    right_stride: int
    a_strip_stride: int
    b_strip_stride: int


class StripSize(NamedTuple):
    """Extents in strips, and along K in vectors."""

    planes: int
    m: int
    n: int
    k: int
    kc: int


def workspace_bytes(k_blocks: int, rows: int) -> int:
    """Bytes for the split operands: two slices of `rows` rows of a and two strips of b, with
    `k_blocks` vectors along K.
    """
    strips = 2 * -(-rows // (2 * TILE_ROWS)) + 2
    return strips * -(-k_blocks // 2) * K_STEP_BYTES + SCRATCH_BYTES


@jit()
def gemm_nn(
    a: Operand, b: Operand, c: Accumulators, size: GemmSize, add: bool, scratch: GemmScratch
) -> None:
    """c = a b in every plane, or c += a b with `add`; b is split already.

    A plane of a is stored as [tile block][K block][MR][LANES], of b as [panel][K step], of c as
    [tile block][panel][vector of NR][MR]. `size.m` counts tile blocks, `size.k` and `size.kc`, an
    even number, count K blocks of LANES channels.
    """
    left = Strips(
        a.address,
        a.plane_stride,
        size.kc * A_BLOCK_BYTES,
        a.block_stride,
        2 * A_BLOCK_BYTES,
        TILE_BYTES,
        A_BLOCK_BYTES,
    )
    right = Strips(b.address, b.plane_stride, size.kc // 2 * K_STEP_BYTES, b.block_stride, 0, 0, 0)
    tiles = ResultTiles(
        c.address,
        c.plane_stride,
        VECTOR_BYTES,
        TILE_BYTES,
        A_BLOCK_BYTES,
        c.block_stride,
        C_PANEL_BYTES,
    )
    strips = StripSize(size.planes, size.m, -(-size.n_vectors // NR_VECTORS), size.k, size.kc)
    _multiply(left, right, tiles, strips, add, scratch, False)


@jit()
def gemm_tn(a: Operand, b: Operand, c: Accumulators, size: GemmSize, scratch: GemmScratch) -> None:
    """c = a^T b in every plane.

    Planes of a and b are stored as [tile block][block of LANES channels][MR][LANES], of c as rows
    `c.block_stride` bytes apart. `size.m` counts channels, `size.k` and `size.kc` count tile
    blocks, each of which is two vectors along K.
    """
    left = Strips(
        a.address,
        a.plane_stride,
        size.kc * a.block_stride,
        2 * A_BLOCK_BYTES,
        a.block_stride,
        A_BLOCK_BYTES,
        TILE_BYTES,
    )
    right = Strips(
        b.address,
        b.plane_stride,
        size.kc * b.block_stride,
        2 * A_BLOCK_BYTES,
        b.block_stride,
        A_BLOCK_BYTES,
        TILE_BYTES,
    )
    tiles = ResultTiles(
        c.address,
        c.plane_stride,
        c.block_stride,
        TILE_ROWS * c.block_stride,
        VECTOR_BYTES,
        2 * TILE_ROWS * c.block_stride,
        2 * VECTOR_BYTES,
    )
    down, across = -(-size.m // (2 * TILE_ROWS)), -(-size.n_vectors // 2)
    strips = StripSize(size.planes, down, across, 2 * size.k, 2 * size.kc)
    _multiply(left, right, tiles, strips, False, scratch, True)


class Slice(NamedTuple):
    """A slice of K of some strips, to be split while the slice before it is multiplied."""

    strips: Strips
    source: int
    vectors: int  # along K
    half_steps: int  # to split, in all strips; a half step is one tile for each term
    prefetch_distance: int  # from here to the slice that is prefetched meanwhile
    out: int
    out_stride: int  # from one split strip to the next
    zeros: int


class Column(NamedTuple):
    """A column of strip products: all strips of a times one of b, over one slice of K."""

    a: int  # split strips
    a_stride: int
    b: int
    steps: int  # along K
    j: int  # number of the column
    prefetch_lines: int  # of b, with each K step
    target: int  # accumulators
    add: bool


@jit()
def _multiply(
    a: Strips,
    b: Strips,
    c: ResultTiles,
    size: StripSize,
    add: bool,
    scratch: GemmScratch,
    transposed: bool,
) -> None:
    """c = a b in every plane, or += with `add`.

    If `transposed`, a's vectors run across K and b is to be split; else b is split already. Every
    slice of K is summed by itself: most of a float32 convolution's rounding error comes from long
    sums.
    """
    slices = -(-size.k // size.kc)
    count = _slice_vectors(size, 0)
    stride = -(-count // 2) * K_STEP_BYTES  # of a split strip; the first slice is a longest one
    a_now, a_next = scratch.packed, scratch.packed + size.m * stride
    b_now = scratch.packed + 2 * size.m * stride
    b_next = b_now + stride
    transposed_tiles = b_next + stride
    tile_config()
    half_steps = 2 * -(-count // 2)
    first = Slice(a, a.address, count, size.m * half_steps, 0, a_now, stride, scratch.zeros)
    _split(first, 0, transposed, transposed_tiles)
    if transposed:
        first = Slice(b, b.address, count, half_steps, 0, b_now, stride, scratch.zeros)
        _split(first, 0, False, transposed_tiles)
    for part in range(size.planes * slices):
        steps = -(-_slice_vectors(size, part) // 2)
        a_ahead = _slice_of_a(a, size, part + 1, a_next, stride, scratch.zeros)
        a_done = 0
        target = c.address + part // slices * c.plane_stride
        more = add or part % slices > 0
        for j in range(size.n):
            b_ahead = _slice_of_b(b, size, part, j, b_next, stride, scratch.zeros, transposed)
            lines = 0
            if not transposed:
                b_now = _place(b, size, part) + j * b.strip_stride
                lines = -(-K_STEP_BYTES // CACHE_LINE // size.m) if b_ahead.vectors > 0 else 0
            column = Column(
                a_now, stride, b_now, steps, j, lines, target + j * c.b_strip_stride, more
            )
            a_done, b_done = _multiply_column(
                column, c, size, a_ahead, a_done, b_ahead, transposed, transposed_tiles
            )
            if transposed:
                _split(b_ahead, b_done, False, transposed_tiles)
                b_now, b_next = b_next, b_now
        _split(a_ahead, a_done, transposed, transposed_tiles)
        a_now, a_next = a_next, a_now
    tile_release()


@jit()
def _multiply_column(
    column: Column,
    c: ResultTiles,
    size: StripSize,
    a_ahead: Slice,
    a_done: int,
    b_ahead: Slice,
    transposed: bool,
    transposed_tiles: int,
) -> tuple[int, int]:
    """Multiply a column, and split the next slice of a and the next strip of b meanwhile: at most
    half a step of each for a step of products. Returns how many half steps of each are done.
    """
    b_done, b_source = 0, b_ahead.source
    nothing = HalfStep(a_ahead.zeros, a_ahead.zeros, 0, 0, 0)
    tiles = transposed_tiles + 2 * TILE_BYTES
    for i in range(size.m):
        _clear_accumulators()
        for step in range(column.steps):
            left = column.a + i * column.a_stride + step * K_STEP_BYTES
            right = column.b + step * K_STEP_BYTES
            for line in range(column.prefetch_lines):
                prefetch(b_source + line * CACHE_LINE)
            b_source += column.prefetch_lines * CACHE_LINE
            # What is done keeps pace with the products of the column, and of all columns.
            now = i * column.steps + step + 1
            in_column = size.m * column.steps
            x, y = nothing, nothing
            b_due = b_done * in_column < b_ahead.half_steps * now
            if b_due:
                y = _half_step(b_ahead, b_done)
                b_done += 1
            now += column.j * in_column
            a_due = a_done * size.n * in_column < a_ahead.half_steps * now
            if a_due:
                x = _half_step(a_ahead, a_done)
                a_done += 1
            if a_due and transposed:
                if b_due:
                    _step_transposed_extra(left, right, x, y, transposed_tiles)
                else:
                    _step_transposed(left, right, x, transposed_tiles)
            elif a_due:
                _step_straight(left, right, x)
            elif b_due:
                _step_straight(left, right, y)
            else:
                _step(left, right)
        target = column.target + i * c.a_strip_stride
        if column.add:
            _store_accumulators(tiles, VECTOR_BYTES, 2 * TILE_BYTES, TILE_BYTES)
            _add_accumulators(target, c, tiles)
        else:
            _store_accumulators(target, c.row_stride, c.down_stride, c.right_stride)
    return a_done, b_done


@jit()
def _place(f: Strips, size: StripSize, part: int) -> int:
    """Address of a slice of K; slices are counted through all planes."""
    slices = -(-size.k // size.kc)
    return f.address + part // slices * f.plane_stride + part % slices * f.slice_stride


@jit()
def _slice_vectors(size: StripSize, part: int) -> int:
    """Vectors along K of a slice; 0 behind the last."""
    slices = -(-size.k // size.kc)
    return min(size.kc, size.k - part % slices * size.kc) if part < size.planes * slices else 0


@jit()
def _slice_of_a(a: Strips, size: StripSize, part: int, out: int, stride: int, zeros: int) -> Slice:
    """A slice of all strips of a."""
    count, source = _slice_vectors(size, part), _place(a, size, part)
    behind = _slice_vectors(size, part + 1) > 0
    distance = _place(a, size, part + 1) - source if behind else 0
    return Slice(a, source, count, size.m * 2 * -(-count // 2), distance, out, stride, zeros)


@jit()
def _slice_of_b(
    b: Strips,
    size: StripSize,
    part: int,
    j: int,
    out: int,
    stride: int,
    zeros: int,
    transposed: bool,
) -> Slice:
    """The strip of b behind column j of a slice; without work if b is split already."""
    more = _slice_vectors(size, part + 1) > 0
    count, source = _slice_vectors(size, part), _place(b, size, part) + (j + 1) * b.strip_stride
    if j + 1 == size.n:
        count, source = _slice_vectors(size, part + 1), _place(b, size, part + 1)
    distance = b.strip_stride if j + 2 < size.n or more else 0
    if j + 2 == size.n:
        distance = _place(b, size, part + 1) - source if more else 0
    elif size.n == 1:
        behind = _slice_vectors(size, part + 2) > 0
        distance = _place(b, size, part + 2) - source if behind else 0
    half_steps = 2 * -(-count // 2) if transposed else 0
    return Slice(b, source, count, half_steps, distance, out, stride, zeros)


class HalfStep(NamedTuple):
    """16 vectors from x on to be split, and those from y on that they make pairs with."""

    x: int
    y: int
    y_stride: int
    out: int
    prefetch_distance: int


@jit()
def _half_step(s: Slice, i: int) -> HalfStep:
    """The i-th half step of a slice."""
    per_strip = 2 * -(-s.vectors // 2)
    strip, step, half = i // per_strip, i % per_strip // 2, i % 2
    x = s.source + strip * s.strips.strip_stride + step * s.strips.step_stride
    x += half * s.strips.half_stride
    out = s.out + strip * s.out_stride + step * K_STEP_BYTES + half * TILE_BYTES
    alone = 2 * step + 1 == s.vectors
    y, y_stride = (s.zeros, 0) if alone else (x + s.strips.pair_stride, VECTOR_BYTES)
    return HalfStep(x, y, y_stride, out, s.prefetch_distance)


@jit()
def _split(s: Slice, done: int, transposed: bool, transposed_tiles: int) -> None:
    """Split what is left of a slice, with nothing to multiply meanwhile."""
    for i in range(done, s.half_steps):
        half_step = _half_step(s, i)
        if transposed:
            _split_transposed(half_step, transposed_tiles)
        else:
            _split_straight(half_step)


@jit()
def _clear_accumulators() -> None:
    tile_zero(0)
    tile_zero(1)
    tile_zero(2)
    tile_zero(3)


@jit()
def _store_accumulators(place: int, row_stride: int, down: int, right: int) -> None:
    tile_store(0, place, row_stride)
    tile_store(1, place + right, row_stride)
    tile_store(2, place + down, row_stride)
    tile_store(3, place + down + right, row_stride)


@jit()
def _add_accumulators(place: int, c: ResultTiles, tiles: int) -> None:
    """Add what was stored to `tiles`, tile by tile, to the tiles at a place."""
    for row in range(TILE_ROWS):
        here, there = place + row * c.row_stride, tiles + row * VECTOR_BYTES
        store(here, load(here) + load(there))
        here += c.right_stride
        store(here, load(here) + load(there + TILE_BYTES))
        here += c.down_stride - c.right_stride
        store(here, load(here) + load(there + 2 * TILE_BYTES))
        here += c.right_stride
        store(here, load(here) + load(there + 3 * TILE_BYTES))
