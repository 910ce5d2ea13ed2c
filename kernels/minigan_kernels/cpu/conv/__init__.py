"""Two-dimensional convolution and its gradients, each by the algorithm that `plan` chooses."""

from __future__ import annotations

import numpy as np

from ...checks import Pair, check_conv, conv_window
from ...epilogue import LINEAR, Epilogue
from ..activation import apply_epilogue
from . import direct, winograd
from .im2col import gemm
from .im2col.im2col import col2im as col2im
from .im2col.im2col import im2col as im2col
from .select import choose


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
    return _conv2d(x, w, stride, padding, dilation, groups, None)


def _conv2d(
    x: np.ndarray,
    w: np.ndarray,
    stride: int | Pair,
    padding: int | Pair,
    dilation: int | Pair,
    groups: int,
    end: tuple[np.ndarray, Epilogue] | None,
) -> np.ndarray:
    window = conv_window(w.shape, stride, padding, dilation)
    shape = check_conv(x.shape, w.shape, None, window, groups)
    algorithm, tile = choose("conv2d", x.shape, shape, window, groups, np.result_type(x, w))
    if algorithm == "direct":
        return direct.conv2d(x, w, window, shape, groups, end)
    if algorithm == "winograd":
        y = winograd.conv2d(x, w, window, shape, tile)
    else:
        y = gemm.conv2d(x, w, window, shape, groups)
    return y if end is None else apply_epilogue(y, *end)


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
    output = check_conv(shape, w.shape, g.shape, window, groups)
    algorithm, tile = choose("conv2d_dx", shape, output, window, groups, np.result_type(g, w))
    if algorithm == "winograd":
        return winograd.conv2d_dx(g, w, window, shape, tile)
    return (direct if algorithm == "direct" else gemm).conv2d_dx(g, w, window, shape, groups)


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
    output = check_conv(x.shape, shape, g.shape, window, groups)
    algorithm, tile = choose("conv2d_dw", x.shape, output, window, groups, np.result_type(x, g))
    if algorithm == "winograd":
        return winograd.conv2d_dw(x, g, window, shape, tile)
    return (direct if algorithm == "direct" else gemm).conv2d_dw(x, g, window, shape, groups)


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
    return _conv2d(x, w, stride, padding, dilation, groups, (bias, epilogue))


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
    dx = conv2d_dx(
        g, w, shape=shape, stride=stride, padding=padding, dilation=dilation, groups=groups
    )
    return apply_epilogue(dx, bias, epilogue)
