"""Products in Winograd's domain by the CPU's matrix unit; `vector_products` is its plain twin.

Tiles are cut up into pieces (see `amx`) where they are used, so that they travel through memory as
they are; filters, which many tiles use, when they are transformed. The unit is busy for 16 cycles
with a product of two tiles, and the vectors have nothing else to do: while it multiplies one part
of the sum, they cut up the next, and fetch the one after that. Pieces lie as the unit reads them: a
strip is 32 rows of a left factor or 32 columns of a right one, and each of its steps, 32 numbers
along the sum, is two tiles for each piece.
"""

# mypy: disable-error-code="call-arg"
from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from ..compiler.codegen import built
from ..compiler.jit import jit
from ..isa.amx import (
    K_STEP_BYTES,
    TILE_BYTES,
    TILE_ROWS,
    pack_bf16_pairs,
    tile_config,
    tile_dpbf16,
    tile_load,
    tile_release,
    tile_store,
    tile_zero,
    truncate_to_bf16,
)
from ..isa.simd import CACHE_LINE, LANES, VECTOR_BYTES, load, prefetch, store
from ..transpose import transpose_block
from .bf16x3 import split_bf16x3
from .blocking import A_BLOCK_BYTES, NR_VECTORS

ROOM = 6 * TILE_BYTES  # bytes, for two tiles of vectors that are turned and four of sums


class Factor(NamedTuple):
    """Where a factor lies, and from one place in it to the next, in bytes."""

    first: int
    plane: int  # from one frequency to the next
    part: int  # from one part of the sum to the next
    strip: int
    step: int
    half: int  # from a step's first 16 rows, or columns, to the others
    pair: int  # from a vector to that which it makes pairs with


class Sums(NamedTuple):
    """The same for sums."""

    first: int
    plane: int
    row: int
    down: int  # from one tile to the next
    right: int
    left_strip: int
    right_strip: int


