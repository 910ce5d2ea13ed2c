"""Activations, alone and fused with a bias, in one pass over memory: chunk by chunk in the cache.

Comparisons and multiplications are Numba loops. Exponentials and tanh are NumPy's, which are vector
code; Numba would call the C library's scalar functions. GELU and SiLU have vectors of their own.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import numpy as np

from ..epilogue import Epilogue, check_bias, check_slope
from .channelwise import (
    PARTIAL_ROWS,
    add_sums,
    channel_sums,
    flat,
    grain_of,
    image_like,
    lane_sums,
    matched,
    of_channels,
    planes,
    read_only,
    widened,
)
from .compiler.jit import jit
from .runtime.allocator import empty_like, is_channels_last
from .runtime.native_task import NativeTask
from .runtime.parallel import parallel_for
from .runtime.workspace import workspace_array
from .smooth import loops_of

Pass = Callable[..., None]  # (inputs ..., out, numbers ..., first, last), vectors of one length


def leaky_relu(x: np.ndarray, *, slope: float) -> np.ndarray:
    """x where x > 0, else slope * x."""
    return _elementwise(_leaky, (x, x), slope)


def leaky_relu_dx(g: np.ndarray, x: np.ndarray, *, slope: float) -> np.ndarray:
    """g where x > 0, else slope * g."""
    return _elementwise(_leaky, (g, x), slope)


def sigmoid(x: np.ndarray) -> np.ndarray:
    """1 / (1 + exp(-x))."""
    return _elementwise(_sigmoid, (x,), cached=True)


def softplus(x: np.ndarray) -> np.ndarray:
    """log(1 + exp(x))."""
    return _elementwise(_softplus, (x,), cached=True)


def erf(x: np.ndarray) -> np.ndarray:
    """2 / sqrt(pi) times the integral of exp(-t^2) from 0 to x."""
    return _elementwise(loops_of(x.dtype).erf, (x,))


def silu(x: np.ndarray) -> np.ndarray:
    """x sigmoid(x)."""
    return _elementwise(loops_of(x.dtype).silu, (x,))


def silu_backward(g: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Gradient of `silu` with respect to x."""
    return _elementwise(loops_of(np.result_type(g, x)).silu_dx, (g, x))


def gelu(x: np.ndarray) -> np.ndarray:
    """x Phi(x), with the normal distribution function Phi."""
    return _elementwise(loops_of(x.dtype).gelu, (x,))


