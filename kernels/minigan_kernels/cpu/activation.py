"""Activations, alone and fused with a bias, in one pass over memory: block by block in the cache.

The comparisons and products are Numba loops. Exponentials and tanh are NumPy's vectorised ones,
because Numba calls the C library's scalar functions (tanh of 1M float32: 51 ms against 0.9 ms).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..reference import activation as reference
from .jit import jit
from .planes import channel_sums, flat, image_sums, images_of, per_channel, planes
from .threads import ELEMENTS, spread

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
    return _elementwise(_sigmoid, x)


def softplus(x: np.ndarray) -> np.ndarray:
    """log(1 + exp(x))."""
    return _elementwise(_softplus, x)


def bias_leaky_relu(x: np.ndarray, bias: np.ndarray, *, slope: float) -> np.ndarray:
    """leaky_relu(x + bias)."""
    return _with_bias(x, bias, slope)


def bias_leaky_relu_backward(
    g: np.ndarray, y: np.ndarray, *, slope: float
) -> tuple[np.ndarray, np.ndarray]:
    """Gradients of `bias_leaky_relu` by x and bias."""
    factor = np.result_type(g, y).type(slope)
    return _backward(lambda g, y, dx: _leaky(g, y, factor, dx), g, y)


def bias_tanh(x: np.ndarray, bias: np.ndarray) -> np.ndarray:
    """tanh(x + bias)."""
    return _with_bias(x, bias, 1.0, lambda x, y: np.tanh(x, out=y))


def bias_tanh_backward(g: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Gradients of `bias_tanh` by x and bias."""
    return _backward(_tanh_dx, g, y)


def bias_sigmoid(x: np.ndarray, bias: np.ndarray) -> np.ndarray:
    """sigmoid(x + bias)."""
    return _with_bias(x, bias, 1.0, _sigmoid)


def bias_sigmoid_backward(g: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Gradients of `bias_sigmoid` by x and bias."""
    return _backward(_sigmoid_dx, g, y)


def _elementwise(loop: Loop, *inputs: np.ndarray) -> np.ndarray:
    vectors = flat(*inputs)
    out = np.empty(vectors[0].size, vectors[0].dtype)
    spread(lambda i, j: loop(*(v[i:j] for v in vectors), out[i:j]), out.size, grain=ELEMENTS)
    return out.reshape(inputs[0].shape)


def _with_bias(
    x: np.ndarray, bias: np.ndarray, slope: float, then: Loop | None = None
) -> np.ndarray:
    """leaky_relu(x + bias), and `then` in place; a slope of 1 adds the bias and no more."""
    (images,), (shift,) = planes(x), per_channel(x, bias)
    out, factor = np.empty_like(images), x.dtype.type(slope)

    def work(start: int, stop: int) -> None:
        y = out[start:stop]
        _bias_leaky(images[start:stop], shift, factor, y)
        if then is not None:
            then(y, y)

    spread(work, len(images), grain=images_of(images.size // max(1, len(images))))
    return out.reshape(x.shape)


def _backward(loop: Loop, g: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    gs, ys = planes(g, y)
    out = np.empty_like(ys)

    def work(block: slice, sums: np.ndarray) -> None:
        loop(gs[block].reshape(-1), ys[block].reshape(-1), out[block].reshape(-1))
        channel_sums(out[block], sums[0])

    (total,) = image_sums(work, ys.shape, rows=1)
    return out.reshape(y.shape), total.astype(out.dtype)


def _sigmoid(x: np.ndarray, y: np.ndarray) -> None:
    y[...] = reference.sigmoid(x)


def _softplus(x: np.ndarray, y: np.ndarray) -> None:
    y[...] = reference.softplus(x)


@jit()
def _leaky(g: np.ndarray, x: np.ndarray, slope: float, out: np.ndarray) -> None:
    for i in range(x.size):
        out[i] = g[i] if x[i] > 0 else slope * g[i]


@jit()
def _tanh_dx(g: np.ndarray, y: np.ndarray, out: np.ndarray) -> None:
    one = y.dtype.type(1)  # a plain 1 would make float32 arithmetic float64
    for i in range(y.size):
        out[i] = g[i] * (one - y[i] * y[i])


@jit()
def _sigmoid_dx(g: np.ndarray, y: np.ndarray, out: np.ndarray) -> None:
    one = y.dtype.type(1)
    for i in range(y.size):
        out[i] = g[i] * (y[i] * (one - y[i]))


@jit()
def _bias_leaky(x: np.ndarray, bias: np.ndarray, slope: float, out: np.ndarray) -> None:
    images, channels, size = x.shape
    if size == 1:  # the vector lanes run along the channels
        rows, out_rows = x.reshape(images, channels), out.reshape(images, channels)
        for n in range(images):
            for c in range(channels):
                value = rows[n, c] + bias[c]
                out_rows[n, c] = value if value > 0 else slope * value
        return
    for n in range(images):
        for c in range(channels):
            plane, out_plane, shift = x[n, c], out[n, c], bias[c]
            for i in range(size):
                value = plane[i] + shift
                out_plane[i] = value if value > 0 else slope * value
