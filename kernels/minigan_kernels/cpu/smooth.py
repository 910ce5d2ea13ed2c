"""Loops of the smooth activations: the error function, GELU and SiLU.

In float32 exp and erf are arithmetic without a branch, which runs in the CPU's vectors, so that a
loop is one pass over memory. In float64 they are the C library's.

- exp(x) for x <= 0 is 2^n exp(r) with n = round(x / ln 2), and exp(r) a polynomial. Its error is
  below 1e-7; below exp(-87.3), the smallest normal number, it is 0.
- erf(x) is x P(x^2) / Q(x^2) up to |x| = 3.925, from where on it rounds to 1. Its error is below
  5e-7, and 1e-7 on average.

Errors are relative. The coefficients minimise the largest one before rounding, by iterated weighted
least squares.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from .compiler.jit import jit

f32 = np.float32
_ONE = f32(1)
_SMALLEST = f32(-87.3)  # of which the exponential is a normal number
_PER_OCTAVE, _OCTAVE_HIGH, _OCTAVE_LOW = f32(1.442695), f32(0.693359375), f32(-0.00021219444)
_ROUND = f32(12582912)  # 1.5 * 2^23: what is added to it is rounded, and is in its lowest bits
_E2, _E3, _E4 = f32(0.49999994), f32(0.16666521), f32(0.04166839)
_E5, _E6 = f32(0.008368717), f32(0.0013814599)
_END = f32(3.925)  # from where on the error function rounds to 1
_P0, _P1, _P2, _P3 = f32(1.1283791), f32(0.20036572), f32(0.050631296), f32(0.003719209)
_P4, _P5, _P6 = f32(1.4217212e-4), f32(-1.9565953e-6), f32(1.9869525e-8)
_Q1, _Q2, _Q3, _Q4 = f32(0.51090115), f32(0.11518023), f32(0.01439008), f32(9.599752e-4)

Loop = Callable[..., None]  # (inputs ..., out, first, last), vectors of one length


@jit()
def _exp32(x: np.float32) -> np.float32:
    """exp(x) of x <= 0."""
    t = x * _PER_OCTAVE + _ROUND
    n = t - _ROUND
    r = (x - n * _OCTAVE_HIGH) - n * _OCTAVE_LOW
    y = _ONE + (r + (r * r) * (_E2 + r * (_E3 + r * (_E4 + r * (_E5 + r * _E6)))))
    power = np.int32((np.float32(t).view(np.int32) << 23) + 0x3F800000)
    return f32(0) if x < _SMALLEST else y * power.view(np.float32)


@jit()
def _erf32(x: np.float32) -> np.float32:
    t = _END if x > _END else x  # NaN stays
    t = -_END if t < -_END else t
    s = t * t
    p = _P0 + s * (_P1 + s * (_P2 + s * (_P3 + s * (_P4 + s * (_P5 + s * _P6)))))
    y = t * (p / (_ONE + s * (_Q1 + s * (_Q2 + s * (_Q3 + s * _Q4)))))
    y = _ONE if y > _ONE else y
    return -_ONE if y < -_ONE else y


@jit()
def _exp64(x: float) -> float:
    return math.exp(x)


@jit()
def _erf64(x: float) -> float:
    return math.erf(x)


class Loops(NamedTuple):
    """The loops of one dtype; those of a gradient take (g, x, dx, first, last)."""

    erf: Loop
    silu: Loop
    silu_dx: Loop
    gelu: Loop
    gelu_dx: Loop


def _loops(bits: int, exp: Callable[[Any], Any], erf: Callable[[Any], Any]) -> Loops:
    def named(name: str) -> Callable[[Loop], Loop]:
        def decorate(loop: Loop) -> Loop:  # a name for the notice of compiling and the disk cache
            loop.__name__ = loop.__qualname__ = f"_{name}_{bits}"
            return jit()(loop)

        return decorate

    @named("erf")
    def erf_loop(x: np.ndarray, y: np.ndarray, first: int, last: int) -> None:
        x, y = x[first:last], y[first:last]
        for i in range(y.size):
            y[i] = erf(x[i])

    @named("silu")
    def silu(x: np.ndarray, y: np.ndarray, first: int, last: int) -> None:
        x, y, one = x[first:last], y[first:last], x.dtype.type(1)
        for i in range(y.size):
            small = exp(-abs(x[i]))
            y[i] = x[i] * ((one if x[i] >= 0 else small) / (one + small))

    @named("silu_dx")
    def silu_dx(g: np.ndarray, x: np.ndarray, y: np.ndarray, first: int, last: int) -> None:
        g, x, y, one = g[first:last], x[first:last], y[first:last], x.dtype.type(1)
        for i in range(y.size):
            small = exp(-abs(x[i]))
            s = (one if x[i] >= 0 else small) / (one + small)
            y[i] = g[i] * (s * (one + x[i] * (one - s)))

    @named("gelu")
    def gelu(x: np.ndarray, y: np.ndarray, first: int, last: int) -> None:
        x, y = x[first:last], y[first:last]
        half, one, root = x.dtype.type(0.5), x.dtype.type(1), x.dtype.type(math.sqrt(0.5))
        for i in range(y.size):
            y[i] = x[i] * (half * (one + erf(x[i] * root)))

    @named("gelu_dx")
    def gelu_dx(g: np.ndarray, x: np.ndarray, y: np.ndarray, first: int, last: int) -> None:
        g, x, y = g[first:last], x[first:last], y[first:last]
        half, one, root = x.dtype.type(0.5), x.dtype.type(1), x.dtype.type(math.sqrt(0.5))
        factor = x.dtype.type(1 / math.sqrt(2 * math.pi))
        for i in range(y.size):
            density = exp(-half * x[i] * x[i]) * factor
            y[i] = g[i] * (half * (one + erf(x[i] * root)) + x[i] * density)

    return Loops(erf_loop, silu, silu_dx, gelu, gelu_dx)


_LOOPS = {
    np.dtype(np.float32): _loops(32, _exp32, _erf32),
    np.dtype(np.float64): _loops(64, _exp64, _erf64),
}


def loops_of(dtype: np.dtype) -> Loops:
    """The loops of numbers of this dtype.

    Raises:
        TypeError: if it is neither float32 nor float64.
    """
    if dtype not in _LOOPS:
        raise TypeError(f"smooth activations are of float32 and float64, not of {dtype}")
    return _LOOPS[dtype]
