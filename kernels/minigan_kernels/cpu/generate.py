"""Writes the unrolled Numba kernels of `winograd`: transforms of small grids, and register tiles.

A grid of 5 x 5 vectors cannot be an array and stay in registers, so its kernels are written out,
one name a vector. `python -m minigan_kernels.cpu.generate` prints them all, and the register tiles
of `direct_tile` and steps of `matrix_products`, which are written out for the same reason.
"""

from __future__ import annotations

import linecache
from collections.abc import Callable
from fractions import Fraction
from functools import cache
from typing import Any

from . import simd
from .amx import AMX, PIECES, TILE
from .jit import jit
from .simd import LANES, LINE, VECTOR
from .toom_cook import Matrix, scheme, transposed

# Register tiles of Winograd's products. Of those that fit in AVX-512's 32 registers with a power of
# two of columns, 6 x 4 takes the fewest instructions a product, which counts where another thread
# shares the core. A panel of filters that is half empty has tiles of half the columns. With a
# matrix unit it is 2 x 2 of its own tiles.
ROWS: int = 32 if AMX else 6 if LANES == 16 else simd.REGISTERS // 4
COLUMNS: int = 4 if LANES == 16 and not AMX else 2
OUTER, OUTER_HALF = 4, min(8, LANES)  # rows, where they are channels: they divide LANES
UNROLLED = 4  # steps of a register tile's loop
SUMMED = 128 // LANES  # blocks of channels in a sum


def transform(name: str, matrix: Matrix, reads: str, writes: str, *, add: bool = False) -> str:
    """Source of `y = matrix x matrix^T` for a grid x of vectors, for `count` grids in a row.

    `reads` and `writes` say where a grid's vectors lie. "places": a table of addresses, one for
    each vector. "planes": one `plane` bytes after the other. From one grid to the next the
    addresses move by `x_step` and `y_step` bytes. "stream" writes planes past the caches. With
    `add`, a second table says what to add to each result.
    """
    rows, columns = len(matrix), len(matrix[0])
    before = ["before"] if add else []
    parameters = [*_parameters("x", reads), "x_step", *before, *_parameters("y", writes), "y_step"]
    lines = [f"def {name}({', '.join(parameters)}, count):", "    for k in range(count):"]
    for j in range(columns):
        for i in range(columns):
            place = _place("x", reads, i * columns + j)
            lines.append(f"        x{i}{j} = load({place} + k * x_step)")
        column = [f"x{q}{j}" for q in range(columns)]
        lines += [f"        t{i}{j} = {_sum(matrix[i], column)}" for i in range(rows)]
    for i in range(rows):
        for j in range(rows):
            value = _sum(matrix[j], [f"t{i}{q}" for q in range(columns)])
            if add:
                value = f"load(before[{i * rows + j}] + k * y_step) + ({value})"
            write = "stream" if writes == "stream" else "store"
            place = _place("y", writes, i * rows + j)
            lines.append(f"        {write}({place} + k * y_step, {value})")
    return "\n".join(lines) + "\n"


def transform_rows(name: str, matrix: Matrix, write: str) -> str:
    """Source of the same transform from places to planes, `write`n by "store" or "stream"."""
    return transform(name, matrix, "places", "stream" if write == "stream" else "planes")


def transform_pairs(name: str, matrix: Matrix, write: str) -> str:
    """Source of the same transform for pairs of grids, x and w at places, cut up into pieces.

    Planes of y, `write`n by "store" or "stream", hold a tile's row of each piece (see `amx`).
    """
    rows, columns = len(matrix), len(matrix[0])
    lines = [f"def {name}(x, w, x_step, y, y_plane, y_step, count):", "    for k in range(count):"]
    for j in range(columns):
        for grid, half in (("x", "t"), ("w", "s")):
            for i in range(columns):
                place = f"{grid}[{i * columns + j}]"
                lines.append(f"        {grid}{i} = load({place} + k * x_step)")
            column = [f"{grid}{q}" for q in range(columns)]
            lines += [f"        {half}{i}{j} = {_sum(matrix[i], column)}" for i in range(rows)]
    for i in range(rows):
        for j in range(rows):
            first, second = (
                _sum(matrix[j], [f"{half}{i}{q}" for q in range(columns)]) for half in "ts"
            )
            lines.append(f"        place = y + {i * rows + j} * y_plane + k * y_step")
            lines += [f"        {line}" for line in cut_up(first, second, "place", write)]
    return "\n".join(lines) + "\n"


