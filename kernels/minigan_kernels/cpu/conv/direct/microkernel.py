"""Products of matrices of which one is found by tables: what every loop of `direct` comes down to.

    c[row] += sum over runs and steps of  a[place of the row + offset of the run + step] b[step]

A row of c and of b is a vector of columns. In a convolution the rows are pixels, a run is some taps
that lie side by side, its steps go through their channels, and the columns are filters. In a filter
gradient the rows are taps and channels, a run is a line of pixels, and its steps go through them.
Where groups are small all this is done lane by lane: a is then a vector as b is, else a number.
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
    load_scalar,
    store,
    store_scalar,
    zeros,
)

# Vectors of a register tile. Of few columns more rows would fit, but each has an address of its
# own, and of registers for those there are 16. Four columns take the fewest instructions a product.
ROWS, COLUMNS = (8, 4) if REGISTERS == 32 else (4, 2)
ROWS_OF = {1: ROWS, 2: ROWS, 3: ROWS, 4: 6}  # of so many columns
PANEL = COLUMNS * VECTOR_BYTES  # bytes of a row of a register tile
WIDE = COLUMNS * LANES  # floats in it
DEEP = (1 << 14) // (2 * VECTOR_BYTES)  # rows of it that a piece of a sum takes, of 32 KB at most


def tile(name: str, columns: int, *, lanewise: bool) -> str:
    """Source of a register tile c (ROWS_OF columns, `columns` vectors) = a b, or += with `add`.

    Its rows are at c + targets[to + i] and a + places[at + i], the runs offsets[first..last]
    further on. From one step to the next a moves by `step` bytes and b by `b_step`.
    """
    rows = range(ROWS_OF[columns])
    tile = [(i, j) for i in rows for j in range(columns)]
    lines = [
        f"def {name}(a, places, at, c, targets, to,"
        " offsets, lengths, first, last, step, b, b_step, add):"
    ]
    lines += [f"    y{i} = c + targets[unsigned(to + {i})]" for i in rows]
    lines.append("    if add:")
    lines += [f"        c{i}{j} = load(y{i} + {j * VECTOR_BYTES})" for i, j in tile]
    lines.append("    else:")
    lines += [f"        c{i}{j} = zeros()" for i, j in tile]
    lines.append("    for run in range(first, last):")
    lines.append("        x = a + offsets[unsigned(run)]")
    lines += [f"        x{i} = x + places[unsigned(at + {i})]" for i in rows]
    lines += ["        k = 0", "        for _ in range(lengths[unsigned(run)]):"]
    lines += [f"            b{j} = load(b + {j * VECTOR_BYTES})" for j in range(columns)]
    for i in rows:
        if not lanewise:
            lines.append(f"            a{i} = broadcast(x{i} + k)")
        for j in range(columns):
            factor = f"load(x{i} + k + {j * VECTOR_BYTES})" if lanewise else f"a{i}"
            lines.append(f"            c{i}{j} = fma({factor}, b{j}, c{i}{j})")
    lines += ["            k = optimization_barrier(k + step)", "            b += b_step"]
    lines += [f"    store(y{i} + {j * VECTOR_BYTES}, c{i}{j})" for i, j in tile]
    return "\n".join(lines) + "\n"


TILES: dict[str, str] = {
    f"tile_{columns}": tile(f"tile_{columns}", columns, lanewise=False)
    for columns in range(1, COLUMNS + 1)
} | {"lanes": tile("lanes", COLUMNS, lanewise=True)}
_tiles = {name: built(source, unsigned=np.uintp) for name, source in TILES.items()}
_tile_1, _tile_2, _lanes = _tiles["tile_1"], _tiles["tile_2"], _tiles["lanes"]
_OF_FOUR = ROWS_OF[4]
# Where a panel has two vectors these two are never called, but `products` has to compile.
_tile_3, _tile_4 = (_tiles.get(f"tile_{columns}", _tile_2) for columns in (3, 4))


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


class Walk(NamedTuple):
    """How a product goes through its operands (Numba would compile anew for each literal)."""

    step: int  # bytes from one value of a run to the next
    pitch: int  # bytes from one row of b to the next
    lanewise: bool
    add: bool  # to what c holds


@jit()
def products(
    walk: Walk,
    rows: int,
    a: int,
    places: np.ndarray,
    runs: int,
    offsets: np.ndarray,
    lengths: np.ndarray,
    pieces: np.ndarray,
    b: int,
    panel: int,
    columns: int,
    c: int,
    targets: np.ndarray,
    sums: int,
) -> None:
    """c = a b, or +=, for `rows` rows and `columns` columns in panels of WIDE.

    The first `runs` runs are cut in `pieces` (where each begins, and the end), so that a panel's
    piece of b stays in the first cache while all rows pass by. Panels of b lie `panel` bytes apart.
    What is no whole tile of c is made in `sums`, with room for all rows of one panel.
    """
    ends, rest = np.empty(ROWS, np.int64), np.empty(ROWS, np.int64)
    for start in range(0, columns, WIDE):
        width = min(WIDE, columns - start)
        vectors = COLUMNS if walk.lanewise else -(-width // LANES)
        tall = _OF_FOUR if vectors == 4 else ROWS
        full = rows // tall * tall
        for i in range(tall):
            ends[i] = places[min(full + i, rows - 1)]
            rest[i] = i * PANEL
        whole = width == WIDE or (width % LANES == 0 and not walk.lanewise)
        direct = full if whole else 0
        source = a + 4 * start if walk.lanewise else a
        target = c + 4 * start
        if walk.add:
            for row in range(direct, rows):
                move(target + targets[row], sums + row * PANEL, width)
        factor = b + start // WIDE * panel
        for piece in range(len(pieces) - 1):
            first, last = pieces[piece], min(pieces[piece + 1], runs)
            add = walk.add or piece > 0
            for row in range(0, rows, tall):
                x, at = (places, row) if row < full else (ends, 0)
                y, z, to = (target, targets, row) if row < direct else (sums + row * PANEL, rest, 0)
                # One tuple of arguments for all would count references to its arrays, a tenth more.
                if walk.lanewise:
                    _lanes(
                        source, x, at, y, z, to, offsets, lengths, first, last,
                        walk.step, factor, walk.pitch, add,
                    )  # fmt: skip
                elif vectors == 1:
                    _tile_1(
                        source, x, at, y, z, to, offsets, lengths, first, last,
                        walk.step, factor, walk.pitch, add,
                    )  # fmt: skip
                elif vectors == 2:
                    _tile_2(
                        source, x, at, y, z, to, offsets, lengths, first, last,
                        walk.step, factor, walk.pitch, add,
                    )  # fmt: skip
                elif vectors == 3:
                    _tile_3(
                        source, x, at, y, z, to, offsets, lengths, first, last,
                        walk.step, factor, walk.pitch, add,
                    )  # fmt: skip
                elif vectors == 4:
                    _tile_4(
                        source, x, at, y, z, to, offsets, lengths, first, last,
                        walk.step, factor, walk.pitch, add,
                    )  # fmt: skip
            for run in range(first, last):
                factor += lengths[run] * walk.pitch
        for row in range(direct, rows):
            move(sums + row * PANEL, target + targets[row], width)