def gelu_backward(g: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Gradient of `gelu` with respect to x."""
    return _elementwise(loops_of(np.result_type(g, x)).gelu_dx, (g, x))


def bias_leaky_relu(x: np.ndarray, bias: np.ndarray, *, slope: float) -> np.ndarray:
    """leaky_relu(x + bias)."""
    check_slope(slope)
    return _with_bias(x, bias, slope)


def bias_leaky_relu_backward(
    g: np.ndarray, y: np.ndarray, *, slope: float
) -> tuple[np.ndarray, np.ndarray]:
    """Gradients of `bias_leaky_relu` with respect to x and bias."""
    check_slope(slope)
    return _backward(_leaky_backward, g, y, slope)


def bias_tanh(x: np.ndarray, bias: np.ndarray) -> np.ndarray:
    """tanh(x + bias)."""
    return _with_bias(x, bias, 1.0, _tanh)


def bias_tanh_backward(g: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Gradients of `bias_tanh` with respect to x and bias."""
    return _backward(_tanh_backward, g, y)


def bias_sigmoid(x: np.ndarray, bias: np.ndarray) -> np.ndarray:
    """sigmoid(x + bias)."""
    return _with_bias(x, bias, 1.0, _sigmoid)


def bias_sigmoid_backward(g: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Gradients of `bias_sigmoid` with respect to x and bias."""
    return _backward(_sigmoid_backward, g, y)


def _elementwise(
    loop: Pass, inputs: tuple[np.ndarray, ...], *numbers: float, cached: bool = False
) -> np.ndarray:
    """`loop` over chunks of `inputs`; `cached` if it is Python code that calls several loops."""
    arrays = matched(*inputs)
    out = empty_like(arrays[0])
    vectors = flat(*arrays, out=out)
    grain = grain_of(vectors[0], cached=cached)
    arguments = *vectors, *map(float, numbers)
    work = partial(loop, *arguments) if cached else NativeTask(loop, *arguments)
    parallel_for(work, out.size, grain=grain)
    return out


def apply_epilogue(y: np.ndarray, bias: np.ndarray, epilogue: Epilogue) -> np.ndarray:
    """f(y + bias) with the f of `epilogue`, in place: a pass of its own over y.

    y is dense (C-contiguous or channels last), and nobody else's.
    """
    check_bias(y.shape, bias.shape)
    assert y.flags.c_contiguous or is_channels_last(y)  # of another, `planes` would take a copy
    slope, then = _slope_and_pass(epilogue)
    return _with_bias(y, bias, slope, then, out=y)


class LineEpilogue(NamedTuple):
    """An epilogue for a compiled convolution, which applies it by `bias_leaky` to each line of its
    result while that is in the cache.
    """

    lines: np.ndarray  # of all images: (lines, pixels * channels, 1); without an epilogue empty
    bias: np.ndarray  # (1, C)
    slope: float


NO_EPILOGUE = LineEpilogue(np.empty((0, 1, 1), np.float32), np.empty((1, 1), np.float32), 1.0)


def line_epilogue(y: np.ndarray, bias: np.ndarray, epilogue: Epilogue) -> LineEpilogue:
    """`epilogue` for a result y that is channels last in memory; NO_EPILOGUE if `bias_leaky` cannot
    do it, and `apply_epilogue` must follow.
    """
    check_bias(y.shape, bias.shape)
    slope, then = _slope_and_pass(epilogue)
    if then is not None:
        return NO_EPILOGUE
    n, c, height, width = y.shape
    lines = y.transpose(0, 2, 3, 1).reshape(n * height, width * c, 1)
    return LineEpilogue(lines, of_channels(y, bias), slope)


def _slope_and_pass(epilogue: Epilogue) -> tuple[float, Pass | None]:
    """The slope of `bias_leaky`, and the pass that must follow it, if any."""
    slope = 1.0 if epilogue.slope is None else float(epilogue.slope)
    return slope, {"leaky_relu": None, "tanh": _tanh, "sigmoid": _sigmoid}[epilogue.activation]


def _with_bias(
    x: np.ndarray,
    bias: np.ndarray,
    slope: float,
    then: Pass | None = None,
    out: np.ndarray | None = None,
) -> np.ndarray:
    """leaky_relu(x + bias), and `then` in place; a slope of 1 adds the bias and no more.

    `out` has the layout of x.
    """
    if out is None:
        out = image_like(x)
    images, outs = planes(x, out=out)
    loop = NativeTask(bias_leaky, images, of_channels(x, bias), outs, float(slope))

    def work(first: int, last: int) -> None:
        loop(first, last)
        if then is not None:
            y = outs[first:last].reshape(-1)
            then(read_only(y[:]), y, 0, y.size)

    grain = grain_of(images, cached=then is not None)
    parallel_for(loop if then is None else work, len(images), grain=grain)
    return out


def _backward(
    loop: Pass, g: np.ndarray, y: np.ndarray, *numbers: float
) -> tuple[np.ndarray, np.ndarray]:
    """dx as loop(g, y, dx, numbers, sums, grain, first, last) writes it, and its sum over each
    channel.
    """
    g, y = matched(g, y)
    out = image_like(g)
    gs, ys, outs = planes(g, y, out=out)
    sums = lane_sums(loop, (gs, ys, outs, tuple(map(float, numbers))), outs, 1)
    totals = np.empty((1, out.shape[1]), out.dtype)
    channel_sums(sums, totals)
    return out, totals[0]


def _tanh(x: np.ndarray, y: np.ndarray, first: int, last: int) -> None:
    np.tanh(x[first:last], out=y[first:last])


def _sigmoid(x: np.ndarray, y: np.ndarray, first: int, last: int) -> None:
    """y may be x."""
    small = workspace_array("sigmoid", (last - first,), x.dtype)
    _minus_absolute(x, small, first, last)
    np.exp(small, out=small)
    _logistic(x, small, y, first, last)


def _softplus(x: np.ndarray, y: np.ndarray, first: int, last: int) -> None:
    part = x[first:last]
    y[first:last] = np.maximum(part, 0) + np.log1p(np.exp(-np.abs(part)))


@jit()
def _leaky(
    g: np.ndarray, x: np.ndarray, out: np.ndarray, slope: float, first: int, last: int
) -> None:
    g, x, out, factor = g[first:last], x[first:last], out[first:last], out.dtype.type(slope)
    for i in range(out.size):
        out[i] = g[i] if x[i] > 0 else factor * g[i]


@jit()
def _minus_absolute(x: np.ndarray, out: np.ndarray, first: int, last: int) -> None:
    x = x[first:last]
    for i in range(x.size):
        out[i] = -abs(x[i])


@jit()
def _logistic(x: np.ndarray, small: np.ndarray, out: np.ndarray, first: int, last: int) -> None:
    """1 / (1 + exp(-x)) from small = exp(-|x|)."""
    x, out = x[first:last], out[first:last]
    one = x.dtype.type(1)  # a plain 1 would make float32 arithmetic float64
    for i in range(x.size):
        out[i] = (one if x[i] >= 0 else small[i]) / (one + small[i])


@jit()
def _tanh_dx(g: np.ndarray, y: np.ndarray, out: np.ndarray, first: int, last: int) -> None:
    g, y, out, one = g[first:last], y[first:last], out[first:last], y.dtype.type(1)
    for i in range(out.size):
        out[i] = g[i] * (one - y[i] * y[i])


@jit()
def _sigmoid_dx(g: np.ndarray, y: np.ndarray, out: np.ndarray, first: int, last: int) -> None:
    g, y, out, one = g[first:last], y[first:last], out[first:last], y.dtype.type(1)
    for i in range(out.size):
        out[i] = g[i] * (y[i] * (one - y[i]))


def _with_sums(name: str, dx: Pass) -> Pass:
    """A loop that calls `dx` for images first..last, and sums what it wrote while that is in the
    cache.
    """

    def loop(
        g: np.ndarray,
        y: np.ndarray,
        out: np.ndarray,
        numbers: tuple[float, ...],
        sums: np.ndarray,
        grain: int,
        first: int,
        last: int,
    ) -> None:
        row, own = out.shape[1] * out.shape[2], sums[first // grain]
        g_values, values, results = g.reshape(-1), y.reshape(-1), out.reshape(-1)
        for i in range(first, last, PARTIAL_ROWS):
            j = min(i + PARTIAL_ROWS, last)
            dx(g_values, values, results, *numbers, i * row, j * row)
            add_sums(out[i:j], own[0])

    loop.__name__ = loop.__qualname__ = (
        name  # the name that the notice of compiling and the cache on disk use
    )
    return jit()(loop)


_leaky_backward = _with_sums("_leaky_backward", _leaky)
_tanh_backward = _with_sums("_tanh_backward", _tanh_dx)
_sigmoid_backward = _with_sums("_sigmoid_backward", _sigmoid_dx)


@jit()
def bias_leaky(
    x: np.ndarray, bias: np.ndarray, out: np.ndarray, slope: float, first: int, last: int
) -> None:
    """out = leaky_relu(x + bias) of `planes` first..last; bias is (1, C), and out may be x."""
    outer, lanes, inner = x.shape
    factor, shifts = out.dtype.type(slope), widened(bias, lanes)[0]
    if inner == 1:
        rows, out_rows = x.reshape(outer, lanes), out.reshape(outer, lanes)
        for r in range(first, last):
            for c in range(lanes):
                value = rows[r, c] + shifts[c]
                out_rows[r, c] = value if value > 0 else factor * value
        return
    for n in range(first, last):
        for c in range(lanes):
            plane, out_plane, shift = x[n, c], out[n, c], shifts[c]
            for i in range(inner):
                value = plane[i] + shift
                out_plane[i] = value if value > 0 else factor * value
