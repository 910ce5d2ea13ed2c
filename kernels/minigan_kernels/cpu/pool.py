"""Pooling and up-sampling of images in either layout.

A loop sees images as (outer, H, W, lanes). Those that are channels last in memory are (N, H, W, C),
and the CPU's vectors run along the channels. All others are (N*C, H, W, 1).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..checks import (
    Pair,
    Window,
    blocks,
    check_places,
    check_pooled,
    conv_window,
    image_shape,
    pool_window,
)
from .channelwise import read_only
from .compiler.jit import jit
from .runtime.allocator import empty, empty_image, is_channels_last
from .runtime.parallel import TASK_ELEMENTS, parallel_for

Shape = tuple[int, int, int, int]


def max_pool2d_index(
    x: np.ndarray, *, kernel: Pair, stride: int | Pair, padding: int | Pair = 0
) -> np.ndarray:
    """Index i*W + j of the first maximum of each window of x (N, C, H, W), as int64 (N, C, H', W').

    Padding never wins, and a window that holds NaN gives the index of its first NaN.
    """
    window = pool_window(kernel, stride, padding)
    n, c, h, w = image_shape(x.shape)
    numbers = _numbers(window)
    index = _result(x, (n, c, *window.output((h, w))), np.int64)
    loop = _max_index if h * w < 2**31 else _max_index_int64
    _by_image(lambda x, index: loop(x, numbers, index), x, index)
    return index


def gather_plane(x: np.ndarray, *, index: np.ndarray) -> np.ndarray:
    """Values of x (N, C, H, W) at the indices `index` (N, C, H', W') of each plane."""
    check_places(x.shape, index.shape, index.shape)
    out = _result(x, index.shape, x.dtype)
    _checked(_gather, x.shape, x, index, out)
    return out


def scatter_plane(g: np.ndarray, *, index: np.ndarray, shape: Shape) -> np.ndarray:
    """Adjoint of `gather_plane`: zeros of `shape` with each g added at its index."""
    check_places(shape, index.shape, g.shape)
    out = _result(g, shape, g.dtype)
    _checked(_scatter, shape, g, index, out)
    return out


def avg_pool2d(
    x: np.ndarray, *, kernel: Pair, stride: int | Pair, padding: int | Pair = 0
) -> np.ndarray:
    """Mean of each window of x (N, C, H, W); padding counts as zeros in the mean."""
    window = conv_window((1, 1, *kernel), stride, padding, 1)
    n, c, h, w = image_shape(x.shape)
    numbers, taps = _numbers(window), x.dtype.type(kernel[0] * kernel[1])
    out = _result(x, (n, c, *window.output((h, w))), x.dtype)
    _by_image(lambda x, out: _average(x, numbers, taps, out), x, out)
    return out


def avg_pool2d_dx(
    g: np.ndarray,
    *,
    shape: Shape,
    kernel: Pair,
    stride: int | Pair,
    padding: int | Pair = 0,
) -> np.ndarray:
    """Adjoint of `avg_pool2d`: each g (N, C, H', W') spread evenly over its window."""
    window = conv_window((1, 1, *kernel), stride, padding, 1)
    check_pooled(shape, g.shape, window)
    numbers, taps = _numbers(window), g.dtype.type(kernel[0] * kernel[1])
    out = _result(g, shape, g.dtype)
    _by_image(lambda g, out: _spread(g, numbers, taps, out), g, out)
    return out


def upsample_nearest(x: np.ndarray, *, factor: int) -> np.ndarray:
    """Each pixel of x (N, C, H, W) as a block of factor x factor."""
    n, c, h, w = image_shape(x.shape)
    shape = n, c, h * factor, w * factor
    blocks(shape, factor)
    out = _result(x, shape, x.dtype)
    _by_image(lambda x, out: _repeat(x, factor, out), x, out)
    return out


def upsample_nearest_dx(g: np.ndarray, *, factor: int) -> np.ndarray:
    """Adjoint of `upsample_nearest`: the sum of each block of g."""
    out = _result(g, blocks(g.shape, factor), g.dtype)
    numbers, one = (factor, factor, factor, factor, 0, 0), g.dtype.type(1)
    _by_image(lambda g, out: _average(g, numbers, one, out), g, out)
    return out


def _numbers(window: Window) -> tuple[int, ...]:
    return *window.kernel, *window.stride, *window.padding


def _result(like: np.ndarray, shape: Shape, dtype: Any) -> np.ndarray:
    """An empty array in the layout of `like`."""
    return (empty_image if is_channels_last(like) else empty)(shape, dtype)


def _by_image(work: Callable[..., object], *arrays: np.ndarray) -> None:
    """Call `work` with chunks (outer, H, W, lanes) of arrays (N, C, H, W), in the first's layout.

    The last one is the result, which must have that layout. The others are read-only, as in
    `planes`.
    """
    if is_channels_last(arrays[0]):
        views = [np.ascontiguousarray(a.transpose(0, 2, 3, 1)) for a in arrays]
    else:
        dense = map(np.ascontiguousarray, arrays)
        views = [a.reshape(a.shape[0] * a.shape[1], *a.shape[2:], 1) for a in dense]
    views[:-1] = map(read_only, views[:-1])
    outer = len(views[0])
    grain = max(1, TASK_ELEMENTS // max(1, max(v.size for v in views) // max(1, outer)))
    parallel_for(lambda i, j: work(*(v[i:j] for v in views)), outer, grain=grain)


def _checked(loop: Callable[..., bool], shape: tuple[int, ...], *arrays: np.ndarray) -> None:
    """Call a compiled `loop`, which does not check bounds, but says whether all places were inside.

    Raises:
        IndexError: if one was outside the planes of `shape`.
    """
    inside: list[bool] = []
    _by_image(lambda *chunks: inside.append(loop(*chunks)), *arrays)
    if not all(inside):
        raise IndexError(f"places must be from 0 to {shape[2] * shape[3] - 1}")


def _max_index_by(place_type: Any, name: str) -> Callable[..., None]:
    """The loop of `max_pool2d_index`; places of 32 bits take half the vectors of those of 64."""

    def max_index(x: np.ndarray, window: tuple[int, ...], index: np.ndarray) -> None:
        kh, kw, sy, sx, py, px = window
        outer, high, wide, lanes = x.shape
        best, places = np.empty(lanes, x.dtype), np.empty(lanes, place_type)
        for p in range(outer):
            for i in range(index.shape[1]):
                top, bottom = max(0, i * sy - py), min(high, i * sy - py + kh)
                for j in range(index.shape[2]):
                    left, right = max(0, j * sx - px), min(wide, j * sx - px + kw)
                    best[:] = x[p, top, left]
                    places[:] = top * wide + left
                    for u in range(top, bottom):
                        for v in range(left, right):
                            pixel, place = x[p, u, v], place_type(u * wide + v)
                            for c in range(lanes):
                                value, old = pixel[c], best[c]
                                # The first NaN stays: no comparison with it is true.
                                better = (value > old) | ((value != value) & (old == old))
                                best[c] = value if better else old
                                places[c] = place if better else places[c]
                    index[p, i, j] = places

    max_index.__qualname__ = name  # which names its file in the cache on disk
    compiled: Callable[..., None] = jit()(max_index)
    return compiled


_max_index = _max_index_by(np.int32, "_max_index")
_max_index_int64 = _max_index_by(np.int64, "_max_index_int64")


@jit()
def _gather(x: np.ndarray, index: np.ndarray, out: np.ndarray) -> bool:
    outer, high, wide, lanes = x.shape
    planes = x.reshape(outer, high * wide, lanes)
    for p in range(outer):
        for i in range(index.shape[1]):
            for j in range(index.shape[2]):
                for c in range(lanes):
                    place = index[p, i, j, c]
                    if place < 0 or place >= high * wide:
                        return False
                    out[p, i, j, c] = planes[p, place, c]
    return True


@jit()
def _scatter(g: np.ndarray, index: np.ndarray, out: np.ndarray) -> bool:
    outer, high, wide, lanes = out.shape
    planes = out.reshape(outer, high * wide, lanes)
    planes[:] = 0
    for p in range(outer):
        for i in range(index.shape[1]):
            for j in range(index.shape[2]):
                for c in range(lanes):
                    place = index[p, i, j, c]
                    if place < 0 or place >= high * wide:
                        return False
                    planes[p, place, c] += g[p, i, j, c]
    return True


@jit()
def _average(x: np.ndarray, window: tuple[int, ...], taps: float, out: np.ndarray) -> None:
    kh, kw, sy, sx, py, px = window
    outer, high, wide, lanes = x.shape
    for p in range(outer):
        for i in range(out.shape[1]):
            top, bottom = max(0, i * sy - py), min(high, i * sy - py + kh)
            for j in range(out.shape[2]):
                left, right = max(0, j * sx - px), min(wide, j * sx - px + kw)
                total = out[p, i, j]
                total[:] = 0
                for u in range(top, bottom):
                    for v in range(left, right):
                        pixel = x[p, u, v]
                        for c in range(lanes):
                            total[c] += pixel[c]
                for c in range(lanes):
                    total[c] /= taps


@jit()
def _spread(g: np.ndarray, window: tuple[int, ...], taps: float, out: np.ndarray) -> None:
    kh, kw, sy, sx, py, px = window
    outer, high, wide, lanes = out.shape
    out[:] = 0
    part = np.empty(lanes, g.dtype)
    for p in range(outer):
        for i in range(g.shape[1]):
            top, bottom = max(0, i * sy - py), min(high, i * sy - py + kh)
            for j in range(g.shape[2]):
                left, right = max(0, j * sx - px), min(wide, j * sx - px + kw)
                for c in range(lanes):
                    part[c] = g[p, i, j, c] / taps
                for u in range(top, bottom):
                    for v in range(left, right):
                        pixel = out[p, u, v]
                        for c in range(lanes):
                            pixel[c] += part[c]


@jit()
def _repeat(x: np.ndarray, factor: int, out: np.ndarray) -> None:
    outer, high, wide, lanes = x.shape
    for p in range(outer):
        for i in range(high):
            for j in range(wide):
                for u in range(i * factor, (i + 1) * factor):
                    for v in range(j * factor, (j + 1) * factor):
                        for c in range(lanes):
                            out[p, u, v, c] = x[p, i, j, c]
