"""Batch normalisation and a LeakyReLU after it, in few passes over memory.

The moments read x once, the way forward reads x and writes y, and the way back reads g and x for
the sums and again for dx. On which side of its kink the activation was is told from x anew, so y
need not be kept.

The moments are taken about a few pixels' mean: a mean far above the standard deviation then costs
no accuracy (Chan, Golub & LeVeque 1983, "Algorithms for computing the sample variance: analysis and
recommendations"). Sums are in x's precision over a few numbers and in float64 over those.
"""

from __future__ import annotations

import math

import numpy as np

from .channelwise import (
    PARTIAL,
    PLANE,
    channel_sums,
    grain_of,
    image_like,
    lane_sums,
    matched,
    of_channels,
    planes,
    widened,
)
from .compiler.jit import jit
from .runtime.native_task import NativeTask
from .runtime.parallel import parallel_for

_SUMS = {"reassoc", "nsz", "contract"}  # sums in vector lanes, by fused multiply-adds


def moments(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and biased variance (C,) of each channel."""
    (images,) = planes(x)
    shift = np.empty((1, x.shape[1]), x.dtype)
    _some_mean(images, shift)
    parts = lane_sums(_shifted_sums, (images, shift), images, 2)
    found = np.empty((2, x.shape[1]), x.dtype)
    _moments(parts, shift, x.size, found)
    return found[0], found[1]


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
    table = of_channels(x, gamma, beta, mean, var)
    loop = NativeTask(_normalise, images, table, float(eps), float(slope), outs)
    parallel_for(loop, len(images), grain=grain_of(images))
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
    table = of_channels(x, gamma, beta, mean, var)
    eps, slope = float(eps), float(slope)
    parts = lane_sums(_backward_sums, (gs, images, table, eps, slope), images, 2)
    rates = np.empty((4, x.shape[1]), x.dtype)
    _rates(parts, table, eps, x.size, constant, rates)
    loop = NativeTask(_backward_images, gs, images, table, eps, slope, rates, outs)
    parallel_for(loop, len(images), grain=grain_of(images))
    return out, rates[0], rates[1]


@jit()
def _some_mean(x: np.ndarray, shift: np.ndarray) -> None:
    """Fill shift (1, C) with each channel's mean over a few pixels, spread over x."""
    outer, _, inner = x.shape
    channels = shift.shape[1]
    down, along = max(1, outer // 8), max(1, inner // 8)
    total, count = np.zeros(channels), 0
    for n in range(0, outer, down):
        for i in range(0, inner, along):
            count += 1
            for c in range(channels):
                total[c] += x[n, c, i]
    for c in range(channels):
        shift[0, c] = total[c] / count


@jit()
def _moments(parts: np.ndarray, shift: np.ndarray, size: int, found: np.ndarray) -> None:
    """Mean and variance, found (2, C), from the sums about `shift` over an x of `size` numbers."""
    sums = np.empty(found.shape)
    channel_sums(parts, sums)
    channels = found.shape[1]
    for c in range(channels):
        first, second = sums[0, c] / (size // channels), sums[1, c] / (size // channels)
        found[0, c] = shift[0, c] + first
        variance = second - first * first
        found[1, c] = 0.0 if variance < 0 else variance  # a NaN stays


@jit()
def _scales(table: np.ndarray, eps: float, lanes: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """mean, gamma / sqrt(var + eps) and beta of each lane, from rows gamma, beta, mean and var.

    To the last bit the same forward and back: they decide on which side of its kink a value is.
    """
    rows = np.empty((3, table.shape[1]), table.dtype)
    for c in range(table.shape[1]):
        rows[0, c], rows[2, c] = table[2, c], table[1, c]
        rows[1, c] = table[0, c] / math.sqrt(table[3, c] + eps)
    wide = widened(rows, lanes)
    return wide[0], wide[1], wide[2]


@jit()
def _rates(
    parts: np.ndarray, table: np.ndarray, eps: float, size: int, constant: bool, rates: np.ndarray
) -> None:
    """Fill rates (4, C) with dgamma, dbeta, tilt and level.

    With h the gradient at the normalised value, g through the activation, and n values a channel:
    dx = scale (h - sum(h) / n - xhat sum(h xhat) / n) = scale h - tilt (x - mean) - level
    """
    sums = np.empty((2, rates.shape[1]))
    channel_sums(parts, sums)
    for c in range(rates.shape[1]):
        root = 1 / math.sqrt(table[3, c] + eps)
        share = 0.0 if constant else table[0, c] * root / (size // rates.shape[1])
        rates[0, c], rates[1, c] = sums[1, c] * root, sums[0, c]
        rates[2, c], rates[3, c] = share * root * sums[1, c] * root, share * sums[0, c]


@jit(fastmath=_SUMS)
def _shifted_sums(
    x: np.ndarray, middles: np.ndarray, parts: np.ndarray, grain: int, begin: int, end: int
) -> None:
    """Add to a part (2, lanes) the sums of x - middle and of its square."""
    (outer, lanes, inner), sums = x.shape, parts[begin // grain]
    shift = widened(middles, lanes)[0]
    if inner == 1:
        rows, totals = x.reshape(outer, lanes), np.zeros((2, lanes), x.dtype)
        first, second = totals[0], totals[1]
        for top in range(begin, end, PARTIAL):
            totals[:] = 0
            for r in range(top, min(top + PARTIAL, end)):
                for c in range(lanes):
                    centred = rows[r, c] - shift[c]
                    first[c] += centred
                    second[c] += centred * centred
            for c in range(lanes):
                sums[0, c] += first[c]
                sums[1, c] += second[c]
        return
    for n in range(begin, end):
        for c in range(lanes):
            plane, middle = x[n, c], shift[c]
            for start in range(0, inner, PLANE):
                plain = squares = x.dtype.type(0)
                part = plane[start : start + PLANE]
                for i in range(len(part)):  # from 0 on, or each index might count from the end
                    centred = part[i] - middle
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
    table: np.ndarray,
    eps: float,
    negative: float,
    out: np.ndarray,
    begin: int,
    end: int,
) -> None:
    outer, lanes, inner = x.shape
    slope = x.dtype.type(negative)
    mean, scale, beta = _scales(table, eps, lanes)
    if inner == 1:
        rows, out_rows = x.reshape(outer, lanes), out.reshape(outer, lanes)
        for r in range(begin, end):
            for c in range(lanes):
                y = _normalised(rows[r, c], mean[c], scale[c], beta[c])
                out_rows[r, c] = y if y > 0 else slope * y
        return
    for n in range(begin, end):
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
    table: np.ndarray,
    eps: float,
    negative: float,
    parts: np.ndarray,
    grain: int,
    begin: int,
    end: int,
) -> None:
    """Add to a part (2, lanes) the sums of h and of h (x - mean), h being g through the
    activation.
    """
    (outer, lanes, inner), sums = x.shape, parts[begin // grain]
    slope = x.dtype.type(negative)
    mean, scale, beta = _scales(table, eps, lanes)
    if inner == 1:
        rows, g_rows = x.reshape(outer, lanes), g.reshape(outer, lanes)
        totals = np.zeros((2, lanes), x.dtype)
        plain, centred = totals[0], totals[1]
        for top in range(begin, end, PARTIAL):
            totals[:] = 0
            for r in range(top, min(top + PARTIAL, end)):
                for c in range(lanes):
                    y = _normalised(rows[r, c], mean[c], scale[c], beta[c])
                    h = g_rows[r, c] if y > 0 else slope * g_rows[r, c]
                    plain[c] += h
                    centred[c] += h * (rows[r, c] - mean[c])
            for c in range(lanes):
                sums[0, c] += plain[c]
                sums[1, c] += centred[c]
        return
    for n in range(begin, end):
        for c in range(lanes):
            plane, g_plane = x[n, c], g[n, c]
            middle, factor, shift = mean[c], scale[c], beta[c]
            for start in range(0, inner, PLANE):
                first = second = x.dtype.type(0)
                part, g_part = plane[start : start + PLANE], g_plane[start : start + PLANE]
                for i in range(len(part)):
                    y = _normalised(part[i], middle, factor, shift)
                    h = g_part[i] if y > 0 else slope * g_part[i]
                    first += h
                    second += h * (part[i] - middle)
                sums[0, c] += first
                sums[1, c] += second


@jit()
def _backward_images(
    g: np.ndarray,
    x: np.ndarray,
    table: np.ndarray,
    eps: float,
    negative: float,
    rates: np.ndarray,
    out: np.ndarray,
    begin: int,
    end: int,
) -> None:
    """scale h - tilt (x - mean) - level, h being g through the activation."""
    outer, lanes, inner = x.shape
    slope = x.dtype.type(negative)
    mean, scale, beta = _scales(table, eps, lanes)
    slopes = widened(rates[2:], lanes)
    tilt, level = slopes[0], slopes[1]
    if inner == 1:
        rows, g_rows = x.reshape(outer, lanes), g.reshape(outer, lanes)
        out_rows = out.reshape(outer, lanes)
        for r in range(begin, end):
            for c in range(lanes):
                y = _normalised(rows[r, c], mean[c], scale[c], beta[c])
                h = g_rows[r, c] if y > 0 else slope * g_rows[r, c]
                out_rows[r, c] = scale[c] * h - tilt[c] * (rows[r, c] - mean[c]) - level[c]
        return
    for n in range(begin, end):
        for c in range(lanes):
            plane, g_plane, out_plane = x[n, c], g[n, c], out[n, c]
            middle, factor, shift = mean[c], scale[c], beta[c]
            steep, lower = tilt[c], level[c]
            for i in range(inner):
                y = _normalised(plane[i], middle, factor, shift)
                h = g_plane[i] if y > 0 else slope * g_plane[i]
                out_plane[i] = factor * h - steep * (plane[i] - middle) - lower
