"""Batch normalisation and a LeakyReLU after it, in few passes over memory.

The moments read x once, the way forward reads x and writes y, and the way back reads g and x for
the sums and again for dx. On which side of its kink the activation was is told from x anew, so y
need not be kept.

The moments are taken about a few pixels' mean: a mean far above the standard deviation then costs
no accuracy (Chan, Golub & LeVeque 1983, "Algorithms for computing the sample variance: analysis and
recommendations"). Sums are in x's precision over a few numbers and in float64 over those.
"""

from __future__ import annotations

import numpy as np

from .jit import jit
from .planes import (
    PARTIAL,
    PLANE,
    grain_of,
    image_like,
    lane_sums,
    matched,
    per_channel,
    per_lane,
    planes,
)
from .threads import spread

_SUMS = {"reassoc", "nsz", "contract"}  # sums in vector lanes, by fused multiply-adds


def moments(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and biased variance (C,) of each channel."""
    (images,) = planes(x)
    shift = np.empty(images.shape[1], x.dtype)
    _some_mean(images, x.shape[1], shift)
    sums = lane_sums(lambda i, total: _shifted_sums(images[i], shift, total), images, 2)
    first, second = per_channel(sums, x) / (x.size // x.shape[1])
    mean, var = shift[: x.shape[1]] + first, np.maximum(second - first * first, 0)
    return mean.astype(x.dtype), var.astype(x.dtype)


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
    out = image_like(x)
    images, outs = planes(x, out=out)
    gamma, beta, mean, var = per_lane(images, x, gamma, beta, mean, var)
    _, scale = _scales(gamma, var, eps)
    factor = x.dtype.type(slope)

    def work(i: int, j: int) -> None:
        _normalise(images[i:j], mean, scale, beta, factor, outs[i:j])

    spread(work, len(images), grain=grain_of(images))
    return out


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
    return _backward(g, x, gamma, beta, mean, var, eps, slope, constant=False)


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
    return _backward(g, x, gamma, beta, mean, var, eps, slope, constant=True)


def _backward(
    g: np.ndarray,
    x: np.ndarray,
    gamma: np.ndarray,
    beta: np.ndarray,
    mean: np.ndarray,
    var: np.ndarray,
    eps: float,
    slope: float,
    *,
    constant: bool,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    g, x = matched(g, x)
    out = image_like(g)
    gs, images, outs = planes(g, x, out=out)
    gamma, beta, mean, var = per_lane(images, x, gamma, beta, mean, var)
    root, scale = _scales(gamma, var, eps)
    factor = x.dtype.type(slope)

    def sums_of(i: slice, sums: np.ndarray) -> None:
        _backward_sums(gs[i], images[i], mean, scale, beta, factor, sums)

    sums = per_channel(lane_sums(sums_of, images, 2), x)
    dbeta, dgamma = sums[0], sums[1] * root[: x.shape[1]]
    # With h the gradient at the normalised value, g through the activation:
    # dx = scale (h - mean(h) - xhat mean(h xhat)) = scale h - tilt (x - mean) - level
    share = scale[: x.shape[1]] / (x.size // x.shape[1]) * (not constant)
    tilt, level = per_lane(images, x, share * root[: x.shape[1]] * dgamma, share * dbeta)

    def work(i: int, j: int) -> None:
        _backward_images(gs[i:j], images[i:j], mean, scale, beta, factor, tilt, level, outs[i:j])

    spread(work, len(images), grain=grain_of(images))
    return out, dgamma.astype(x.dtype), dbeta.astype(x.dtype)


def _scales(gamma: np.ndarray, var: np.ndarray, eps: float) -> tuple[np.ndarray, np.ndarray]:
    """1 / sqrt(var + eps), and gamma times that: to the last bit the same forward and back."""
    root = 1 / np.sqrt(var + eps)
    return root, gamma * root


@jit()
def _some_mean(x: np.ndarray, channels: int, shift: np.ndarray) -> None:
    """Fill shift (lanes,) with each channel's mean over a few pixels, spread over x."""
    outer, lanes, inner = x.shape
    down, along = max(1, outer // 8), max(1, inner // 8)
    total, count = np.zeros(channels), 0
    for n in range(0, outer, down):
        for i in range(0, inner, along):
            count += 1
            for c in range(channels):
                total[c] += x[n, c, i]
    for c in range(lanes):
        shift[c] = total[c % channels] / count


@jit(fastmath=_SUMS)
def _shifted_sums(x: np.ndarray, shift: np.ndarray, sums: np.ndarray) -> None:
    """Add to sums (2, lanes) those of x - shift and of its square."""
    outer, lanes, inner = x.shape
    if inner == 1:
        rows, part = x.reshape(outer, lanes), np.zeros((2, lanes), x.dtype)
        first, second = part[0], part[1]
        for top in range(0, outer, PARTIAL):
            part[:] = 0
            for r in range(top, min(top + PARTIAL, outer)):
                for c in range(lanes):
                    centred = rows[r, c] - shift[c]
                    first[c] += centred
                    second[c] += centred * centred
            for c in range(lanes):
                sums[0, c] += first[c]
                sums[1, c] += second[c]
        return
    for n in range(outer):
        for c in range(lanes):
            plane, middle = x[n, c], shift[c]
            for start in range(0, inner, PLANE):
                plain = squares = x.dtype.type(0)
                for i in range(start, min(start + PLANE, inner)):
                    centred = plane[i] - middle
                    plain += centred
                    squares += centred * centred
                sums[0, c] += plain
                sums[1, c] += squares


@jit()
def _normalised(x: float, mean: float, scale: float, beta: float) -> float:
    return (x - mean) * scale + beta


@jit()
def _normalise(
    x: np.ndarray,
    mean: np.ndarray,
    scale: np.ndarray,
    beta: np.ndarray,
    slope: float,
    out: np.ndarray,
) -> None:
    outer, lanes, inner = x.shape
    if inner == 1:
        rows, out_rows = x.reshape(outer, lanes), out.reshape(outer, lanes)
        for r in range(outer):
            for c in range(lanes):
                y = _normalised(rows[r, c], mean[c], scale[c], beta[c])
                out_rows[r, c] = y if y > 0 else slope * y
        return
    for n in range(outer):
        for c in range(lanes):
            plane, out_plane = x[n, c], out[n, c]
            middle, factor, shift = mean[c], scale[c], beta[c]
            for i in range(inner):
                y = _normalised(plane[i], middle, factor, shift)
                out_plane[i] = y if y > 0 else slope * y


@jit(fastmath=_SUMS)
def _backward_sums(
    g: np.ndarray,
    x: np.ndarray,
    mean: np.ndarray,
    scale: np.ndarray,
    beta: np.ndarray,
    slope: float,
    sums: np.ndarray,
) -> None:
    """Add to sums (2, lanes) those of h and of h (x - mean), h being g through the activation."""
    outer, lanes, inner = x.shape
    if inner == 1:
        rows, g_rows = x.reshape(outer, lanes), g.reshape(outer, lanes)
        part = np.zeros((2, lanes), x.dtype)
        plain, centred = part[0], part[1]
        for top in range(0, outer, PARTIAL):
            part[:] = 0
            for r in range(top, min(top + PARTIAL, outer)):
                for c in range(lanes):
                    y = _normalised(rows[r, c], mean[c], scale[c], beta[c])
                    h = g_rows[r, c] if y > 0 else slope * g_rows[r, c]
                    plain[c] += h
                    centred[c] += h * (rows[r, c] - mean[c])
            for c in range(lanes):
                sums[0, c] += plain[c]
                sums[1, c] += centred[c]
        return
    for n in range(outer):
        for c in range(lanes):
            plane, g_plane = x[n, c], g[n, c]
            middle, factor, shift = mean[c], scale[c], beta[c]
            for start in range(0, inner, PLANE):
                first = second = x.dtype.type(0)
                for i in range(start, min(start + PLANE, inner)):
                    y = _normalised(plane[i], middle, factor, shift)
                    h = g_plane[i] if y > 0 else slope * g_plane[i]
                    first += h
                    second += h * (plane[i] - middle)
                sums[0, c] += first
                sums[1, c] += second


@jit()
def _backward_images(
    g: np.ndarray,
    x: np.ndarray,
    mean: np.ndarray,
    scale: np.ndarray,
    beta: np.ndarray,
    slope: float,
    tilt: np.ndarray,
    level: np.ndarray,
    out: np.ndarray,
) -> None:
    """scale h - tilt (x - mean) - level, h being g through the activation."""
    outer, lanes, inner = x.shape
    if inner == 1:
        rows, g_rows = x.reshape(outer, lanes), g.reshape(outer, lanes)
        out_rows = out.reshape(outer, lanes)
        for r in range(outer):
            for c in range(lanes):
                y = _normalised(rows[r, c], mean[c], scale[c], beta[c])
                h = g_rows[r, c] if y > 0 else slope * g_rows[r, c]
                out_rows[r, c] = scale[c] * h - tilt[c] * (rows[r, c] - mean[c]) - level[c]
        return
    for n in range(outer):
        for c in range(lanes):
            plane, g_plane, out_plane = x[n, c], g[n, c], out[n, c]
            middle, factor, shift = mean[c], scale[c], beta[c]
            steep, lower = tilt[c], level[c]
            for i in range(inner):
                y = _normalised(plane[i], middle, factor, shift)
                h = g_plane[i] if y > 0 else slope * g_plane[i]
                out_plane[i] = factor * h - steep * (plane[i] - middle) - lower