def cut_up(p: str, q: str, place: str, write: str = "store") -> list[str]:
    """Lines that write a row of a tile of each piece (see `amx`) of the vectors p and q, pairs lane
    by lane, from a place on.
    """
    lines = [f"p, q = {p}, {q}", f"{write}({place}, paired(p, q))"]
    for piece in range(1, PIECES):
        lines.append("p, q = p - cut(p), q - cut(q)")
        lines.append(f"{write}({place} + {piece * 2 * TILE}, paired(p, q))")
    return lines


def _parameters(grid: str, kind: str) -> list[str]:
    return [grid] if kind == "places" else [grid, f"{grid}_plane"]


def _place(grid: str, kind: str, index: int) -> str:
    return f"{grid}[{index}]" if kind == "places" else f"{grid} + {index} * {grid}_plane"


def _sum(coefficients: tuple[Fraction, ...], names: list[str]) -> str:
    """`coefficients . names` as text, a term with a plain sign first where there is one."""
    terms = [(c, n) for c, n in zip(coefficients, names, strict=True) if c]
    terms.sort(key=lambda term: (term[0] != 1, abs(term[0]) != 1))
    if not terms:
        return "zeros()"
    text = ""
    for c, n in terms:
        product = n if abs(c) == 1 else f"{float(abs(c))!r} * {n}"
        if text:
            text += f" {'+' if c > 0 else '-'} {product}"
        else:
            text = product if c > 0 else f"-1.0 * {n}" if c == -1 else f"{float(c)!r} * {n}"
    return text


def product(name: str, columns: int) -> str:
    """Source of a register tile c (ROWS, columns vectors) = a b, or += if `add`.

    a lies in `depth` blocks of ROWS vectors, whose lanes are the sum's index; b as one row of
    COLUMNS vectors for each step of the sum; c column by column. Every SUMMED blocks are summed up
    by themselves: the rounding errors of long sums are most of a float32 convolution's. Of what is
    used next, each block fetches so many cache lines: `b_lines` from `b_next` on, `a_lines` from
    `a_next` on.
    """
    tile = [(i, j) for j in range(columns) for i in range(ROWS)]
    lines = [f"def {name}(a, b, c, depth, b_next, b_lines, a_next, a_lines, add):"]
    lines += ["    while depth > 0:", *(f"        c{i}{j} = zeros()" for i, j in tile)]
    lines += [
        f"        for _ in range(min(depth, {SUMMED})):",
        "            for line in range(b_lines):",
        f"                prefetch(b_next + {LINE} * line)",
        f"            b_next += {LINE} * b_lines",
        "            for line in range(a_lines):",
        f"                prefetch(a_next + {LINE} * line)",
        f"            a_next += {LINE} * a_lines",
        f"            for _ in range({LANES // UNROLLED}):",
    ]
    for u in range(UNROLLED):
        b = [f"b + {(u * COLUMNS + j) * VECTOR}" for j in range(columns)]
        a = [f"a + {i * VECTOR + 4 * u}" for i in range(ROWS)]
        lines += [f"    {line}" for line in _step(a, b)]
    lines += [
        f"                a += {4 * UNROLLED}",
        f"                b += {COLUMNS * VECTOR * UNROLLED}",
        f"            a += {(ROWS - 1) * VECTOR}",
    ]
    places = {f"c + {n * VECTOR}": f"c{i}{j}" for n, (i, j) in enumerate(tile)}
    lines += ["        if add:"]
    lines += [f"            store({at}, load({at}) + {value})" for at, value in places.items()]
    lines += ["        else:"]
    lines += [f"            store({at}, {value})" for at, value in places.items()]
    lines += ["        add = True", f"        depth -= {SUMMED}"]
    return "\n".join(lines) + "\n"


