"""Bias and maxout (Goodfellow et al. 2013), in plain NumPy.

x is (N, units * pieces), bias (units * pieces,). Unit u is the maximum of the pieces u * pieces to
(u + 1) * pieces - 1.
"""

from __future__ import annotations

import numpy as np

from ..checks import check_pieces


def bias_maxout(x: np.ndarray, bias: np.ndarray, *, pieces: int) -> np.ndarray:
    """The largest piece of x + bias for each unit, (N, units).

    >>> kernels.bias_maxout(np.array([[1.0, 5.0, 3.0, 2.0]]), np.zeros(4), pieces=2)
    array([[5., 3.]])
    """
    check_pieces(x.shape, bias.shape, pieces)
    return _by_unit(x + bias, pieces).max(axis=2)


def bias_maxout_backward(
    g: np.ndarray, y: np.ndarray, x: np.ndarray, bias: np.ndarray, *, pieces: int
) -> tuple[np.ndarray, np.ndarray]:
    """Gradients with respect to x and bias of y = bias_maxout(x, bias).

    The largest pieces of a unit, if several are equal, get the same part of its gradient.

    >>> x, bias = np.array([[1.0, 5.0, 3.0, 2.0]]), np.zeros(4)
    >>> y = kernels.bias_maxout(x, bias, pieces=2)
    >>> kernels.bias_maxout_backward(np.ones((1, 2)), y, x, bias, pieces=2)[0]
    array([[0., 1., 1., 0.]])
    """
    check_pieces(x.shape, bias.shape, pieces, y.shape, g.shape)
    largest = _by_unit(x + bias, pieces) == y[:, :, None]
    part = 1 / np.maximum(largest.sum(axis=2, keepdims=True), 1)  # none if y is NaN
    dx = (largest * (g[:, :, None] * part.astype(g.dtype))).reshape(x.shape)
    return dx, dx.sum(axis=0)


def _by_unit(x: np.ndarray, pieces: int) -> np.ndarray:
    return x.reshape(len(x), x.shape[1] // pieces, pieces)
