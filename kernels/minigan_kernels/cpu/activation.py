"""Activations, alone and fused with a bias, in one pass over memory: block by block in the cache.

The comparisons and products are Numba loops. Exponentials and tanh are NumPy's, which are vector
code; Numba would call the C library's functions of one number.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..reference import activation as reference
from .jit import jit
from .memory import empty_like
from .planes import (
    PARTIAL,
    add_sums,
    flat,
    grain_of,
    image_like,
    lane_sums,
    matched,
    per_channel,
    per_lane,
    planes,
    read_only,
)
from .threads import scratch, spread

Loop = Callable[..., None]  # (inputs ..., out), all of one shape


def leaky_relu(x: np.ndarray, *, slope: float) -> np.ndarray:
    """x where x > 0, else slope * x."""
    factor = x.dtype.type(slope)
    return _elementwise(lambda x, y: _leaky(x, x, factor, y), x)


def leaky_relu_dx(g: np.ndarray, x: np.ndarray, *, slope: float) -> np.ndarray:
    """g where x > 0, else slope * g."""
    factor = np.result_type(g, x).type(slope)
    return _elementwise(lambda g, x, dx: _leaky(g, x, factor, dx), g, x)


def sigmoid(x: np.ndarray) -> np.ndarray:
    """1 / (1 + exp(-x))."""
    return _elementwise(_sigmoid, x, cached=True)


def softplus(x: np.ndarray) -> np.ndarray:
    """log(1 + exp(x))."""
    return _elementwise(_softplus, x, cached=True)


def bias_leaky_relu(x: np.ndarray, bias: np.ndarray, *, slope: float) -> np.ndarray:
    """leaky_relu(x + bias)."""
    return _with_bias(x, bias, slope)


def bias_leaky_relu_backward(
    g: np.ndarray, y: np.ndarray, *, slope: float
) -> tuple[np.ndarray, np.ndarray]:
    """Gradients of `bias_leaky_relu` by x and bias."""
    factor = np.result_type(g, y).type(slope)
    return _backward(lambda g, y, dx, sums: _leaky_backward(g, y, factor, dx, sums), g, y)


def bias_tanh(x: np.ndarray, bias: np.ndarray) -> np.ndarray:
    """tanh(x + bias)."""
    return _with_bias(x, bias, 1.0, lambda x, y: np.tanh(x, out=y))


def bias_tanh_backward(g: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Gradients of `bias_tanh` by x and bias."""
    return _backward(_tanh_backward, g, y)


def bias_sigmoid(x: np.ndarray, bias: np.ndarray) -> np.ndarray:
    """sigmoid(x + bias)."""
    return _with_bias(x, bias, 1.0, _sigmoid)


