"""Bias and maxout in one pass: NumPy's maximum over so short an axis takes many times as long.

A unit has few pieces. So the inner loops run along the units, or along a whole row: short loops
would take longer to begin than to run.
"""

from __future__ import annotations

import numpy as np

from ..checks import check_pieces
from .channelwise import add_sums, channel_sums, grain_of, lane_sums, read_only
from .compiler.jit import jit
from .runtime.allocator import empty
from .runtime.native_task import NativeTask
from .runtime.parallel import parallel_for


def bias_maxout(x: np.ndarray, bias: np.ndarray, *, pieces: int) -> np.ndarray:
    """The largest piece of x + bias for each unit, (N, units)."""
    check_pieces(x.shape, bias.shape, pieces)
    x, bias = _rows(x, bias)
    y = empty((len(x), x.shape[1] // pieces), x.dtype)
    parallel_for(NativeTask(_largest, x, bias, pieces, y), len(x), grain=grain_of(x))
    return y


def bias_maxout_backward(
    g: np.ndarray, y: np.ndarray, x: np.ndarray, bias: np.ndarray, *, pieces: int
) -> tuple[np.ndarray, np.ndarray]:
    """Gradients with respect to x and bias of y = bias_maxout(x, bias).

    The largest pieces of a unit, if several are equal, get the same part of its gradient.
    """
    check_pieces(x.shape, bias.shape, pieces, y.shape, g.shape)
    g, y, x, bias = _rows(g, y, x, bias)
    dx = empty(x.shape, x.dtype)
    sums = lane_sums(_largest_backward, (g, y, x, bias, pieces, dx), dx, 1)
    totals = np.empty((1, x.shape[1]), x.dtype)
    channel_sums(sums, totals)
    return dx, totals[0]


def _rows(*inputs: np.ndarray) -> list[np.ndarray]:
    """Contiguous read-only views or copies, in one dtype."""
    dtype = np.result_type(*inputs)
    return [read_only(np.ascontiguousarray(a, dtype)[...]) for a in inputs]


@jit()
def _largest(
    x: np.ndarray, bias: np.ndarray, pieces: int, y: np.ndarray, first: int, last: int
) -> None:
    rows, units = y.shape
    values, shifts = x.reshape(rows, units, pieces), bias.reshape(units, pieces)
    for n in range(first, last):
        for u in range(units):
            y[n, u] = values[n, u, 0] + shifts[u, 0]
        for i in range(1, pieces):
            for u in range(units):
                value, top = values[n, u, i] + shifts[u, i], y[n, u]
                y[n, u] = (
                    value if value > top or value != value else top
                )  # a NaN stays, as in NumPy


@jit()
def _largest_backward(
    g: np.ndarray,
    y: np.ndarray,
    x: np.ndarray,
    bias: np.ndarray,
    pieces: int,
    dx: np.ndarray,
    sums: np.ndarray,
    grain: int,
    first: int,
    last: int,
) -> None:
    units, width = y.shape[1], x.shape[1]
    none, one = x.dtype.type(0), x.dtype.type(1)
    wide, hits = np.empty(width, x.dtype), np.empty(width, x.dtype)
    gradients = np.empty(units, x.dtype)  # of each of a unit's largest pieces
    for n in range(first, last):
        _repeat(y[n], wide, pieces)
        for k in range(width):
            hits[k] = one if x[n, k] + bias[k] == wide[k] else none
        unit_hits = hits.reshape(units, pieces)
        gradients[:] = none
        for i in range(pieces):
            for u in range(units):
                gradients[u] += unit_hits[u, i]
        for u in range(units):
            gradients[u] = g[n, u] / (gradients[u] if gradients[u] > one else one)
        _repeat(gradients, wide, pieces)
        for k in range(width):
            dx[n, k] = wide[k] if hits[k] > none else none
    own = sums[first // grain]
    add_sums(dx[first:last].reshape(last - first, width, 1), own[0])


@jit()
def _repeat(values: np.ndarray, out: np.ndarray, times: int) -> None:
    """out = each value repeated, as `numpy.repeat`."""
    repeated = out.reshape(len(values), times)
    for i in range(times):
        for u in range(len(values)):
            repeated[u, i] = values[u]
