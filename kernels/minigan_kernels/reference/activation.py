"""Activations, alone and fused with a bias, in plain NumPy.

The fused pairs `bias_<name>` and `bias_<name>_backward` compute f(x + bias), where x is (N, C) or
(N, C, H, W) and bias is (C,). Their backward kernels read the output y alone: the derivative of
each f follows from its value, so nothing else needs to be kept.
"""

from __future__ import annotations

import math

import numpy as np

from ..epilogue import check_slope


def leaky_relu(x: np.ndarray, *, slope: float) -> np.ndarray:
    """x where x > 0, else slope * x (Maas et al. 2013), 0 <= slope <= 1; 0 gives ReLU.

    With a slope of 0 it is that product too: -0.0 for x < 0, and NaN, not 0, for -infinity. So an
    overflow in a network stays visible.

    >>> kernels.leaky_relu(np.array([-2.0, 3.0]), slope=0.5)
    array([-1.,  3.])
    """
    return np.where(x > 0, x, x.dtype.type(slope) * x)


def leaky_relu_dx(g: np.ndarray, x: np.ndarray, *, slope: float) -> np.ndarray:
    """g where x > 0, else slope * g.

    >>> kernels.leaky_relu_dx(np.ones(2), np.array([-2.0, 3.0]), slope=0.5)
    array([0.5, 1. ])
    """
    return np.where(x > 0, g, x.dtype.type(slope) * g)


def sigmoid(x: np.ndarray) -> np.ndarray:
    """1 / (1 + exp(-x)), without overflow at either end.

    >>> kernels.sigmoid(np.array([-1e4, 0.0, 1e4]))
    array([0. , 0.5, 1. ])
    """
    small = np.exp(-np.abs(x))
    return np.where(x >= 0, 1, small) / (1 + small)


def softplus(x: np.ndarray) -> np.ndarray:
    """log(1 + exp(x)), without overflow.

    >>> kernels.softplus(np.array([-1e4, 0.0, 50.0])).round(3)
    array([ 0.   ,  0.693, 50.   ])
    """
    return np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))


def erf(x: np.ndarray) -> np.ndarray:
    """The error function, 2 / sqrt(pi) times the integral of exp(-t^2) from 0 to x, in [-1, 1].

    >>> kernels.erf(np.array([-100.0, 0.0, 100.0]))
    array([-1.,  0.,  1.])
    """
    return np.array([math.erf(value) for value in x.flat], x.dtype).reshape(x.shape)


def silu(x: np.ndarray) -> np.ndarray:
    """x sigmoid(x) (Elfwing et al. 2018, arXiv:1702.03118; Swish in Ramachandran et al. 2017).

    >>> kernels.silu(np.array([0.0, 100.0]))
    array([  0., 100.])
    """
    return x * sigmoid(x)


def silu_backward(g: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Gradient with respect to x: g s (1 + x (1 - s)) with s = sigmoid(x).

    Raises:
        ValueError: if the shapes differ.

    >>> kernels.silu_backward(np.ones(2), np.array([0.0, 100.0]))
    array([0.5, 1. ])
    """
    _check_shapes(g, x)
    s = sigmoid(x)
    return g * (s * (1 + x * (1 - s)))


def gelu(x: np.ndarray) -> np.ndarray:
    """x Phi(x), where Phi(x) = (1 + erf(x / sqrt(2))) / 2 is the probability that a normal number
    is below x (Hendrycks & Gimpel 2016, arXiv:1606.08415).

    >>> kernels.gelu(np.array([0.0, 100.0]))
    array([  0., 100.])
    """
    return x * _normal_cdf(x)


def gelu_backward(g: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Gradient with respect to x: g (Phi(x) + x phi(x)), phi(x) = exp(-x^2 / 2) / sqrt(2 pi).

    Raises:
        ValueError: if the shapes differ.

    >>> kernels.gelu_backward(np.ones(2), np.array([0.0, 100.0]))
    array([0.5, 1. ])
    """
    _check_shapes(g, x)
    density = np.exp(-0.5 * x * x) * x.dtype.type(1 / math.sqrt(2 * math.pi))
    return g * (_normal_cdf(x) + x * density)


def bias_leaky_relu(x: np.ndarray, bias: np.ndarray, *, slope: float) -> np.ndarray:
    """leaky_relu(x + bias).

    Raises:
        ValueError: if the slope is not from 0 to 1: the derivative would not follow from the value.

    >>> kernels.bias_leaky_relu(np.array([[-3.0, 3.0]]), np.ones(2), slope=0.5)
    array([[-1.,  4.]])
    """
    check_slope(slope)
    return leaky_relu(x + _channel(bias, x), slope=slope)


def bias_leaky_relu_backward(
    g: np.ndarray, y: np.ndarray, *, slope: float
) -> tuple[np.ndarray, np.ndarray]:
    """Gradients with respect to x and bias; y > 0 exactly where x + bias > 0.

    >>> y = kernels.bias_leaky_relu(np.array([[-2.0, 3.0]]), np.ones(2), slope=0.5)
    >>> kernels.bias_leaky_relu_backward(np.ones((1, 2)), y, slope=0.5)[0]
    array([[0.5, 1. ]])
    """
    check_slope(slope)
    return _with_bias(leaky_relu_dx(g, y, slope=slope))


def bias_tanh(x: np.ndarray, bias: np.ndarray) -> np.ndarray:
    """tanh(x + bias).

    >>> kernels.bias_tanh(np.array([[-1.0, 0.0]]), np.ones(2)).round(3)
    array([[0.   , 0.762]])
    """
    return np.tanh(x + _channel(bias, x))


def bias_tanh_backward(g: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Gradients with respect to x and bias; tanh' = 1 - y^2.

    >>> kernels.bias_tanh_backward(np.ones((1, 2)), np.array([[0.0, 0.5]]))[0]
    array([[1.  , 0.75]])
    """
    return _with_bias(g * (1 - y * y))


def bias_sigmoid(x: np.ndarray, bias: np.ndarray) -> np.ndarray:
    """sigmoid(x + bias).

    >>> kernels.bias_sigmoid(np.array([[-1.0, 0.0]]), np.ones(2)).round(3)
    array([[0.5  , 0.731]])
    """
    return sigmoid(x + _channel(bias, x))


def bias_sigmoid_backward(g: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Gradients with respect to x and bias; sigmoid' = y (1 - y).

    >>> kernels.bias_sigmoid_backward(np.ones((1, 1)), np.array([[0.5]]))[0]
    array([[0.25]])
    """
    return _with_bias(g * (y * (1 - y)))


def _check_shapes(g: np.ndarray, x: np.ndarray) -> None:
    if g.shape != x.shape:
        raise ValueError(f"a gradient {g.shape} of {x.shape} does not have its shape")


def _normal_cdf(x: np.ndarray) -> np.ndarray:
    return 0.5 * (1 + erf(x * x.dtype.type(math.sqrt(0.5))))


def _channel(bias: np.ndarray, x: np.ndarray) -> np.ndarray:
    return bias.reshape(1, -1, *(1,) * (x.ndim - 2))


def _with_bias(dx: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return dx, dx.sum(axis=(0, *range(2, dx.ndim)))
