"""Batch normalisation and a LeakyReLU after it, in few passes over memory.

The moments read x once. The forward pass reads x and writes y. The backward pass reads g and x for
the sums, and both again for dx. It computes from x on which side of its kink the activation was, so
y need not be kept.

The moments are taken about the mean of a few pixels: a mean far above the standard deviation then
costs no accuracy (Chan, Golub & LeVeque 1983, "Algorithms for computing the sample variance:
analysis and recommendations"). Partial sums are in x's precision, their sums in float64.
"""

from __future__ import annotations

import math

import numpy as np

from .channelwise import (
    PARTIAL_PIXELS,
    PARTIAL_ROWS,
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

_SUMMING = {"reassoc", "nsz", "contract"}  # fast-math: a sum a vector lane, fused multiply-adds


def moments(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and biased variance (C,) of each channel."""
    (images,) = planes(x)
    shift = np.empty((1, x.shape[1]), x.dtype)
    _some_mean(images, shift)
    sums = lane_sums(_shifted_sums, (images, shift), images, 2)
    result = np.empty((2, x.shape[1]), x.dtype)
    _moments(sums, shift, x.size, result)
    return result[0], result[1]


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
    task = NativeTask(_normalise, images, table, float(eps), float(slope), outs)
    parallel_for(task, len(images), grain=grain_of(images))
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
    """Gradients with respect to x, gamma and beta, where mean and var are the moments of this x."""
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
    """Gradients with respect to x, gamma and beta, where mean and var are constants."""
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
    sums = lane_sums(_backward_sums, (gs, images, table, eps, slope), images, 2)
    rates = np.empty((4, x.shape[1]), x.dtype)
    _rates(sums, table, eps, x.size, constant, rates)
    task = NativeTask(_backward_images, gs, images, table, eps, slope, rates, outs)
    parallel_for(task, len(images), grain=grain_of(images))
    return out, rates[0], rates[1]


@jit()
def _some_mean(x: np.ndarray, shift: np.ndarray) -> None:
    """Fill shift (1, C) with the mean of each channel over a few pixels, evenly spaced in x."""
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
def _moments(sums: np.ndarray, shift: np.ndarray, size: int, result: np.ndarray) -> None:
    """Fill result (2, C) with mean and variance, from the sums about `shift` over an x of `size`
    numbers.
    """
    totals = np.empty(result.shape)
    channel_sums(sums, totals)
    channels = result.shape[1]
    for c in range(channels):
        first, second = totals[0, c] / (size // channels), totals[1, c] / (size // channels)
        result[0, c] = shift[0, c] + first
        variance = second - first * first
        result[1, c] = 0.0 if variance < 0 else variance  # a NaN stays


@jit()
def _scales(table: np.ndarray, eps: float, lanes: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """mean, gamma / sqrt(var + eps) and beta of each lane, from rows gamma, beta, mean and var.

    The same bits in the forward and the backward pass: they decide on which side of its kink a
    value is.
    """
    rows = np.empty((3, table.shape[1]), table.dtype)
    for c in range(table.shape[1]):
        rows[0, c], rows[2, c] = table[2, c], table[1, c]
        rows[1, c] = table[0, c] / math.sqrt(table[3, c] + eps)
    wide = widened(rows, lanes)
    return wide[0], wide[1], wide[2]


@jit()
def _rates(
    sums: np.ndarray, table: np.ndarray, eps: float, size: int, constant: bool, rates: np.ndarray
) -> None:
    """Fill rates (4, C) with dgamma, dbeta, tilt and level.

    With h the gradient with respect to the activation's input, and n values a channel:
    dx = scale (h - sum(h) / n - xhat sum(h xhat) / n) = scale h - tilt (x - mean) - level
    """
    totals = np.empty((2, rates.shape[1]))
    channel_sums(sums, totals)
    for c in range(rates.shape[1]):
        root = 1 / math.sqrt(table[3, c] + eps)
        factor = 0.0 if constant else table[0, c] * root / (size // rates.shape[1])
        rates[0, c], rates[1, c] = totals[1, c] * root, totals[0, c]
        rates[2, c], rates[3, c] = factor * root * totals[1, c] * root, factor * totals[0, c]


@jit(fastmath=_SUMMING)
def _shifted_sums(
    x: np.ndarray, shifts: np.ndarray, sums: np.ndarray, grain: int, begin: int, end: int
) -> None:
    """Add to this chunk's row (2, lanes) of `sums` the sums of x - shift and of its square."""
    (outer, lanes, inner), own = x.shape, sums[begin // grain]
    shift = widened(shifts, lanes)[0]
    if inner == 1:
        rows, totals = x.reshape(outer, lanes), np.zeros((2, lanes), x.dtype)
        first, second = totals[0], totals[1]
        for top in range(begin, end, PARTIAL_ROWS):
            totals[:] = 0
            for r in range(top, min(top + PARTIAL_ROWS, end)):
                for c in range(lanes):
                    centred = rows[r, c] - shift[c]
                    first[c] += centred
                    second[c] += centred * centred
            for c in range(lanes):
                own[0, c] += first[c]
                own[1, c] += second[c]
        return
    for n in range(begin, end):
        for c in range(lanes):
            plane, middle = x[n, c], shift[c]
            for start in range(0, inner, PARTIAL_PIXELS):
                plain = squares = x.dtype.type(0)
                part = plane[start : start + PARTIAL_PIXELS]
                for i in range(len(part)):  # from 0 on, or each index might be a negative one
                    centred = part[i] - middle
                    plain += centred
                    squares += centred * centred
                own[0, c] += plain
                own[1, c] += squares


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


@jit(fastmath=_SUMMING)
def _backward_sums(
    g: np.ndarray,
    x: np.ndarray,
    table: np.ndarray,
    eps: float,
    negative: float,
    sums: np.ndarray,
    grain: int,
    begin: int,
    end: int,
) -> None:
    """Add to this chunk's row (2, lanes) of `sums` the sums of h and of h (x - mean), where h is
    the gradient with respect to the activation's input.
    """
    (outer, lanes, inner), own = x.shape, sums[begin // grain]
    slope = x.dtype.type(negative)
    mean, scale, beta = _scales(table, eps, lanes)
    if inner == 1:
        rows, g_rows = x.reshape(outer, lanes), g.reshape(outer, lanes)
        totals = np.zeros((2, lanes), x.dtype)
        plain, centred = totals[0], totals[1]
        for top in range(begin, end, PARTIAL_ROWS):
            totals[:] = 0
            for r in range(top, min(top + PARTIAL_ROWS, end)):
                for c in range(lanes):
                    y = _normalised(rows[r, c], mean[c], scale[c], beta[c])
                    h = g_rows[r, c] if y > 0 else slope * g_rows[r, c]
                    plain[c] += h
                    centred[c] += h * (rows[r, c] - mean[c])
            for c in range(lanes):
                own[0, c] += plain[c]
                own[1, c] += centred[c]
        return
    for n in range(begin, end):
        for c in range(lanes):
            plane, g_plane = x[n, c], g[n, c]
            middle, factor, shift = mean[c], scale[c], beta[c]
            for start in range(0, inner, PARTIAL_PIXELS):
                first = second = x.dtype.type(0)
                part, g_part = (
                    plane[start : start + PARTIAL_PIXELS],
                    g_plane[start : start + PARTIAL_PIXELS],
                )
                for i in range(len(part)):
                    y = _normalised(part[i], middle, factor, shift)
                    h = g_part[i] if y > 0 else slope * g_part[i]
                    first += h
                    second += h * (part[i] - middle)
                own[0, c] += first
                own[1, c] += second


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
    """dx = scale h - tilt (x - mean) - level, see `_rates`."""
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
