"""Activations on a GPU, alone and fused with a bias: one pass over memory each."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..epilogue import check_slope
from .elementwise import flat, images


def leaky_relu(x: np.ndarray, *, slope: float) -> np.ndarray:
    """x where x > 0, else slope * x."""
    return flat(x).launch("activation", "leaky_relu", x.dtype.type(slope))


def leaky_relu_dx(g: np.ndarray, x: np.ndarray, *, slope: float) -> np.ndarray:
    """g where x > 0, else slope * g."""
    both = flat(g, x)
    return both.launch("activation", "leaky_relu_dx", both.arrays[0].dtype.type(slope))


def sigmoid(x: np.ndarray) -> np.ndarray:
    """1 / (1 + exp(-x))."""
    return flat(x).launch("activation", "sigmoid")


def softplus(x: np.ndarray) -> np.ndarray:
    """log(1 + exp(x))."""
    return flat(x).launch("activation", "softplus")


def erf(x: np.ndarray) -> np.ndarray:
    """2 / sqrt(pi) times the integral of exp(-t^2) from 0 to x."""
    return flat(x).launch("activation", "error_function")


def silu(x: np.ndarray) -> np.ndarray:
    """x sigmoid(x)."""
    return flat(x).launch("activation", "silu")


def silu_backward(g: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Gradient of `silu` with respect to x."""
    return flat(g, x).launch("activation", "silu_backward")


def gelu(x: np.ndarray) -> np.ndarray:
    """x Phi(x), with the normal distribution function Phi."""
    return flat(x).launch("activation", "gelu")


def gelu_backward(g: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Gradient of `gelu` with respect to x."""
    return flat(g, x).launch("activation", "gelu_backward")


def bias_leaky_relu(x: np.ndarray, bias: np.ndarray, *, slope: float) -> np.ndarray:
    """leaky_relu(x + bias)."""
    check_slope(slope)
    return _with_bias("bias_leaky_relu", x, bias, x.dtype.type(slope))


def bias_leaky_relu_backward(
    g: np.ndarray, y: np.ndarray, *, slope: float
) -> tuple[np.ndarray, np.ndarray]:
    """Gradients of `bias_leaky_relu` with respect to x and bias."""
    check_slope(slope)
    factor = np.result_type(g.dtype, y.dtype).type(slope)
    return _backward("bias_leaky_relu_backward", g, y, factor)


def bias_tanh(x: np.ndarray, bias: np.ndarray) -> np.ndarray:
    """tanh(x + bias)."""
    return _with_bias("bias_tanh", x, bias)


def bias_tanh_backward(g: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Gradients of `bias_tanh` with respect to x and bias."""
    return _backward("bias_tanh_backward", g, y)


def bias_sigmoid(x: np.ndarray, bias: np.ndarray) -> np.ndarray:
    """sigmoid(x + bias)."""
    return _with_bias("bias_sigmoid", x, bias)


def bias_sigmoid_backward(g: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Gradients of `bias_sigmoid` with respect to x and bias."""
    return _backward("bias_sigmoid_backward", g, y)


def _with_bias(name: str, x: np.ndarray, bias: np.ndarray, *options: Any) -> np.ndarray:
    view = images(x)
    (bias,), y = view.per_channel(bias), view.empty()
    view.launch("activation", name, *view.arrays, bias, y, view.layout, *options)
    return y


def _backward(
    name: str, g: np.ndarray, y: np.ndarray, *options: Any
) -> tuple[np.ndarray, np.ndarray]:
    view = images(g, y)
    dx, partial = view.empty(), view.partial(1)
    view.launch("activation", name, *view.arrays, dx, partial, view.layout, *options, merged=1)
    return dx, view.total(partial)[0]