def bias_sigmoid_backward(g: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Gradients of `bias_sigmoid` by x and bias."""
    return _backward(_sigmoid_backward, g, y)


def _elementwise(loop: Loop, *inputs: np.ndarray, cached: bool = False) -> np.ndarray:
    """`loop` over pieces of vectors; `cached` if it is several loops."""
    arrays = matched(*inputs)
    out = empty_like(arrays[0])
    vectors = flat(*arrays, out=out)
    grain = grain_of(vectors[0], cached=cached)
    spread(lambda i, j: loop(*(v[i:j] for v in vectors)), out.size, grain=grain)
    return out


def _with_bias(
    x: np.ndarray, bias: np.ndarray, slope: float, then: Loop | None = None
) -> np.ndarray:
    """leaky_relu(x + bias), and `then` in place; a slope of 1 adds the bias and no more."""
    out = image_like(x)
    images, outs = planes(x, out=out)
    (shift,), factor = per_lane(images, x, bias), x.dtype.type(slope)

    def work(i: int, j: int) -> None:
        _bias_leaky(images[i:j], shift, factor, outs[i:j])
        if then is not None:
            y = outs[i:j].reshape(-1)
            then(read_only(y[:]), y)

    spread(work, len(images), grain=grain_of(images, cached=then is not None))
    return out


def _backward(loop: Loop, g: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What loop(g, y, dx, sums) writes to dx, and the sums of that over each channel."""
    g, y = matched(g, y)
    out = image_like(g)
    gs, ys, outs = planes(g, y, out=out)
    sums = lane_sums(lambda i, sums: loop(gs[i], ys[i], outs[i], sums[0]), outs, 1)
    return out, per_channel(sums, out)[0].astype(out.dtype)


def _sigmoid(x: np.ndarray, y: np.ndarray) -> None:
    """y may be x."""
    small = scratch("sigmoid", x.shape, x.dtype)
    _minus_absolute(x, small)
    np.exp(small, out=small)
    _logistic(x, small, y)


def _softplus(x: np.ndarray, y: np.ndarray) -> None:
    y[...] = reference.softplus(x)


@jit()
def _leaky(g: np.ndarray, x: np.ndarray, slope: float, out: np.ndarray) -> None:
    for i in range(x.size):
        out[i] = g[i] if x[i] > 0 else slope * g[i]


@jit()
def _leaky_backward(
    g: np.ndarray, y: np.ndarray, slope: float, out: np.ndarray, sums: np.ndarray
) -> None:
    for i in range(0, len(g), PARTIAL):
        j = i + PARTIAL
        _leaky(g[i:j].reshape(-1), y[i:j].reshape(-1), slope, out[i:j].reshape(-1))
        add_sums(out[i:j], sums)


@jit()
def _minus_absolute(x: np.ndarray, out: np.ndarray) -> None:
    for i in range(x.size):
        out[i] = -abs(x[i])


@jit()
def _logistic(x: np.ndarray, small: np.ndarray, out: np.ndarray) -> None:
    """1 / (1 + exp(-x)) from small = exp(-|x|)."""
    one = x.dtype.type(1)  # a plain 1 would make float32 arithmetic float64
    for i in range(x.size):
        out[i] = (one if x[i] >= 0 else small[i]) / (one + small[i])


@jit()
def _tanh_dx(g: np.ndarray, y: np.ndarray, out: np.ndarray) -> None:
    one = y.dtype.type(1)
    for i in range(y.size):
        out[i] = g[i] * (one - y[i] * y[i])


@jit()
def _tanh_backward(g: np.ndarray, y: np.ndarray, out: np.ndarray, sums: np.ndarray) -> None:
    for i in range(0, len(g), PARTIAL):
        j = i + PARTIAL
        _tanh_dx(g[i:j].reshape(-1), y[i:j].reshape(-1), out[i:j].reshape(-1))
        add_sums(out[i:j], sums)


@jit()
def _sigmoid_dx(g: np.ndarray, y: np.ndarray, out: np.ndarray) -> None:
    one = y.dtype.type(1)
    for i in range(y.size):
        out[i] = g[i] * (y[i] * (one - y[i]))


@jit()
def _sigmoid_backward(g: np.ndarray, y: np.ndarray, out: np.ndarray, sums: np.ndarray) -> None:
    for i in range(0, len(g), PARTIAL):
        j = i + PARTIAL
        _sigmoid_dx(g[i:j].reshape(-1), y[i:j].reshape(-1), out[i:j].reshape(-1))
        add_sums(out[i:j], sums)


@jit()
def _bias_leaky(x: np.ndarray, bias: np.ndarray, slope: float, out: np.ndarray) -> None:
    outer, lanes, inner = x.shape
    if inner == 1:
        rows, out_rows = x.reshape(outer, lanes), out.reshape(outer, lanes)
        for r in range(outer):
            for c in range(lanes):
                value = rows[r, c] + bias[c]
                out_rows[r, c] = value if value > 0 else slope * value
        return
    for n in range(outer):
        for c in range(lanes):
            plane, out_plane, shift = x[n, c], out[n, c], bias[c]
            for i in range(inner):
                value = plane[i] + shift
                out_plane[i] = value if value > 0 else slope * value
