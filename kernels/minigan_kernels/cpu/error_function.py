"""The error function of one number, and loops over it, which NumPy has not.

In float32 it is x P(x^2) / Q(x^2) up to |x| = 3.925, from where on it rounds to 1: arithmetic
without a branch, which runs in the CPU's vectors. P and Q minimise the largest relative error, 5e-8
before rounding, by iterated weighted least squares; after it that is below 5e-7, and 1e-7 on
average. In float64 it is the C library's.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from .compiler.jit import jit

f32 = np.float32
_END = f32(3.925)
_P0, _P1, _P2, _P3 = f32(1.1283791), f32(0.20036572), f32(0.050631296), f32(0.003719209)
_P4, _P5, _P6 = f32(1.4217212e-4), f32(-1.9565953e-6), f32(1.9869525e-8)
_Q1, _Q2, _Q3, _Q4 = f32(0.51090115), f32(0.11518023), f32(0.01439008), f32(9.599752e-4)
_ONE = f32(1)

Loop = Callable[..., None]


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
def _erf64(x: float) -> float:
    return math.erf(x)


def _erf_loop(name: str, erf: Callable[[Any], Any]) -> Loop:
    def loop(x: np.ndarray, y: np.ndarray, first: int, last: int) -> None:
        x, y = x[first:last], y[first:last]
        for i in range(y.size):
            y[i] = erf(x[i])

    return _named(name, loop)


def _gelu_loop(name: str, erf: Callable[[Any], Any]) -> Loop:
    def loop(x: np.ndarray, y: np.ndarray, first: int, last: int) -> None:
        x, y = x[first:last], y[first:last]
        half, one, root = x.dtype.type(0.5), x.dtype.type(1), x.dtype.type(math.sqrt(0.5))
        for i in range(y.size):
            y[i] = x[i] * (half * (one + erf(x[i] * root)))

    return _named(name, loop)


def _gelu_dx_loop(name: str, erf: Callable[[Any], Any]) -> Loop:
    def loop(g: np.ndarray, x: np.ndarray, y: np.ndarray, first: int, last: int) -> None:
        """y = g (Phi(x) + x phi(x)) for the exp(-x^2 / 2) that is in y."""
        g, x, y = g[first:last], x[first:last], y[first:last]
        half, one, root = x.dtype.type(0.5), x.dtype.type(1), x.dtype.type(math.sqrt(0.5))
        factor = x.dtype.type(1 / math.sqrt(2 * math.pi))
        for i in range(y.size):
            y[i] = g[i] * (half * (one + erf(x[i] * root)) + x[i] * (y[i] * factor))

    return _named(name, loop)


def _named(name: str, loop: Loop) -> Loop:
    loop.__name__ = loop.__qualname__ = name  # of the notice of compiling and the cache on disk
    return jit()(loop)


_LOOPS = {
    np.dtype(np.float32): (
        _erf_loop("_erf_loop_32", _erf32),
        _gelu_loop("_gelu_loop_32", _erf32),
        _gelu_dx_loop("_gelu_dx_loop_32", _erf32),
    ),
    np.dtype(np.float64): (
        _erf_loop("_erf_loop_64", _erf64),
        _gelu_loop("_gelu_loop_64", _erf64),
        _gelu_dx_loop("_gelu_dx_loop_64", _erf64),
    ),
}


def erf_loops(dtype: np.dtype) -> tuple[Loop, Loop, Loop]:
    """Loops (x, y, first, last), twice, and (g, x, y, first, last): y = erf(x), gelu(x), and the
    gradient of gelu from exp(-x^2 / 2) in y.

    Raises:
        TypeError: if numbers of this dtype have none.
    """
    if dtype not in _LOOPS:
        raise TypeError(f"the error function is of float32 and float64, not of {dtype}")
    return _LOOPS[dtype]
