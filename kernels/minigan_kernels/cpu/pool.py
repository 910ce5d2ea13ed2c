"""Pooling plane by plane."""

from __future__ import annotations

import math

import numpy as np

from ..shapes import Pair, check_places, check_pooled, conv_window, image_shape, pool_window
from .jit import jit
from .threads import ELEMENTS, spread


def max_pool2d_index(
    x: np.ndarray, *, kernel: Pair, stride: int | Pair, padding: int | Pair = 0
) -> np.ndarray:
    """Place i*W + j of the first maximum of each window of x (N, C, H, W), as int64 (N, C, H', W').

    Padding never wins, and a window that holds NaN gives the place of its first NaN.
    """
    window = pool_window(kernel, stride, padding)
    n, c, h, w = image_shape(x.shape)
    planes = np.ascontiguousarray(x).reshape(n * c, h, w)
    index = np.empty((n * c, *window.output((h, w))), np.int64)
    numbers = (*window.kernel, *window.stride, *window.padding)
    spread(
        lambda i, j: _max_index(planes[i:j], numbers, index[i:j]), n * c, grain=_planes_of(h * w)
    )
    return index.reshape(n, c, *index.shape[1:])


def gather_plane(x: np.ndarray, *, index: np.ndarray) -> np.ndarray:
    """Values of x (N, C, H, W) at the places `index` (N, C, H', W') of each plane."""
    planes, places = _flat_planes(x, index)
    _check(places, planes.shape[1])
    out = np.empty(places.shape, x.dtype)
    spread(
        lambda i, j: _gather(planes[i:j], places[i:j], out[i:j]),
        len(out),
        grain=_planes_of(planes.shape[1]),
    )
    return out.reshape(index.shape)


def scatter_plane(
    g: np.ndarray, *, index: np.ndarray, shape: tuple[int, int, int, int]
) -> np.ndarray:
    """Adjoint of `gather_plane`: zeros of `shape` with each g added at its place."""
    check_places(shape, index.shape, g.shape)
    values, places = _flat_planes(g, index)
    out = np.zeros((len(values), shape[2] * shape[3]), g.dtype)
    _check(places, out.shape[1])
    spread(
        lambda i, j: _scatter(values[i:j], places[i:j], out[i:j]),
        len(out),
        grain=_planes_of(out.shape[1]),
    )
    return out.reshape(shape)


def avg_pool2d(
    x: np.ndarray, *, kernel: Pair, stride: int | Pair, padding: int | Pair = 0
) -> np.ndarray:
    """Mean of each window of x (N, C, H, W); padding counts as zeros in the mean."""
    window = conv_window((1, 1, *kernel), stride, padding, 1)
    n, c, h, w = image_shape(x.shape)
    planes = np.ascontiguousarray(x).reshape(n * c, h, w)
    out = np.empty((n * c, *window.output((h, w))), x.dtype)
    numbers = (*window.kernel, *window.stride, *window.padding)
    spread(lambda i, j: _average(planes[i:j], numbers, out[i:j]), n * c, grain=_planes_of(h * w))
    return out.reshape(n, c, *out.shape[1:])


def avg_pool2d_dx(
    g: np.ndarray,
    *,
    shape: tuple[int, int, int, int],
    kernel: Pair,
    stride: int | Pair,
    padding: int | Pair = 0,
) -> np.ndarray:
    """Adjoint of `avg_pool2d`: each g (N, C, H', W') spread evenly over its window."""
    window = conv_window((1, 1, *kernel), stride, padding, 1)
    n, c, h, w = shape
    high, wide = check_pooled(shape, g.shape, window)
    planes, out = np.ascontiguousarray(g).reshape(n * c, high, wide), np.zeros(shape, g.dtype)
    images = out.reshape(n * c, h, w)
    numbers = (*window.kernel, *window.stride, *window.padding)
    spread(lambda i, j: _share(planes[i:j], numbers, images[i:j]), n * c, grain=_planes_of(h * w))
    return out


def _planes_of(size: int) -> int:
    return max(1, ELEMENTS // 4 // max(1, size))


def _flat_planes(*arrays: np.ndarray) -> list[np.ndarray]:
    """Arrays (N, C, H, W) as (N*C, H*W)."""
    if any(a.shape[:2] != arrays[0].shape[:2] for a in arrays):
        raise ValueError(f"{' and '.join(str(a.shape) for a in arrays)} do not fit")
    return [
        np.ascontiguousarray(a).reshape(math.prod(a.shape[:2]), math.prod(a.shape[2:]))
        for a in arrays
    ]


def _check(places: np.ndarray, size: int) -> None:
    """Compiled loops do not check bounds: a wrong place would be read or written anywhere."""
    if places.size and not (places.min() >= 0 and places.max() < size):
        raise IndexError(f"places must lie in 0 to {size - 1}")


@jit()
def _max_index(x: np.ndarray, window: tuple[int, ...], index: np.ndarray) -> None:
    kh, kw, sy, sx, py, px = window
    planes, high, wide = x.shape
    for p in range(planes):
        for i in range(index.shape[1]):
            top, bottom = max(0, i * sy - py), min(high, i * sy - py + kh)
            for j in range(index.shape[2]):
                left, right = max(0, j * sx - px), min(wide, j * sx - px + kw)
                best, place = x[p, top, left], top * wide + left
                for u in range(top, bottom):
                    for v in range(left, right):
                        value = x[p, u, v]
                        # The first NaN stays: no comparison with it is true.
                        if value > best or (value != value and best == best):
                            best, place = value, u * wide + v
                index[p, i, j] = place


@jit()
def _gather(x: np.ndarray, places: np.ndarray, out: np.ndarray) -> None:
    for p in range(places.shape[0]):
        for i in range(places.shape[1]):
            out[p, i] = x[p, places[p, i]]


@jit()
def _scatter(g: np.ndarray, places: np.ndarray, out: np.ndarray) -> None:
    for p in range(places.shape[0]):
        for i in range(places.shape[1]):
            out[p, places[p, i]] += g[p, i]


@jit()
def _average(x: np.ndarray, window: tuple[int, ...], out: np.ndarray) -> None:
    kh, kw, sy, sx, py, px = window
    planes, high, wide = x.shape
    for p in range(planes):
        for i in range(out.shape[1]):
            top, bottom = max(0, i * sy - py), min(high, i * sy - py + kh)
            for j in range(out.shape[2]):
                left, right = max(0, j * sx - px), min(wide, j * sx - px + kw)
                total = x.dtype.type(0)
                for u in range(top, bottom):
                    for v in range(left, right):
                        total += x[p, u, v]
                out[p, i, j] = total / x.dtype.type(kh * kw)


@jit()
def _share(g: np.ndarray, window: tuple[int, ...], out: np.ndarray) -> None:
    kh, kw, sy, sx, py, px = window
    planes, high, wide = out.shape
    for p in range(planes):
        for i in range(g.shape[1]):
            top, bottom = max(0, i * sy - py), min(high, i * sy - py + kh)
            for j in range(g.shape[2]):
                left, right = max(0, j * sx - px), min(wide, j * sx - px + kw)
                part = g[p, i, j] / g.dtype.type(kh * kw)
                for u in range(top, bottom):
                    for v in range(left, right):
                        out[p, u, v] += part
