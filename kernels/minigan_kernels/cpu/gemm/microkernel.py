"""Writes the microkernels of matrix products by vectors: a tile of sums in registers."""

from __future__ import annotations

from ..compiler.codegen import name_of
from ..isa.simd import CACHE_LINE, LANES, VECTOR_BYTES
from .blocking import KC_BLOCKS, MR, MR_TN, MR_TN_HALF, NR_VECTORS, UNROLL


def product(name: str, columns: int) -> str:
    """Source of a register tile c (ROWS, columns vectors) = a b, or += if `add`.

    a lies in `depth` blocks of ROWS vectors, whose lanes are the sum's index; b as one row of
    COLUMNS vectors for each step of the sum; c column by column. Every SUMMED blocks are summed up
    by themselves: the rounding errors of long sums are most of a float32 convolution's. Of what is
    used next, each block fetches so many cache lines: `b_lines` from `b_next` on, `a_lines` from
    `a_next` on.
    """
    tile = [(i, j) for j in range(columns) for i in range(MR)]
    lines = [f"def {name}(a, b, c, depth, b_next, b_lines, a_next, a_lines, add):"]
    lines += ["    while depth > 0:", *(f"        c{i}{j} = zeros()" for i, j in tile)]
    lines += [
        f"        for _ in range(min(depth, {KC_BLOCKS})):",
        "            for line in range(b_lines):",
        f"                prefetch(b_next + {CACHE_LINE} * line)",
        f"            b_next += {CACHE_LINE} * b_lines",
        "            for line in range(a_lines):",
        f"                prefetch(a_next + {CACHE_LINE} * line)",
        f"            a_next += {CACHE_LINE} * a_lines",
        f"            for _ in range({LANES // UNROLL}):",
    ]
    for u in range(UNROLL):
        b = [f"b + {(u * NR_VECTORS + j) * VECTOR_BYTES}" for j in range(columns)]
        a = [f"a + {i * VECTOR_BYTES + 4 * u}" for i in range(MR)]
        lines += [f"    {line}" for line in _step(a, b)]
    lines += [
        f"                a += {4 * UNROLL}",
        f"                b += {NR_VECTORS * VECTOR_BYTES * UNROLL}",
        f"            a += {(MR - 1) * VECTOR_BYTES}",
    ]
    places = {f"c + {n * VECTOR_BYTES}": f"c{i}{j}" for n, (i, j) in enumerate(tile)}
    lines += ["        if add:"]
    lines += [f"            store({at}, load({at}) + {value})" for at, value in places.items()]
    lines += ["        else:"]
    lines += [f"            store({at}, {value})" for at, value in places.items()]
    lines += ["        add = True", f"        depth -= {KC_BLOCKS}"]
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
    lines.append(f"        for r in range({MR}):")
    b = [f"b + {VECTOR_BYTES} * r + {j * MR * VECTOR_BYTES}" for j in range(columns)]
    lines += _step([f"a + {VECTOR_BYTES} * r + {4 * i}" for i in range(rows)], b)
    lines += ["        a += a_step", "        b += b_step"]
    for i, j in tile:
        place = f"c + {i} * row + {j * VECTOR_BYTES}"
        lines.append(f"    store({place}, {f'load({place}) + ' if add else ''}c{i}{j})")
    return "\n".join(lines) + "\n"


def register_tiles() -> dict[str, str]:
    """Sources of the register tiles of `winograd` by name, for whole and for half empty panels."""
    sources = []
    for half, rows, columns in (("", MR_TN, NR_VECTORS), ("_half", MR_TN_HALF, NR_VECTORS // 2)):
        sources += [
            product(f"multiply{half}", columns),
            outer(f"outer{half}", rows, columns, add=False),
            outer(f"outer{half}_add", rows, columns, add=True),
        ]
    return {name_of(source): source for source in sources}


def _step(a: list[str], b: list[str]) -> list[str]:
    """One step of a register tile's sum: the floats at `a` times the vectors at `b`."""
    lines = [f"            b{j} = load({place})" for j, place in enumerate(b)]
    for i, place in enumerate(a):
        lines.append(f"            a{i} = broadcast({place})")
        lines += [f"            c{i}{j} = fma(a{i}, b{j}, c{i}{j})" for j in range(len(b))]
    return lines
