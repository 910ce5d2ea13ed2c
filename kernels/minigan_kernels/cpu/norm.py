"""Batch normalisation in few passes over memory: one for the moments, one each way.

All sums are in float64, and a block's squares are taken about the block's own mean, so that a mean
far above the standard deviation costs no accuracy (Chan, Golub & LeVeque 1979).
"""

from __future__ import annotations

import numpy as np

from .jit import jit
from .planes import channel_sums, image_sums, images_of, per_channel, planes
from .threads import spread


def moments(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and biased variance (C,) of each channel."""
    (images,) = planes(x)
    n, _, size = images.shape
    grain = images_of(images.size // max(1, n))
    sums = np.zeros((-(-n // grain), 2, x.shape[1]))  # blocks of images, (sum, squares), channel

    def work(start: int, stop: int) -> None:
        _block_moments(images[start:stop], sums[start // grain])

    spread(work, n, grain=grain)
    counts = np.minimum(grain, n - grain * np.arange(len(sums)))[:, None] * size
    mean = sums[:, 0].sum(axis=0) / (n * size)
    between = counts * (sums[:, 0] / counts - mean) ** 2
    var = (sums[:, 1] + between).sum(axis=0) / (n * size)
    return mean.astype(x.dtype), var.astype(x.dtype)


def batch_norm(
    x: np.ndarray,
    gamma: np.ndarray,
    beta: np.ndarray,
    mean: np.ndarray,
    var: np.ndarray,
    *,
    eps: float,
) -> np.ndarray:
    """gamma (x - mean) / sqrt(var + eps) + beta."""
    (images,) = planes(x)
    gamma, beta, mean, var = per_channel(x, gamma, beta, mean, var)
    out, scale = np.empty_like(images), gamma / np.sqrt(var + eps)

    def work(start: int, stop: int) -> None:
        _normalise(images[start:stop], mean, scale, beta, out[start:stop])

    spread(work, len(images), grain=images_of(images.size // max(1, len(images))))
    return out.reshape(x.shape)


def batch_norm_backward(
    g: np.ndarray,
    x: np.ndarray,
    gamma: np.ndarray,
    mean: np.ndarray,
    var: np.ndarray,
    *,
    eps: float,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Gradients by x, gamma and beta, where mean and var are the moments of this x."""
    gs, images = planes(g, x)
    gamma, mean, var = per_channel(images, gamma, mean, var)
    root = 1 / np.sqrt(var + eps)
    count = images.size // x.shape[1]

    def work(block: slice, sums: np.ndarray) -> None:
        _backward_sums(gs[block], images[block], mean, sums)

    dbeta, centred = image_sums(work, images.shape, rows=2)
    dgamma = centred * root
    # dx = scale (g - mean(g) - xhat mean(g xhat)) = scale g - slope (x - mean) - level
    scale = gamma * root
    slope = (scale * root * dgamma / count).astype(x.dtype)
    level = (scale * dbeta / count).astype(x.dtype)
    out = np.empty_like(images)

    def spread_back(start: int, stop: int) -> None:
        block = slice(start, stop)
        _backward_images(gs[block], images[block], mean, scale, slope, level, out[block])

    spread(spread_back, len(images), grain=images_of(images.size // max(1, len(images))))
    return out.reshape(x.shape), dgamma.astype(x.dtype), dbeta.astype(x.dtype)


def batch_norm_inference_backward(
    g: np.ndarray,
    x: np.ndarray,
    gamma: np.ndarray,
    mean: np.ndarray,
    var: np.ndarray,
    *,
    eps: float,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Gradients by x, gamma and beta, where mean and var are constants."""
    gs, images = planes(g, x)
    gamma, mean, var = per_channel(images, gamma, mean, var)
    root = 1 / np.sqrt(var + eps)
    scale, none = gamma * root, np.zeros_like(gamma)
    out = np.empty_like(images)

    def work(block: slice, sums: np.ndarray) -> None:
        _backward_sums(gs[block], images[block], mean, sums)
        _normalise(gs[block], none, scale, none, out[block])

    dbeta, centred = image_sums(work, images.shape, rows=2)
    return out.reshape(x.shape), (centred * root).astype(x.dtype), dbeta.astype(x.dtype)


@jit(fastmath={"reassoc", "nsz"})
def _block_moments(x: np.ndarray, sums: np.ndarray) -> None:
    """Fill sums (2, C) with x's sum, and the sum of squares about x's mean, for each channel."""
    images, channels, size = x.shape
    channel_sums(x, sums[0])
    mean, squares = sums[0] / (images * size), sums[1]
    if size == 1:
        rows = x.reshape(images, channels)
        for n in range(images):
            for c in range(channels):
                squares[c] += (rows[n, c] - mean[c]) ** 2
        return
    for n in range(images):
        for c in range(channels):
            plane, middle, total = x[n, c], mean[c], 0.0
            for i in range(size):
                centred = plane[i] - middle
                total += centred * centred
            squares[c] += total


@jit(fastmath={"reassoc", "nsz"})
def _backward_sums(g: np.ndarray, x: np.ndarray, mean: np.ndarray, sums: np.ndarray) -> None:
    """Add to sums (2, C) the sums of g and of g (x - mean) for each channel."""
    images, channels, size = x.shape
    plain, centred = sums[0], sums[1]
    if size == 1:
        rows, g_rows = x.reshape(images, channels), g.reshape(images, channels)
        for n in range(images):
            for c in range(channels):
                plain[c] += g_rows[n, c]
                centred[c] += np.float64(g_rows[n, c]) * (rows[n, c] - mean[c])
        return
    for n in range(images):
        for c in range(channels):
            plane, g_plane, middle = x[n, c], g[n, c], mean[c]
            first, second = 0.0, 0.0
            for i in range(size):
                first += g_plane[i]
                second += np.float64(g_plane[i]) * (plane[i] - middle)
            plain[c] += first
            centred[c] += second


@jit()
def _normalise(
    x: np.ndarray, mean: np.ndarray, scale: np.ndarray, beta: np.ndarray, out: np.ndarray
) -> None:
    images, channels, size = x.shape
    if size == 1:
        rows, out_rows = x.reshape(images, channels), out.reshape(images, channels)
        for n in range(images):
            for c in range(channels):
                out_rows[n, c] = (rows[n, c] - mean[c]) * scale[c] + beta[c]
        return
    for n in range(images):
        for c in range(channels):
            plane, out_plane = x[n, c], out[n, c]
            middle, factor, shift = mean[c], scale[c], beta[c]
            for i in range(size):
                out_plane[i] = (plane[i] - middle) * factor + shift


@jit()
def _backward_images(
    g: np.ndarray,
    x: np.ndarray,
    mean: np.ndarray,
    scale: np.ndarray,
    slope: np.ndarray,
    level: np.ndarray,
    out: np.ndarray,
) -> None:
    """scale g - slope (x - mean) - level, each but g and x one value a channel."""
    images, channels, size = x.shape
    if size == 1:
        rows, g_rows = x.reshape(images, channels), g.reshape(images, channels)
        out_rows = out.reshape(images, channels)
        for n in range(images):
            for c in range(channels):
                centred = rows[n, c] - mean[c]
                out_rows[n, c] = scale[c] * g_rows[n, c] - slope[c] * centred - level[c]
        return
    for n in range(images):
        for c in range(channels):
            plane, g_plane, out_plane = x[n, c], g[n, c], out[n, c]
            middle, factor, tilt, shift = mean[c], scale[c], slope[c], level[c]
            for i in range(size):
                centred = plane[i] - middle
                out_plane[i] = factor * g_plane[i] - tilt * centred - shift
