"""Minimal filtering F(m, r): m outputs of a filter with r taps by m + r - 1 multiplications.

Write the filter as a polynomial g(x) of degree r - 1 and m numbers as y(x) of degree m - 1. Their
product has degree a - 1 with a = m + r - 1, so its values at a points determine it (Toom 1963, Cook
1966): with V_k the rows (1, p, p^2, ..., p^(k-1)) for each point p, and (0, ..., 0, 1) for the
point at infinity, the coefficients of g(x) y(x) are

    V_a^-1 [ (V_r g) * (V_m y) ].

This is full linear convolution. Its transpose with respect to y is what a convolution layer does,
y[i] = sum_u g[u] d[i + u] (Winograd 1980; Lavin & Gray 2015, arXiv:1509.09308, for layers):

    y = A^T [ (G g) * (B^T d) ],     A = V_m,  G = D^-1 V_r,  B^T = D V_a^-T.

Lagrange's formula gives the inverse in closed form. For a finite point p_j let

    L_j(x) = prod_{k != j} (x - p_k),   N_j = L_j(p_j);

the j-th row of V_a^-T holds the coefficients of L_j(x) / N_j, and that of infinity those of
prod_k (x - p_k). D, any diagonal matrix, divides the scale between filter and data. Here D_j = N_j,
so that B^T and A, which act on the big arrays, hold small numbers and the division is left to the
weights.

The same three matrices, transposed, give the layer's gradients: with respect to d by (A y), then B;
with respect to g by (B^T d) (A y), then G^T. In two dimensions every matrix acts on both axes.

Points: the error of float32 grows with the entries of these matrices. Fractions near one, in pairs
of either sign, lose least (Barabasz et al. 2018, arXiv:1803.10986); those below lost least in
emulation, and tests/kernels/cpu/test_toom_cook.py emulates them beside others.
"""

from __future__ import annotations

from fractions import Fraction
from functools import cache
from typing import NamedTuple

Row = tuple[Fraction, ...]
Matrix = tuple[Row, ...]

POINTS: dict[tuple[int, int], tuple[str, ...]] = {  # beside infinity, for (m, r)
    (2, 2): ("1", "-1"),
    (4, 2): ("1/2", "-1/2", "5/4", "-5/4"),
    (2, 3): ("0", "1", "-1"),
    (4, 3): ("0", "3/4", "-3/4", "3/2", "-3/2"),
}


class Scheme(NamedTuple):
    """Matrices of F(m, r), a = m + r - 1: `at` (m, a), `g` (a, r), `bt` (a, a)."""

    m: int
    r: int
    at: Matrix
    g: Matrix
    bt: Matrix


@cache
def scheme(m: int, r: int, points: tuple[str, ...] | None = None) -> Scheme:
    """F(m, r) at m + r - 2 finite `points` and infinity, in exact fractions."""
    finite = [Fraction(p) for p in points or POINTS[m, r]]
    if len(set(finite)) != m + r - 2:
        raise ValueError(f"F({m}, {r}) needs {m + r - 2} different points, not {finite}")
    evaluations, filters, data = [], [], []
    for p in finite:
        others = [q for q in finite if q != p]
        norm = _value(_product(others), p)
        sign = 1 if norm > 0 else -1
        evaluations.append([p**i for i in range(m)])
        filters.append([sign * p**i / norm for i in range(r)])
        data.append([sign * c for c in _product(others)] + [Fraction(0)])
    evaluations.append(_last(m))
    filters.append(_last(r))
    data.append(_product(finite))
    return Scheme(m, r, transposed(_matrix(evaluations)), _matrix(filters), _matrix(data))


def transposed(matrix: Matrix) -> Matrix:
    return tuple(zip(*matrix, strict=True))


def _product(roots: list[Fraction]) -> list[Fraction]:
    """Coefficients of prod (x - root), the constant first."""
    coefficients = [Fraction(1)]
    for root in roots:
        none = [Fraction(0)]
        coefficients = [
            low - root * c for low, c in zip(none + coefficients, coefficients + none, strict=True)
        ]
    return coefficients


def _value(coefficients: list[Fraction], x: Fraction) -> Fraction:
    return sum((c * x**i for i, c in enumerate(coefficients)), Fraction(0))


def _last(size: int) -> list[Fraction]:
    return [Fraction(0)] * (size - 1) + [Fraction(1)]


def _matrix(rows: list[list[Fraction]]) -> Matrix:
    return tuple(tuple(row) for row in rows)
