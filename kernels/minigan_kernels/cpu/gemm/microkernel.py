"""Writes the SIMD microkernels of the GEMM: a tile of accumulators in registers."""

from __future__ import annotations

from ..compiler.codegen import name_of
from ..isa.simd import CACHE_LINE, LANES, VECTOR_BYTES
from .blocking import KC_BLOCKS, MR, MR_TN, MR_TN_HALF, NR_VECTORS, UNROLL


def microkernel_nn(name: str, columns: int) -> str:
    """Source of a tile c (MR, columns vectors) = a b, or += if `add`.

    a is stored as `depth` blocks of MR vectors, whose lanes run along K; b as one row of NR vectors
    per step along K; c column by column. Every KC_BLOCKS blocks are summed by themselves: most of a
    float32 convolution's rounding error comes from long sums. Each block prefetches cache lines of
    what is used next: `b_lines` from `b_next` on, `a_lines` from `a_next` on.
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
        lines += [f"    {line}" for line in _rank_one_update(a, b)]
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


def microkernel_tn(name: str, rows: int, columns: int, *, add: bool) -> str:
    """Source of a tile c (rows, columns vectors) = a^T b, or += with `add`.

    a and b are stored as `blocks` blocks of MR vectors, `a_stride` and `b_stride` bytes apart, and
    MR runs along K. The first lanes of a's vectors give c's rows. The vectors of neighbouring
    blocks of b give its columns. c's rows are `row_stride` bytes apart.
    """
    tile = [(i, j) for i in range(rows) for j in range(columns)]
    lines = [f"def {name}(a, a_stride, b, b_stride, blocks, c, row_stride):"]
    lines += [f"    c{i}{j} = zeros()" for i, j in tile]
    lines.append("    for _ in range(blocks):")
    lines.append(f"        for r in range({MR}):")
    b = [f"b + {VECTOR_BYTES} * r + {j * MR * VECTOR_BYTES}" for j in range(columns)]
    lines += _rank_one_update([f"a + {VECTOR_BYTES} * r + {4 * i}" for i in range(rows)], b)
    lines += ["        a += a_stride", "        b += b_stride"]
    for i, j in tile:
        place = f"c + {i} * row_stride + {j * VECTOR_BYTES}"
        lines.append(f"    store({place}, {f'load({place}) + ' if add else ''}c{i}{j})")
    return "\n".join(lines) + "\n"


def microkernels() -> dict[str, str]:
    """Sources of the microkernels by name, for full panels and for half empty ones."""
    sources = []
    for half, rows, columns in (("", MR_TN, NR_VECTORS), ("_half", MR_TN_HALF, NR_VECTORS // 2)):
        sources += [
            microkernel_nn(f"microkernel_nn{half}", columns),
            microkernel_tn(f"microkernel_tn{half}", rows, columns, add=False),
            microkernel_tn(f"microkernel_tn{half}_add", rows, columns, add=True),
        ]
    return {name_of(source): source for source in sources}


def _rank_one_update(a: list[str], b: list[str]) -> list[str]:
    """One step along K: the floats at `a` times the vectors at `b`."""
    lines = [f"            b{j} = load({place})" for j, place in enumerate(b)]
    for i, place in enumerate(a):
        lines.append(f"            a{i} = broadcast({place})")
        lines += [f"            c{i}{j} = fma(a{i}, b{j}, c{i}{j})" for j in range(len(b))]
    return lines
