"""Writes Winograd's transforms of small grids.

A grid of 5 x 5 vectors cannot be an array and stay in registers, so its transforms are written out,
one name a vector.
"""

from __future__ import annotations

from fractions import Fraction
from itertools import combinations

from ...gemm.bf16x3 import split_bf16x3
from ...isa.amx import AMX
from .toom_cook import Matrix, scheme, transposed


def transform(
    name: str,
    matrix: Matrix,
    reads: str,
    writes: str,
    *,
    add: bool = False,
    epilogue: bool = False,
    squares: bool = False,
) -> str:
    """Source of `y = matrix x matrix^T` for a grid x of vectors, for `count` grids in a row.

    `reads` and `writes` say where a grid's vectors are. "table": at a table of addresses, one for
    each vector. "planes": `plane` bytes apart. From one grid to the next the addresses move by
    `x_step` and `y_step` bytes. "nontemporal" writes planes with non-temporal stores. With `add`, a
    second table says what to add to each result. With `epilogue`, results end with a bias and a
    leaky ReLU. With `squares` it returns a vector: the sum of squares of a few y, to which each x
    adds.
    """
    rows, columns = len(matrix), len(matrix[0])
    squared = _seeing_all(matrix) if squares else ()
    before = ["before"] if add else []
    parameters = [*_parameters("x", reads), "x_step", *before, *_parameters("y", writes), "y_step"]
    parameters += ["bias", "slope"] if epilogue else []
    lines = [f"def {name}({', '.join(parameters)}, count):"]
    lines += ["    squares = zeros()"] if squares else []
    lines += ["    for k in range(count):"]
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
            if epilogue:
                value = f"bias_leaky_relu({value}, load(bias + k * y_step), slope)"
            if i in squared and j in squared:
                lines += [f"        v = {value}", "        squares = fma(v, v, squares)"]
                value = "v"
            write = "store_nontemporal" if writes == "nontemporal" else "store"
            place = _place("y", writes, i * rows + j)
            lines.append(f"        {write}({place} + k * y_step, {value})")
    lines += ["    return squares"] if squares else []
    return "\n".join(lines) + "\n"


def transform_rows(name: str, matrix: Matrix, write: str) -> str:
    """Source of the same transform from a table to planes, `write`n by "store" or
    "store_nontemporal".
    """
    return transform(
        name, matrix, "table", "nontemporal" if write == "store_nontemporal" else "planes"
    )


def transform_pairs(name: str, matrix: Matrix, write: str) -> str:
    """Source of the same transform for pairs of grids, x and w at tables, split into bfloat16.

    Planes of y, `write`n by "store" or "store_nontemporal", hold a tile's row for each term (see
    `isa.amx`).
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
            lines += [f"        {line}" for line in split_bf16x3(first, second, "place", write)]
    return "\n".join(lines) + "\n"


def _seeing_all(matrix: Matrix) -> tuple[int, ...]:
    """The fewest rows of which one has a coefficient of 1/2 or more in each column."""

    def least(rows: tuple[int, ...]) -> Fraction:
        return min(max(abs(matrix[i][j]) for i in rows) for j in range(len(matrix[0])))

    for count in range(1, len(matrix) + 1):
        best = max(combinations(range(len(matrix)), count), key=least)
        if least(best) >= Fraction(1, 2):
            return best
    raise ValueError("the matrix has a column of small coefficients alone")


def _parameters(grid: str, kind: str) -> list[str]:
    return [grid] if kind == "table" else [grid, f"{grid}_plane"]


def _place(grid: str, kind: str, index: int) -> str:
    return f"{grid}[{index}]" if kind == "table" else f"{grid} + {index} * {grid}_plane"


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


def transforms(m: int, r: int) -> dict[str, str]:
    """Sources of the transforms of F(m, r), by what they make."""
    _, _, at, g, bt = scheme(m, r)
    a, b, gt = transposed(at), transposed(bt), transposed(g)
    end = f"_{m}_{r}"
    weights = transform_pairs if AMX else transform_rows
    return {
        "image": transform("image" + end, bt, "table", "nontemporal", squares=True),
        "gradient": transform("gradient" + end, a, "table", "nontemporal", squares=True),
        "weight": weights("weight" + end, g, "store_nontemporal"),
        "cached_weight": weights("cached_weight" + end, g, "store"),
        "output": transform("output" + end, at, "planes", "table"),
        "output_epilogue": transform("output_epilogue" + end, at, "planes", "table", epilogue=True),
        "image_gradient": transform("image_gradient" + end, b, "planes", "table", add=True),
        "weight_gradient": transform("weight_gradient" + end, gt, "planes", "table"),
    }
