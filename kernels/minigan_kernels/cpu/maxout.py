"""Bias and maxout in one pass: NumPy's maximum over so short an axis takes many times as long."""

from __future__ import annotations

import numpy as np

from ..reference.maxout import check_pieces
from .jit import jit
from .memory import empty
from .planes import grain_of, lane_sums, read_only
from .threads import spread


def bias_maxout(x: np.ndarray, bias: np.ndarray, *, pieces: int) -> np.ndarray:
    """The largest piece of x + bias for each unit, (N, units)."""
    check_pieces(x.shape, bias.shape, pieces)
    x, bias = _rows(x, bias)
    y = empty((len(x), x.shape[1] // pieces), x.dtype)
    spread(lambda i, j: _largest(x[i:j], bias, pieces, y[i:j]), len(x), grain=grain_of(x))
    return y


def bias_maxout_backward(
    g: np.ndarray, y: np.ndarray, x: np.ndarray, bias: np.ndarray, *, pieces: int
) -> tuple[np.ndarray, np.ndarray]:
    """Gradients by x and bias of y = bias_maxout(x, bias); pieces that are equal share evenly."""
    check_pieces(x.shape, bias.shape, pieces, y.shape, g.shape)
    g, y, x, bias = _rows(g, y, x, bias)
    dx = empty(x.shape, x.dtype)
    sums = lane_sums(
        lambda i, sums: _largest_backward(g[i], y[i], x[i], bias, pieces, dx[i], sums[0]), dx, 1
    )
    return dx, sums[0].astype(x.dtype)


def _rows(*inputs: np.ndarray) -> list[np.ndarray]:
    """Contiguous read-only views or copies, in one dtype."""
    dtype = np.result_type(*inputs)
    return [read_only(np.ascontiguousarray(a, dtype)[...]) for a in inputs]


@jit()
def _largest(x: np.ndarray, bias: np.ndarray, pieces: int, y: np.ndarray) -> None:
    for n in range(y.shape[0]):
        for u in range(y.shape[1]):
            first = u * pieces
            top = x[n, first] + bias[first]
            for i in range(first + 1, first + pieces):
                value = x[n, i] + bias[i]
                if value > top or value != value:  # a NaN stays, as in NumPy
                    top = value
            y[n, u] = top


@jit()
def _largest_backward(
    g: np.ndarray,
    y: np.ndarray,
    x: np.ndarray,
    bias: np.ndarray,
    pieces: int,
    dx: np.ndarray,
    sums: np.ndarray,
) -> None:
    for n in range(y.shape[0]):
        for u in range(y.shape[1]):
            first, last = u * pieces, (u + 1) * pieces
            count = 0
            for i in range(first, last):
                count += x[n, i] + bias[i] == y[n, u]
            share = g[n, u] * x.dtype.type(1 / max(count, 1))
            for i in range(first, last):
                dx[n, i] = share if x[n, i] + bias[i] == y[n, u] else 0
                sums[i] += dx[n, i]
