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
from ..isa.amx import SIDE, STEP, TILE, begin, clear, cut, end, fetch, multiply_add, paired, put
from ..isa.simd import LANES, LINE, VECTOR, load, prefetch, store
from ..transpose import transpose_block
from .bf16x3 import cut_up
from .blocking import BLOCK, COLUMNS

ROOM = 6 * TILE  # bytes, for two tiles of vectors that are turned and four of sums


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


def room(blocks: int, rows: int) -> int:
    """Bytes for the pieces of `rows` rows and of a strip, for `blocks` vectors along the sum."""
    return (2 * -(-rows // (2 * SIDE)) + 2) * -(-blocks // 2) * STEP + ROOM


@jit()
def products(
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
    panels, steps = -(-vectors // COLUMNS), -(-blocks // 2)
    left = Factor(a, a_plane, depth * BLOCK, a_step, 2 * BLOCK, TILE, BLOCK)
    right = Factor(b, b_plane, depth // 2 * STEP, steps * STEP, 0, 0, 0)
    sums = Sums(c, c_plane, VECTOR, TILE, BLOCK, panels * COLUMNS * BLOCK, COLUMNS * BLOCK)
    _multiply(left, right, sums, planes, groups, panels, blocks, depth, add, zero, pieces, False)


@jit()
def outer_products(
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
    first = a + top // LANES * BLOCK
    left = Factor(first, a_plane, depth * a_step, 2 * BLOCK, a_step, BLOCK, TILE)
    right = Factor(b, b_plane, depth * b_step, 2 * BLOCK, b_step, BLOCK, TILE)
    sums = Sums(c, c_plane, c_row, SIDE * c_row, VECTOR, 2 * SIDE * c_row, 2 * VECTOR)
    down, across = -(-tall // (2 * SIDE)), -(-vectors // 2)
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
    strip = -(-count // 2) * STEP
    a_now, a_then = pieces, pieces + down * strip
    b_now = pieces + 2 * down * strip
    b_then = b_now + strip
    turned = b_then + strip
    sums = turned + 2 * TILE
    nothing = Unit(zero, zero, 0, 0, 0)
    begin()
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
                lines = -(-STEP // LINE // down) if b_count > 0 else 0
            for i in range(down):
                target = c.first + part // in_plane * c.plane
                target += i * c.left_strip + j * c.right_strip
                _clear_sums()
                for step in range(steps):
                    left, right = a_now + i * strip + step * STEP, b_now + step * STEP
                    now = i * steps + step + 1
                    for line in range(lines):
                        prefetch(b_source + line * LINE)
                    if not outer:
                        b_source += lines * LINE
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
                    _put_sums(sums, VECTOR, 2 * TILE, TILE)
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
    end()


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
    out = pieces + s * strip + step * STEP + half * TILE
    alone = 2 * step + 1 == count
    y, y_step = (zero, 0) if alone else (x + f.pair, VECTOR)
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
    clear(0)
    clear(1)
    clear(2)
    clear(3)


@jit()
def _put_sums(place: int, row: int, down: int, right: int) -> None:
    put(0, place, row)
    put(1, place + right, row)
    put(2, place + down, row)
    put(3, place + down + right, row)


@jit()
def _add_sums(place: int, c: Sums, sums: int) -> None:
    """What was put to `sums`, tile by tile, added to the tiles at a place."""
    for row in range(SIDE):
        here, there = place + row * c.row, sums + row * VECTOR
        store(here, load(here) + load(there))
        here += c.right
        store(here, load(here) + load(there + TILE))
        here += c.down - c.right
        store(here, load(here) + load(there + 2 * TILE))
        here += c.right
        store(here, load(here) + load(there + 3 * TILE))


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
                place = f"{factor} + {(2 * int(piece) + half) * TILE}"
                lines.append(f"    fetch({first + half}, {place}, {VECTOR})")
        if multiply:
            tiles = [(2 * i + j, 4 + i, 6 + j) for i in range(2) for j in range(2)]
            lines += [f"    multiply_add{tile}" for tile in tiles]
        for unit in units:
            lines += _work(unit, slot)
    return "\n".join(lines) + "\n"


def _work(unit: str, slot: int) -> list[str]:
    """What the vectors do for a unit in one of a step's six slots."""
    if unit == "turned":
        if slot < 2:
            place, target = (
                ("turned_x", "turned") if slot == 0 else ("turned_y", f"turned + {TILE}")
            )
            ahead = [f"{place} + {row * VECTOR} + turned_ahead" for row in range(SIDE)]
            lines = [f"    prefetch({place})" for place in ahead]
            return [*lines, f"    transpose_block({place}, {VECTOR}, {target}, {VECTOR})"]
        return _rows(unit, 4 * slot - 8, 4 * slot - 4)
    ends = (0, 4, 8, 10, 12, 14, 16) if unit == "other" else (0, 2, 5, 8, 11, 14, 16)
    return _rows(unit, ends[slot], ends[slot + 1])


def _rows(unit: str, first: int, last: int) -> list[str]:
    """Rows of a tile of each piece, from vectors that become pairs lane by lane."""
    lines = []
    for row in range(first, last):
        x, y = f"{unit}_x + {row * VECTOR}", f"{unit}_y + {row} * {unit}_step"
        if unit == "turned":
            x, y = f"turned + {row * VECTOR}", f"turned + {TILE + row * VECTOR}"
        else:
            lines += [f"    prefetch({place} + {unit}_ahead)" for place in (x, y)]
        lines.append(f"    out = {unit}_out + {row * VECTOR}")
        lines += [f"    {line}" for line in cut_up(f"load({x})", f"load({y})", "out")]
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
        "cut": cut,
        "fetch": fetch,
        "multiply_add": multiply_add,
        "paired": paired,
        "transpose_block": transpose_block,
    }
    return built(STEPS[name], **names)


_step, _step_straight = _built("step"), _built("step_straight")
_step_turned, _step_turned_other = _built("step_turned"), _built("step_turned_other")
_cut_straight, _cut_turned = _built("cut_straight"), _built("cut_turned")