def outer(name: str, rows: int, columns: int, *, add: bool) -> str:
    """Source of a register tile c (rows, columns vectors) = sum over rows of a^T b, or += .

    a and b lie in `groups` blocks, `a_step` and `b_step` bytes apart, of ROWS vectors: a's first
    lanes give c's rows, and b's vectors, in blocks side by side, its columns. c's rows lie `row`
    apart.
    """
    tile = [(i, j) for i in range(rows) for j in range(columns)]
    lines = [f"def {name}(a, a_step, b, b_step, groups, c, row):"]
    lines += [f"    c{i}{j} = zeros()" for i, j in tile]
    lines.append("    for _ in range(groups):")
    lines.append(f"        for r in range({ROWS}):")
    b = [f"b + {VECTOR} * r + {j * ROWS * VECTOR}" for j in range(columns)]
    lines += _step([f"a + {VECTOR} * r + {4 * i}" for i in range(rows)], b)
    lines += ["        a += a_step", "        b += b_step"]
    for i, j in tile:
        place = f"c + {i} * row + {j * VECTOR}"
        lines.append(f"    store({place}, {f'load({place}) + ' if add else ''}c{i}{j})")
    return "\n".join(lines) + "\n"


def register_tiles() -> dict[str, str]:
    """Sources of the register tiles of `winograd` by name, for whole and for half empty panels."""
    sources = []
    for half, rows, columns in (("", OUTER, COLUMNS), ("_half", OUTER_HALF, COLUMNS // 2)):
        sources += [
            product(f"multiply{half}", columns),
            outer(f"outer{half}", rows, columns, add=False),
            outer(f"outer{half}_add", rows, columns, add=True),
        ]
    return {name_of(source): source for source in sources}


def name_of(source: str) -> str:
    """The name of the function that a source defines."""
    return source[4 : source.index("(")]


def _step(a: list[str], b: list[str]) -> list[str]:
    """One step of a register tile's sum: the floats at `a` times the vectors at `b`."""
    lines = [f"            b{j} = load({place})" for j, place in enumerate(b)]
    for i, place in enumerate(a):
        lines.append(f"            a{i} = broadcast({place})")
        lines += [f"            c{i}{j} = fma(a{i}, b{j}, c{i}{j})" for j in range(len(b))]
    return lines


def transpose(name: str) -> str:
    """Source of the transpose of LANES vectors, `x_step` bytes apart, to rows `y_step` apart.

    Interleaving row i with row i + LANES/2, log2(LANES) times, deals the elements out (a perfect
    shuffle of the bits of their index).
    """
    lines = [f"def {name}(x, x_step, y, y_step):"]
    lines += [f"    x{i} = load(x + {i} * x_step)" for i in range(LANES)]
    half = LANES // 2
    for _ in range(LANES.bit_length() - 1):
        pairs = [
            (2 * i, f"{kind}(x{i}, x{i + half})") for i in range(half) for kind in ("low", "high")
        ]
        names = ", ".join(f"x{i}" for i in range(LANES))
        lines.append(f"    {names} = {', '.join(value for _, value in pairs)}")
    lines += [f"    store(y + {i} * y_step, x{i})" for i in range(LANES)]
    return "\n".join(lines) + "\n"


def transforms(m: int, r: int) -> dict[str, str]:
    """Sources of the transforms of F(m, r), by what they make."""
    _, _, at, g, bt = scheme(m, r)
    a, b, gt = transposed(at), transposed(bt), transposed(g)
    end = f"_{m}_{r}"
    filters = transform_pairs if AMX else transform_rows
    return {
        "image": transform("image" + end, bt, "places", "stream"),
        "gradient": transform("gradient" + end, a, "places", "stream"),
        "filter": filters("filter" + end, g, "stream"),
        "near_filter": filters("near_filter" + end, g, "store"),
        "output": transform("output" + end, at, "planes", "places"),
        "image_gradient": transform("image_gradient" + end, b, "planes", "places", add=True),
        "filter_gradient": transform("filter_gradient" + end, gt, "planes", "places"),
    }


@cache
def built(source: str, **names: Any) -> Callable[..., Any]:
    """The compiled function of a generated source, which may use `simd` and `names`; tracebacks
    and debuggers show its lines.
    """
    name = name_of(source)
    file = f"<minigan_kernels.cpu.generate: {name}>"
    linecache.cache[file] = (len(source), None, source.splitlines(keepends=True), file)
    namespace: dict[str, Any] = {**vars(simd), **names, "__name__": __name__}
    exec(compile(source, file, "exec"), namespace)
    return jit()(namespace[name])


if __name__ == "__main__":
    for m, r in ((2, 2), (4, 2), (2, 3), (4, 3)):
        print(*transforms(m, r).values(), sep="\n")
    from .direct_tile import TILES

    print(transpose("transpose"), *TILES.values(), sep="\n")
    if AMX:
        from .matrix_products import STEPS

        print(*STEPS.values(), sep="\n")
    else:
        print(*register_tiles().values(), sep="\n")
