"""Batch normalisation on a GPU, fused with the LeakyReLU after it; see src/norm.cu."""

from __future__ import annotations

import numpy as np

from ..memo import attached
from .elementwise import THREADS, c_type_of, images, kernel
from .launch import blocks_for, empty

MOMENTS = "moments of chunks"  # (C, chunks, 3), which a convolution attaches to its result


def moments(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and biased variance (C,) of each channel, which a convolution may have attached."""
    partial = attached(x, MOMENTS)
    if partial is None:
        view = images(x)
        partial = view.partial(3)
        view.launch("norm", "moments", *view.arrays, partial, view.layout, merged=3)
    channels, chunks, _ = partial.shape
    mean, var = (empty((channels,), x.dtype, like=x) for _ in range(2))
    total = kernel("norm", "moments_total", c_type_of(x.dtype), 1)
    sizes = np.int32(channels), np.int32(chunks)
    total(blocks_for(32 * channels, THREADS), partial, mean, var, *sizes)
    return mean, var


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
    """leaky_relu(gamma (x - mean) / sqrt(var + eps) + beta)."""
    view = images(x)
    vectors, y = view.per_channel(gamma, beta, mean, var), view.empty()
    options = view.dtype.type(eps), view.dtype.type(slope)
    view.launch("norm", "batch_norm", *view.arrays, *vectors, y, view.layout, *options)
    return y


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
    """Gradients with respect to x, gamma and beta, where mean and var are the moments of this x."""
    weight = x.shape[1] / x.size if x.size else 0.0
    return _backward(g, x, gamma, beta, mean, var, eps, slope, weight)


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
    """Gradients with respect to x, gamma and beta, where mean and var are constants."""
    return _backward(g, x, gamma, beta, mean, var, eps, slope, weight=0.0)


def _backward(
    g: np.ndarray,
    x: np.ndarray,
    gamma: np.ndarray,
    beta: np.ndarray,
    mean: np.ndarray,
    var: np.ndarray,
    eps: float,
    slope: float,
    weight: float,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    view = images(g, x)
    vectors = view.per_channel(gamma, beta, mean, var)
    options = [view.dtype.type(number) for number in (eps, slope, weight)]
    partial, dx = view.partial(2), view.empty()
    inputs = *view.arrays, *vectors
    view.launch("norm", "batch_norm_sums", *inputs, partial, view.layout, *options[:2], merged=2)
    dbeta, dgamma = view.total(partial)
    view.launch("norm", "batch_norm_dx", *inputs, dbeta, dgamma, dx, view.layout, *options)
    return dx, dgamma, dbeta
