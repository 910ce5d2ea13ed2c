"""Batch normalisation (Ioffe & Szegedy 2015, arXiv:1502.03167) in plain NumPy.

    y = leaky_relu(gamma (x - mean) / sqrt(var + eps) + beta)

x is (N, C) or (N, C, H, W); mean, var, gamma and beta are (C,), and var divides by the number of
values (the biased variance). The slope of the activation is from 0 (ReLU) to 1 (no activation). The
moments are arguments: those of the batch in training, running averages in inference. The two
backward kernels differ in whether the moments depend on x.
"""

from __future__ import annotations

import numpy as np

from .activation import leaky_relu, leaky_relu_dx


def moments(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and biased variance (C,) of each channel of x over all other axes.

    >>> kernels.moments(np.array([[1.0, 5.0], [3.0, 5.0]]))
    (array([2., 5.]), array([1., 0.]))
    """
    axes = _others(x)
    return x.mean(axis=axes), x.var(axis=axes)


def batch_norm(
    x: np.ndarray,
    gamma: np.ndarray,
    beta: np.ndarray,
    mean: np.ndarray,
    var: np.ndarray,
    *,
    eps: float,
    slope: float = 1.0,
) -> np.ndarray:
    """leaky_relu(gamma (x - mean) / sqrt(var + eps) + beta), of x's shape and dtype.

    >>> x, one, zero = np.array([[1.0], [3.0]]), np.ones(1), np.zeros(1)
    >>> kernels.batch_norm(x, one, zero, *kernels.moments(x), eps=0.0)
    array([[-1.],
           [ 1.]])
    """
    centred = x - _channel(mean, x)
    y = centred * _channel(gamma / np.sqrt(var + eps), x) + _channel(beta, x)
    return leaky_relu(y, slope=slope)


def batch_norm_backward(
    g: np.ndarray,
    x: np.ndarray,
    gamma: np.ndarray,
    beta: np.ndarray,
    mean: np.ndarray,
    var: np.ndarray,
    *,
    eps: float,
    slope: float = 1.0,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Gradients with respect to x, gamma and beta, where mean and var are the moments of this x.

    Ioffe & Szegedy 2015, section 3, with the terms of mean and var gathered:
    dx = gamma / sqrt(var + eps) * (h - mean(h) - xhat mean(h xhat)), where h is the gradient with
    respect to the activation's input.

    >>> x, one, zero = np.array([[1.0], [3.0]]), np.ones(1), np.zeros(1)
    >>> dx, _, _ = kernels.batch_norm_backward(x, x, one, zero, *kernels.moments(x), eps=0.0)
    >>> dx  # of two values, only their order is left
    array([[0.],
           [0.]])
    """
    options = {"eps": eps, "slope": slope}
    dx, dgamma, dbeta = batch_norm_inference_backward(g, x, gamma, beta, mean, var, **options)
    count = x.size // x.shape[1]
    scale = gamma / np.sqrt(var + eps)
    normal = (x - _channel(mean, x)) * _channel(1 / np.sqrt(var + eps), x)
    dx -= _channel(scale * dbeta / count, x) + normal * _channel(scale * dgamma / count, x)
    return dx, dgamma, dbeta


def batch_norm_inference_backward(
    g: np.ndarray,
    x: np.ndarray,
    gamma: np.ndarray,
    beta: np.ndarray,
    mean: np.ndarray,
    var: np.ndarray,
    *,
    eps: float,
    slope: float = 1.0,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Gradients with respect to x, gamma and beta, where mean and var are constants.

    >>> x, one, zero = np.array([[1.0], [3.0]]), np.ones(1), np.zeros(1)
    >>> kernels.batch_norm_inference_backward(x, x, one, zero, zero, 4 * one, eps=0.0)[0]
    array([[0.5],
           [1.5]])
    """
    axes = _others(x)
    y = batch_norm(x, gamma, beta, mean, var, eps=eps)
    h = leaky_relu_dx(g, y, slope=slope)
    normal = (x - _channel(mean, x)) * _channel(1 / np.sqrt(var + eps), x)
    dx = h * _channel(gamma / np.sqrt(var + eps), x)
    return dx, (h * normal).sum(axis=axes), h.sum(axis=axes)


def _others(x: np.ndarray) -> tuple[int, ...]:
    return (0, *range(2, x.ndim))


def _channel(vector: np.ndarray, x: np.ndarray) -> np.ndarray:
    """`vector` (C,) shaped to broadcast against x (N, C, ...)."""
    return vector.reshape(1, -1, *(1,) * (x.ndim - 2))
