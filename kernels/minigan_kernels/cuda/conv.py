"""Two-dimensional convolution and its gradients on a card."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..shapes import Pair, Window, check_conv, conv_window, image_shape
from .launch import blocks_for, dense, empty, kernel
from .layout import THREADS, WORDS, channels_last, grouped

_AXIS = np.dtype([(n, np.int32) for n in ("in", "out", "kernel", "stride", "padding", "dilation")])
_SIZES = ("images", "groups", "channels", "filters", "transposed", "splits")
_CONV = np.dtype([("h", _AXIS), ("w", _AXIS), *((name, np.int32) for name in _SIZES)])


def conv2d(
    x: np.ndarray,
    w: np.ndarray,
    *,
    stride: int | Pair = 1,
    padding: int | Pair = 0,
    dilation: int | Pair = 1,
    groups: int = 1,
) -> np.ndarray:
    """Convolution of x (N, C, H, W) with w (O, C/groups, kH, kW), giving (N, O, H', W')."""
    window = conv_window(w.shape, stride, padding, dilation)
    shape = check_conv(x.shape, w.shape, None, window, groups)
    return _gather(x, w, shape, window, groups, transposed=False)


def conv2d_dx(
    g: np.ndarray,
    w: np.ndarray,
    *,
    shape: tuple[int, int, int, int],
    stride: int | Pair = 1,
    padding: int | Pair = 0,
    dilation: int | Pair = 1,
    groups: int = 1,
) -> np.ndarray:
    """Gradient of `conv2d` by its image of `shape` (N, C, H, W), for an output gradient g."""
    window = conv_window(w.shape, stride, padding, dilation)
    check_conv(shape, w.shape, g.shape, window, groups)
    return _gather(g, w, shape, window, groups, transposed=True)


def conv2d_dw(
    x: np.ndarray,
    g: np.ndarray,
    *,
    shape: tuple[int, int, int, int],
    stride: int | Pair = 1,
    padding: int | Pair = 0,
    dilation: int | Pair = 1,
    groups: int = 1,
) -> np.ndarray:
    """Gradient of `conv2d` by its weight of `shape` (O, C/groups, kH, kW), for an output gradient
    g.
    """
    window = conv_window(shape, stride, padding, dilation)
    check_conv(x.shape, shape, g.shape, window, groups)
    kind = np.result_type(x, g).type
    x, g = channels_last(x, kind), channels_last(g, kind)
    problem = _problem(x.shape, g.shape, window, groups, transposed=False)
    rows, columns = window.kernel
    o, c = shape[0] // groups, shape[1]
    dw = empty((groups, rows, columns, c, o), kind, like=x)
    launch = kernel("conv_1_naive", "convolve_dw", threads=THREADS, T=WORDS[kind])
    launch(blocks_for(dw.size, THREADS), x, g, dw, problem)
    return dw.transpose(0, 4, 3, 1, 2).reshape(shape)


def im2col(
    x: np.ndarray,
    *,
    kernel: Pair,
    stride: int | Pair = 1,
    padding: int | Pair = 0,
    dilation: int | Pair = 1,
) -> np.ndarray:
    """Every window of x (N, C, H, W) as a column: (N, C*kH*kW, H'*W')."""
    window = conv_window((1, 1, *kernel), stride, padding, dilation)
    n, c, h, w = image_shape(x.shape)
    oh, ow = window.output((h, w))
    problem = _problem((n, h, w, c), (n, oh, ow, c), window, 1, transposed=False)
    shape = (n, c * kernel[0] * kernel[1], oh * ow)
    return _columns("im2col", x, shape, problem)


def col2im(
    columns: np.ndarray,
    *,
    shape: tuple[int, int, int, int],
    kernel: Pair,
    stride: int | Pair = 1,
    padding: int | Pair = 0,
    dilation: int | Pair = 1,
) -> np.ndarray:
    """Adjoint of `im2col`: columns (N, C*kH*kW, H'*W') are added back to an image of `shape`.

    Raises:
        ValueError: if the columns are not those of such an image.
    """
    window = conv_window((1, 1, *kernel), stride, padding, dilation)
    n, c, h, w = image_shape(shape)
    oh, ow = window.output((h, w))
    expected = (n, c * kernel[0] * kernel[1], oh * ow)
    if columns.shape != expected:
        raise ValueError(f"an image {shape} has columns of shape {expected}, not {columns.shape}")
    problem = _problem((n, oh, ow, c), (n, h, w, c), window, 1, transposed=True)
    return _columns("col2im", columns, shape, problem)


def _columns(name: str, array: Any, shape: tuple[int, ...], problem: np.ndarray) -> Any:
    array = dense(array)
    out = empty(shape, array.dtype, like=array)
    launch = kernel("im2col", name, threads=THREADS, T=WORDS[array.dtype.type])
    launch(blocks_for(out.size, THREADS), array, out, problem, np.int64(out.size))
    return out


def _gather(
    image: Any, w: Any, shape: tuple[int, ...], window: Window, groups: int, *, transposed: bool
) -> Any:
    """Forward convolution, or (transposed) the gradient by the input: an image of `shape`."""
    kind = np.result_type(image, w).type
    image = channels_last(image, kind)
    filters = channels_last(grouped(w, groups, transposed=transposed), kind)
    n, c, h, wide = shape
    y = empty((n, h, wide, c), kind, like=image)
    problem = _problem(image.shape, y.shape, window, groups, transposed=transposed)
    phases = (window.stride[0] * window.stride[1]) if transposed else 1
    steps = window.stride if transposed else (1, 1)
    pixels = n * -(-h // steps[0]) * -(-wide // steps[1])
    launch = kernel("conv_1_naive", "convolve", threads=THREADS, T=WORDS[kind])
    (blocks,) = blocks_for(pixels * (c // groups), THREADS)
    launch((blocks, 1, phases * groups), image, filters, y, problem)
    return y.transpose(0, 3, 1, 2)


def _problem(
    source: tuple[int, ...],
    target: tuple[int, ...],
    window: Window,
    groups: int,
    *,
    transposed: bool,
    splits: int = 1,
) -> np.ndarray:
    """The struct Conv of conv.cuh, for images of shapes (N, H, W, C)."""
    axes = [(source[1 + i], target[1 + i], *(part[i] for part in window)) for i in range(2)]
    sizes = (source[0], groups, source[3] // groups, target[3] // groups, transposed, splits)
    return np.array((*axes, *sizes), _CONV)
