"""Batch normalisation on a card, fused with the LeakyReLU after it; see src/norm.cu."""

from __future__ import annotations

import numpy as np

from ..memo import attached
from .elementwise import THREADS, images, kernel, word_of
from .launch import blocks_for, empty

MOMENTS = "moments of chunks"  # (C, chunks, 3), which a convolution leaves with its result


def moments(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and biased variance (C,) of each channel; x is not read if a convolution left them."""
    partial = attached(x, MOMENTS)
    if partial is None:
        seen = images(x)
        partial = seen.partial(3)
        seen.launch("norm", "moments", *seen.arrays, partial, seen.lanes, merged=3)
    channels, chunks, _ = partial.shape
    mean, var = (empty((channels,), x.dtype, like=x) for _ in range(2))
    total = kernel("norm", "moments_total", word_of(x.dtype), 1)
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
    seen = images(x)
    vectors, y = seen.per_channel(gamma, beta, mean, var), seen.empty()
    options = seen.dtype.type(eps), seen.dtype.type(slope)
    seen.launch("norm", "batch_norm", *seen.arrays, *vectors, y, seen.lanes, *options)
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
    """Gradients by x, gamma and beta, where mean and var are the moments of this x."""
    share = x.shape[1] / x.size if x.size else 0.0
    return _backward(g, x, gamma, beta, mean, var, eps, slope, share)


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
    """Gradients by x, gamma and beta, where mean and var are constants."""
    return _backward(g, x, gamma, beta, mean, var, eps, slope, share=0.0)


def _backward(
    g: np.ndarray,
    x: np.ndarray,
    gamma: np.ndarray,
    beta: np.ndarray,
    mean: np.ndarray,
    var: np.ndarray,
    eps: float,
    slope: float,
    share: float,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    seen = images(g, x)
    vectors = seen.per_channel(gamma, beta, mean, var)
    options = [seen.dtype.type(number) for number in (eps, slope, share)]
    partial, dx = seen.partial(2), seen.empty()
    inputs = *seen.arrays, *vectors
    seen.launch("norm", "batch_norm_sums", *inputs, partial, seen.lanes, *options[:2], merged=2)
    dbeta, dgamma = seen.total(partial)
    seen.launch("norm", "batch_norm_dx", *inputs, dbeta, dgamma, dx, seen.lanes, *options)
    return dx, dgamma, dbeta
