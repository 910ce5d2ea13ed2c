"""Two-dimensional convolution and its gradients on a GPU.

In float32 they are implicit GEMMs on tiles, chosen by tiling.py. float64, and groups whose channels
are no multiple of 4 (8 in bfloat16), take conv_1_naive.cu, which is slow and leaves bias and
activation to a second pass.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..checks import Pair, check_conv, conv_window, image_shape
from ..epilogue import LINEAR, Epilogue
from . import launch
from .implicit_gemm import GemmEpilogue, correlate, problem_of, weight_gradient
from .pack import C_TYPES, THREADS

_MOMENTS = GemmEpilogue(moments=True)


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
    return correlate(x, w, shape, window, groups, transposed=False, epilogue=_MOMENTS)


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
    """Gradient of `conv2d` with respect to its image of `shape` (N, C, H, W); g is the output's."""
    window = conv_window(w.shape, stride, padding, dilation)
    check_conv(shape, w.shape, g.shape, window, groups)
    return correlate(g, w, shape, window, groups, transposed=True, epilogue=_MOMENTS)


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
    """Gradient of `conv2d` with respect to its weight of `shape` (O, C/groups, kH, kW); g is the
    output's.
    """
    window = conv_window(shape, stride, padding, dilation)
    check_conv(x.shape, shape, g.shape, window, groups)
    return weight_gradient(x, g, shape, window, groups)


def conv2d_activated(
    x: np.ndarray,
    w: np.ndarray,
    bias: np.ndarray,
    *,
    stride: int | Pair = 1,
    padding: int | Pair = 0,
    dilation: int | Pair = 1,
    groups: int = 1,
    epilogue: Epilogue = LINEAR,
) -> np.ndarray:
    """f(conv2d(x, w) + bias), with the f of `epilogue` and bias (O,)."""
    window = conv_window(w.shape, stride, padding, dilation)
    shape = check_conv(x.shape, w.shape, None, window, groups)
    after = GemmEpilogue(bias, epilogue)
    return correlate(x, w, shape, window, groups, transposed=False, epilogue=after)


def conv2d_dx_activated(
    g: np.ndarray,
    w: np.ndarray,
    bias: np.ndarray,
    *,
    shape: tuple[int, int, int, int],
    stride: int | Pair = 1,
    padding: int | Pair = 0,
    dilation: int | Pair = 1,
    groups: int = 1,
    epilogue: Epilogue = LINEAR,
) -> np.ndarray:
    """f(conv2d_dx(g, w) + bias), with the f of `epilogue` and bias (C,)."""
    window = conv_window(w.shape, stride, padding, dilation)
    check_conv(shape, w.shape, g.shape, window, groups)
    after = GemmEpilogue(bias, epilogue)
    return correlate(g, w, shape, window, groups, transposed=True, epilogue=after)


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
    problem = problem_of((n, h, w, c), (n, oh, ow, c), window, 1, transposed=False)
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
    problem = problem_of((n, oh, ow, c), (n, h, w, c), window, 1, transposed=True)
    return _columns("col2im", columns, shape, problem)


def _columns(name: str, array: Any, shape: tuple[int, ...], problem: np.ndarray) -> Any:
    array = launch.dense(array)
    out = launch.empty(shape, array.dtype, like=array)
    kernel = launch.kernel("im2col", name, threads=THREADS, T=C_TYPES[array.dtype.type])
    kernel(launch.blocks_for(out.size, THREADS), array, out, problem, np.int64(out.size))
    return out