def workspace_bytes(blocks: int, rows: int) -> int:
    """Bytes for the pieces of `rows` rows and of a strip, for `blocks` vectors along the sum."""
    return (2 * -(-rows // (2 * TILE_ROWS)) + 2) * -(-blocks // 2) * K_STEP_BYTES + ROOM


@jit()
def gemm_nn(
    a: int,
    a_plane: int,
    a_step: int,
    blocks: int,
    b: int,
    b_plane: int,
    vectors: int,
    groups: int,
    depth: int,
    c: int,
    c_plane: int,
    planes: int,
    add: bool,
    zero: int,
    pieces: int,
) -> None:
    """c = a b in every plane, or c += a b with `add`, for `groups` groups of tiles and panels of
    `vectors` vectors of filters in all; b is in pieces.

    The sum over `blocks` blocks of channels is cut in parts of `depth`, an even number.
    """
    panels, steps = -(-vectors // NR_VECTORS), -(-blocks // 2)
    left = Factor(
        a, a_plane, depth * A_BLOCK_BYTES, a_step, 2 * A_BLOCK_BYTES, TILE_BYTES, A_BLOCK_BYTES
    )
    right = Factor(b, b_plane, depth // 2 * K_STEP_BYTES, steps * K_STEP_BYTES, 0, 0, 0)
    sums = Sums(
        c,
        c_plane,
        VECTOR_BYTES,
        TILE_BYTES,
        A_BLOCK_BYTES,
        panels * NR_VECTORS * A_BLOCK_BYTES,
        NR_VECTORS * A_BLOCK_BYTES,
    )
    _multiply(left, right, sums, planes, groups, panels, blocks, depth, add, zero, pieces, False)


@jit()
def gemm_tn(
    a: int,
    a_plane: int,
    a_step: int,
    top: int,
    tall: int,
    b: int,
    b_plane: int,
    b_step: int,
    vectors: int,
    groups: int,
    depth: int,
    c: int,
    c_plane: int,
    c_row: int,
    planes: int,
    zero: int,
    pieces: int,
) -> None:
    """c = a^T b in every plane, for the channels from `top` on, `tall` of them, and `vectors`
    vectors of filters; c's rows lie `c_row` bytes apart.

    The sum over `groups` groups of tiles is cut in parts of `depth`.
    """
    first = a + top // LANES * A_BLOCK_BYTES
    left = Factor(
        first, a_plane, depth * a_step, 2 * A_BLOCK_BYTES, a_step, A_BLOCK_BYTES, TILE_BYTES
    )
    right = Factor(b, b_plane, depth * b_step, 2 * A_BLOCK_BYTES, b_step, A_BLOCK_BYTES, TILE_BYTES)
    sums = Sums(
        c, c_plane, c_row, TILE_ROWS * c_row, VECTOR_BYTES, 2 * TILE_ROWS * c_row, 2 * VECTOR_BYTES
    )
    down, across = -(-tall // (2 * TILE_ROWS)), -(-vectors // 2)
    # A group of tiles is two vectors along the sum.
    length, deep = 2 * groups, 2 * depth
    _multiply(left, right, sums, planes, down, across, length, deep, False, zero, pieces, True)


@jit()
def _multiply(
    a: Factor,
    b: Factor,
    c: Sums,
    planes: int,
    down: int,
    across: int,
    length: int,
    depth: int,
    add: bool,
    zero: int,
    pieces: int,
    outer: bool,
) -> None:
    """c = a b in every plane, or += with `add`: `down` by `across` strips, over `length` vectors
    along the sum in parts of `depth`.

    If `outer`, a's vectors lie across the sum, and b is to be cut up; else it is in pieces already.
    Every part is summed up by itself: the rounding errors of long sums are most of a float32
    convolution's. While two strips are multiplied, a share of the next part of a, and of the next
    strip of b, is cut up, at most half a step of each for a step of products; what is left over
    comes afterwards.
    """
    in_plane = -(-length // depth)
    parts = planes * in_plane
    count = min(depth, length)
    strip = -(-count // 2) * K_STEP_BYTES
    a_now, a_then = pieces, pieces + down * strip
    b_now = pieces + 2 * down * strip
    b_then = b_now + strip
    turned = b_then + strip
    sums = turned + 2 * TILE_BYTES
    nothing = Unit(zero, zero, 0, 0, 0)
    tile_config()
    units = down * 2 * -(-count // 2)
    _cut_up(a, a.first, 0, units, count, strip, 0, zero, outer, turned, a_now)
    if outer:
        _cut_up(b, b.first, 0, 2 * -(-count // 2), count, strip, 0, zero, False, turned, b_now)
    for part in range(parts):
        count = min(depth, length - part % in_plane * depth)
        steps = -(-count // 2)
        a_count = min(depth, length - (part + 1) % in_plane * depth) if part + 1 < parts else 0
        a_source = _place(a, part + 1, in_plane)
        a_ahead = _place(a, part + 2, in_plane) - a_source if part + 2 < parts else 0
        a_units, a_done = down * 2 * -(-a_count // 2), 0
        more = add or part % in_plane > 0
        for j in range(across):
            b_count, b_source = count, _place(b, part, in_plane) + (j + 1) * b.strip
            if j + 1 == across:
                b_count, b_source = a_count, _place(b, part + 1, in_plane)
            b_ahead = b.strip if j + 2 < across or part + 1 < parts else 0
            if j + 2 == across:
                b_ahead = _place(b, part + 1, in_plane) - b_source if part + 1 < parts else 0
            elif across == 1:
                b_ahead = _place(b, part + 2, in_plane) - b_source if part + 2 < parts else 0
            b_units, b_done, lines = 2 * -(-b_count // 2), 0, 0
            if not outer:
                b_now, b_units = _place(b, part, in_plane) + j * b.strip, 0
                lines = -(-K_STEP_BYTES // CACHE_LINE // down) if b_count > 0 else 0
            for i in range(down):
                target = c.first + part // in_plane * c.plane
                target += i * c.left_strip + j * c.right_strip
                _clear_sums()
                for step in range(steps):
                    left, right = (
                        a_now + i * strip + step * K_STEP_BYTES,
                        b_now + step * K_STEP_BYTES,
                    )
                    now = i * steps + step + 1
                    for line in range(lines):
                        prefetch(b_source + line * CACHE_LINE)
                    if not outer:
                        b_source += lines * CACHE_LINE
                    x, y = nothing, nothing
                    due_b = b_done * down * steps < b_units * now
                    if due_b:
                        y = _unit(b, b_source, b_done, b_count, strip, b_ahead, zero, b_then)
                        b_done += 1
                    now += j * down * steps
                    due_a = a_done * across * down * steps < a_units * now
                    if due_a:
                        x = _unit(a, a_source, a_done, a_count, strip, a_ahead, zero, a_then)
                        a_done += 1
                    if due_a and outer:
                        if due_b:
                            _step_turned_other(left, right, x, y, turned)
                        else:
                            _step_turned(left, right, x, turned)
                    elif due_a:
                        _step_straight(left, right, x)
                    elif due_b:
                        _step_straight(left, right, y)
                    else:
                        _step(left, right)
                if more:
                    _put_sums(sums, VECTOR_BYTES, 2 * TILE_BYTES, TILE_BYTES)
                    _add_sums(target, c, sums)
                else:
                    _put_sums(target, c.row, c.down, c.right)
            if outer:
                _cut_up(
                    b, b_source, b_done, b_units, b_count, strip, b_ahead, zero, False, turned,
                    b_then,
                )  # fmt: skip
                b_now, b_then = b_then, b_now
        _cut_up(a, a_source, a_done, a_units, a_count, strip, a_ahead, zero, outer, turned, a_then)
        a_now, a_then = a_then, a_now
    tile_release()


@jit()
def _place(f: Factor, part: int, in_plane: int) -> int:
    """Where a part of a factor begins."""
    return f.first + part // in_plane * f.plane + part % in_plane * f.part


class Unit(NamedTuple):
    """Half a step to be cut up: 16 vectors from x on, and those from y on that they pair with."""

    x: int
    y: int
    y_step: int
    out: int
    ahead: int  # how far from there that lies which is fetched meanwhile


@jit()
def _unit(
    f: Factor, source: int, i: int, count: int, strip: int, ahead: int, zero: int, pieces: int
) -> Unit:
    """The i-th half step of a part from `source` on, of `count` vectors along the sum."""
    halves = 2 * -(-count // 2)
    s, step, half = i // halves, i % halves // 2, i % 2
    x = source + s * f.strip + step * f.step + half * f.half
    out = pieces + s * strip + step * K_STEP_BYTES + half * TILE_BYTES
    alone = 2 * step + 1 == count
    y, y_step = (zero, 0) if alone else (x + f.pair, VECTOR_BYTES)
    return Unit(x, y, y_step, out, ahead)


@jit()
def _cut_up(
    f: Factor,
    source: int,
    first: int,
    last: int,
    count: int,
    strip: int,
    ahead: int,
    zero: int,
    outer: bool,
    turned: int,
    pieces: int,
) -> None:
    """Cut up the half steps first..last of a part with nothing to multiply meanwhile."""
    for i in range(first, last):
        unit = _unit(f, source, i, count, strip, ahead, zero, pieces)
        if outer:
            _cut_turned(unit, turned)
        else:
            _cut_straight(unit)


@jit()
def _clear_sums() -> None:
    tile_zero(0)
    tile_zero(1)
    tile_zero(2)
    tile_zero(3)


@jit()
def _put_sums(place: int, row: int, down: int, right: int) -> None:
    tile_store(0, place, row)
    tile_store(1, place + right, row)
    tile_store(2, place + down, row)
    tile_store(3, place + down + right, row)


@jit()
def _add_sums(place: int, c: Sums, sums: int) -> None:
    """What was put to `sums`, tile by tile, added to the tiles at a place."""
    for row in range(TILE_ROWS):
        here, there = place + row * c.row, sums + row * VECTOR_BYTES
        store(here, load(here) + load(there))
        here += c.right
        store(here, load(here) + load(there + TILE_BYTES))
        here += c.down - c.right
        store(here, load(here) + load(there + 2 * TILE_BYTES))
        here += c.right
        store(here, load(here) + load(there + 3 * TILE_BYTES))


def step(name: str, *units: str, multiply: bool = True) -> str:
    """Source of a step of two by two tiles of sums += a b, which meanwhile cuts up `units`; or of
    cutting up alone.

    Vectors lie as a tile wants them if they are "straight"; if "turned", they are transposed first,
    and with that "other" is one more straight one. Of a piece's products the small ones come first.
    The vectors' work goes in between by a few rows: a tile that is fetched waits for a place, and
    all instructions behind it wait.
    """
    names = ["a", "b"] * multiply + [f"{unit}_unit" for unit in units]
    lines = [f"def {name}({', '.join(names + ['turned'] * ('turned' in units))}):"]
    for unit in units:
        # What is turned has an even number of vectors along the sum, so none pairs with zeros.
        step_field = "_" if unit == "turned" else f"{unit}_step"
        fields = f"{unit}_x, {unit}_y, {step_field}, {unit}_out, {unit}_ahead"
        lines.append(f"    {fields} = {unit}_unit")
    for slot, wanted in enumerate(("a2 b0", "a1", "b1", "a0", "b2", "b0")):
        for factor, piece in map(tuple, wanted.split()) if multiply else ():
            first = 4 if factor == "a" else 6
            for half in range(2):
                place = f"{factor} + {(2 * int(piece) + half) * TILE_BYTES}"
                lines.append(f"    tile_load({first + half}, {place}, {VECTOR_BYTES})")
        if multiply:
            tiles = [(2 * i + j, 4 + i, 6 + j) for i in range(2) for j in range(2)]
            lines += [f"    tile_dpbf16{tile}" for tile in tiles]
        for unit in units:
            lines += _work(unit, slot)
    return "\n".join(lines) + "\n"


def _work(unit: str, slot: int) -> list[str]:
    """What the vectors do for a unit in one of a step's six slots."""
    if unit == "turned":
        if slot < 2:
            place, target = (
                ("turned_x", "turned") if slot == 0 else ("turned_y", f"turned + {TILE_BYTES}")
            )
            ahead = [f"{place} + {row * VECTOR_BYTES} + turned_ahead" for row in range(TILE_ROWS)]
            lines = [f"    prefetch({place})" for place in ahead]
            return [
                *lines,
                f"    transpose_block({place}, {VECTOR_BYTES}, {target}, {VECTOR_BYTES})",
            ]
        return _rows(unit, 4 * slot - 8, 4 * slot - 4)
    ends = (0, 4, 8, 10, 12, 14, 16) if unit == "other" else (0, 2, 5, 8, 11, 14, 16)
    return _rows(unit, ends[slot], ends[slot + 1])


def _rows(unit: str, first: int, last: int) -> list[str]:
    """Rows of a tile of each piece, from vectors that become pairs lane by lane."""
    lines = []
    for row in range(first, last):
        x, y = f"{unit}_x + {row * VECTOR_BYTES}", f"{unit}_y + {row} * {unit}_step"
        if unit == "turned":
            x, y = f"turned + {row * VECTOR_BYTES}", f"turned + {TILE_BYTES + row * VECTOR_BYTES}"
        else:
            lines += [f"    prefetch({place} + {unit}_ahead)" for place in (x, y)]
        lines.append(f"    out = {unit}_out + {row * VECTOR_BYTES}")
        lines += [f"    {line}" for line in split_bf16x3(f"load({x})", f"load({y})", "out")]
    return lines


STEPS = {
    "step": step("step"),
    "step_straight": step("step_straight", "straight"),
    "step_turned": step("step_turned", "turned"),
    "step_turned_other": step("step_turned_other", "turned", "other"),
    "cut_straight": step("cut_straight", "straight", multiply=False),
    "cut_turned": step("cut_turned", "turned", multiply=False),
}


def _built(name: str) -> Callable[..., None]:
    names: dict[str, Any] = {
        "truncate_to_bf16": truncate_to_bf16,
        "tile_load": tile_load,
        "tile_dpbf16": tile_dpbf16,
        "pack_bf16_pairs": pack_bf16_pairs,
        "transpose_block": transpose_block,
    }
    return built(STEPS[name], **names)


_step, _step_straight = _built("step"), _built("step_straight")
_step_turned, _step_turned_other = _built("step_turned"), _built("step_turned_other")
_cut_straight, _cut_turned = _built("cut_straight"), _built("cut_turned")
