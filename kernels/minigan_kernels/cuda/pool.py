"""Pooling and up-sampling on a GPU, of images in any memory order; see src/pool.cu."""

from __future__ import annotations

import math
from functools import cache
from typing import Any

import numpy as np

from ..checks import (
    Pair,
    Window,
    blocks,
    check_int32,
    check_places,
    check_pooled,
    conv_window,
    image_shape,
    pool_window,
)
from .elementwise import THREADS, c_type_of, is_channels_last
from .launch import Kernel, blocks_for, dense, empty

Shape = tuple[int, int, int, int]
_SIZES = ["inner", "h", "w", "oh", "ow", "kh", "kw", "sy", "sx", "py", "px"]
_WINDOW = np.dtype([(name, np.int32) for name in _SIZES])  # struct Window
_INT_REACH = 2**31 - THREADS  # values of an image whose offsets fit 32 bits


def max_pool2d_index(
    x: np.ndarray, *, kernel: Pair, stride: int | Pair, padding: int | Pair = 0
) -> np.ndarray:
    """Place i*W + j of the first maximum of each window of x (N, C, H, W), as int64 (N, C, H', W').

    Padding never wins, and a window that holds NaN gives the place of its first NaN.
    """
    window = pool_window(kernel, stride, padding)
    n, c, h, w = image_shape(x.shape)
    shape = n, c, *window.output((h, w))
    return _windows("max_index", x, shape, np.dtype(np.int64), window, (h, w), shape[2:])


def gather_plane(x: np.ndarray, *, index: np.ndarray) -> np.ndarray:
    """Values of x (N, C, H, W) at the places `index` (N, C, H', W') of each plane.

    At a place outside of the plane there is NaN: a GPU cannot raise without being waited for.
    """
    check_places(x.shape, index.shape, index.shape)
    return _places("gather", x, index, x.shape, index.shape, math.prod(index.shape))


def scatter_plane(g: np.ndarray, *, index: np.ndarray, shape: Shape) -> np.ndarray:
    """Adjoint of `gather_plane`: zeros of `shape` with each g added at its place.

    What goes to a place outside of the plane is left out.
    """
    check_places(shape, index.shape, g.shape)
    return _places("scatter", g, index, shape, shape, shape[0] * shape[1], threads_each=32)


def avg_pool2d(
    x: np.ndarray, *, kernel: Pair, stride: int | Pair, padding: int | Pair = 0
) -> np.ndarray:
    """Mean of each window of x (N, C, H, W); padding counts as zeros in the mean."""
    window = conv_window((1, 1, *kernel), stride, padding, 1)
    n, c, h, w = image_shape(x.shape)
    shape, taps = (n, c, *window.output((h, w))), x.dtype.type(math.prod(kernel))
    return _windows("window_mean", x, shape, x.dtype, window, (h, w), shape[2:], taps)


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
    size, taps = check_pooled(shape, g.shape, window), g.dtype.type(math.prod(kernel))
    return _windows("window_adjoint", g, shape, g.dtype, window, shape[2:], size, taps)


def upsample_nearest(x: np.ndarray, *, factor: int) -> np.ndarray:
    """Each pixel of x (N, C, H, W) as a block of factor x factor."""
    n, c, h, w = image_shape(x.shape)
    shape = n, c, h * factor, w * factor
    blocks(shape, factor)
    check_int32("pixels of a plane", shape[2] * shape[3])
    last = is_channels_last(x)
    y = _empty(shape, x.dtype, x, last)
    numbers = [np.int32(number) for number in (_inner(x, last), h, w, factor)]
    _launch("repeat", x.dtype, y.size, y.size, _memory(x, last), y, ..., *numbers)
    return y


def upsample_nearest_dx(g: np.ndarray, *, factor: int) -> np.ndarray:
    """Adjoint of `upsample_nearest`: the sum of each block of g."""
    shape, one = blocks(g.shape, factor), g.dtype.type(1)
    window = Window((factor, factor), (factor, factor))
    return _windows("window_mean", g, shape, g.dtype, window, g.shape[2:], shape[2:], one)


def _windows(
    name: str,
    x: np.ndarray,
    shape: Shape,
    dtype: np.dtype,
    window: Window,
    plane: tuple[int, ...],
    pooled: tuple[int, ...],
    *options: Any,
) -> np.ndarray:
    """The result of a kernel that goes over planes of size `plane` and, pooled, `pooled`."""
    for high, wide in (plane, pooled):
        check_int32("pixels of a plane", high * wide)
    last = is_channels_last(x)
    out = _empty(shape, dtype, x, last)
    sizes = _inner(x, last), *plane, *pooled, *window.kernel, *window.stride, *window.padding
    arrays, reach = (_memory(x, last), out), max(x.size, out.size)
    _launch(name, x.dtype, reach, out.size, *arrays, ..., np.array(sizes, _WINDOW), *options)
    return out


def _places(
    name: str,
    x: np.ndarray,
    index: np.ndarray,
    plane: tuple[int, ...],
    shape: tuple[int, ...],
    count: int,
    *,
    threads_each: int = 1,
) -> np.ndarray:
    """The result of a kernel for which `threads_each` threads see to each of `count` things."""
    check_int32("pixels of a plane", max(plane[2] * plane[3], math.prod(index.shape[2:])))
    last = is_channels_last(x)
    out = _empty(shape, x.dtype, x, last)
    arrays = _memory(x, last), _memory(index.astype(np.int64, copy=False), last), out
    sizes = [_inner(x, last), plane[2] * plane[3], math.prod(index.shape[2:])]
    reach = max(x.size, out.size, count * threads_each)
    numbers = map(np.int32, sizes)
    _launch(name, x.dtype, reach, count, *arrays, ..., *numbers, threads_each=threads_each)
    return out


def _inner(x: Any, last: bool) -> int:
    """Size of the innermost axis, of values in different planes: C if `last`, else 1."""
    return x.shape[1] if last else 1


def _memory(x: Any, last: bool) -> Any:
    """x or a copy as a dense array, (N, H, W, C) if `last`."""
    return dense(x.transpose(0, 2, 3, 1) if last else x)


def _empty(shape: tuple[int, ...], dtype: np.dtype, like: Any, last: bool) -> Any:
    """An array of `shape` (N, C, H, W), channels last in memory if `last`."""
    n, c, h, w = shape
    if last:
        return empty((n, h, w, c), dtype, like=like).transpose(0, 3, 1, 2)
    return empty(shape, dtype, like=like)


@cache
def kernel(name: str, c_type: str, index: str) -> Kernel:
    """A kernel of pool.cu with indices of type `index`, "int" or "long long"."""
    return Kernel("pool", name, threads=THREADS, T=c_type, INDEX=index)


def _launch(
    name: str, dtype: Any, reach: int, size: int, *arguments: Any, threads_each: int = 1
) -> None:
    """`size` stands for ... among the arguments; `reach` is the largest number of values."""
    index, kind = ("int", np.int32) if reach <= _INT_REACH else ("long long", np.int64)
    values = [kind(size) if argument is ... else argument for argument in arguments]
    kernel(name, c_type_of(dtype), index)(blocks_for(size * threads_each, THREADS), *values)
