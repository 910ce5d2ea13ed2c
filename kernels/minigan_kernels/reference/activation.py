"""Activations, alone and fused with a bias, in plain NumPy.

The fused pairs `bias_<name>` and `bias_<name>_backward` compute f(x + bias), where x is (N, C) or
(N, C, H, W) and bias is (C,). Their backward kernels read the output y alone: the derivative of
each f follows from its value, so nothing else needs to be kept.
"""

from __future__ import annotations

import numpy as np

from ..epilogue import check_slope


def leaky_relu(x: np.ndarray, *, slope: float) -> np.ndarray:
    """x where x > 0, else slope * x (Maas et al. 2013), 0 <= slope <= 1; 0 gives ReLU.

    With a slope of 0 it is that product too: -0.0 for x < 0, and NaN, not 0, for -infinity. So an
    overflow in a network stays visible.
    """
    return np.where(x > 0, x, x.dtype.type(slope) * x)


def leaky_relu_dx(g: np.ndarray, x: np.ndarray, *, slope: float) -> np.ndarray:
    """g where x > 0, else slope * g."""
    return np.where(x > 0, g, x.dtype.type(slope) * g)


def sigmoid(x: np.ndarray) -> np.ndarray:
    """1 / (1 + exp(-x)), without overflow at either end."""
    small = np.exp(-np.abs(x))
    return np.where(x >= 0, 1, small) / (1 + small)


def softplus(x: np.ndarray) -> np.ndarray:
    """log(1 + exp(x)), without overflow."""
    return np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))


def bias_leaky_relu(x: np.ndarray, bias: np.ndarray, *, slope: float) -> np.ndarray:
    """leaky_relu(x + bias).

    Raises:
        ValueError: if the slope is not from 0 to 1: the derivative would not follow from the value.
    """
    check_slope(slope)
    return leaky_relu(x + _channel(bias, x), slope=slope)


def bias_leaky_relu_backward(
    g: np.ndarray, y: np.ndarray, *, slope: float
) -> tuple[np.ndarray, np.ndarray]:
    """Gradients with respect to x and bias; y > 0 exactly where x + bias > 0."""
    check_slope(slope)
    return _with_bias(leaky_relu_dx(g, y, slope=slope))


def bias_tanh(x: np.ndarray, bias: np.ndarray) -> np.ndarray:
    """tanh(x + bias)."""
    return np.tanh(x + _channel(bias, x))


def bias_tanh_backward(g: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Gradients with respect to x and bias; tanh' = 1 - y^2."""
    return _with_bias(g * (1 - y * y))


def bias_sigmoid(x: np.ndarray, bias: np.ndarray) -> np.ndarray:
    """sigmoid(x + bias)."""
    return sigmoid(x + _channel(bias, x))


def bias_sigmoid_backward(g: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Gradients with respect to x and bias; sigmoid' = y (1 - y)."""
    return _with_bias(g * (y * (1 - y)))


def _channel(bias: np.ndarray, x: np.ndarray) -> np.ndarray:
    return bias.reshape(1, -1, *(1,) * (x.ndim - 2))


def _with_bias(dx: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return dx, dx.sum(axis=(0, *range(2, dx.ndim)))
