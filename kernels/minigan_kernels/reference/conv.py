"""Two-dimensional convolution, its two gradients, and the im2col pair, in plain NumPy.

    y[n, o, i, j] = sum over c, u, v of  x[n, c, s i + d u - p, s j + d v - p] * w[o, c, u, v]

This is the cross-correlation that the field calls convolution (Dumoulin & Visin 2016,
arXiv:1603.07285). It is linear in x and in w; `conv2d_dx` and `conv2d_dw` are the adjoints, so the
three are each other's gradients, and `conv2d_dx` is the transposed convolution.
"""

from __future__ import annotations

import numpy as np

from ..checks import Pair, Window, check_conv, conv_window, image_shape
from ..epilogue import LINEAR, Epilogue
from . import activation


def conv2d(
    x: np.ndarray,
    w: np.ndarray,
    *,
    stride: int | Pair = 1,
    padding: int | Pair = 0,
    dilation: int | Pair = 1,
    groups: int = 1,
) -> np.ndarray:
    """Convolution of x (N, C, H, W) with w (O, C/groups, kH, kW), giving (N, O, H', W').

    >>> x, w = np.ones((1, 3, 8, 8), np.float32), np.ones((4, 3, 4, 4), np.float32)
    >>> kernels.conv2d(x, w, stride=2, padding=1).shape
    (1, 4, 4, 4)
    """
    window = conv_window(w.shape, stride, padding, dilation)
    shape = check_conv(x.shape, w.shape, None, window, groups)
    patches = _grouped(_windows(x, window), groups, axis=1)  # (N, G, C/G, H', W', kH, kW)
    y = np.einsum("ngcijuv,gocuv->ngoij", patches, _grouped(w, groups, axis=0), optimize=True)
    return np.ascontiguousarray(y.reshape(shape))


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
    """Gradient of `conv2d` with respect to its image of `shape` (N, C, H, W), for an output
    gradient g (N, O, H', W').

    >>> g, w = np.ones((1, 4, 4, 4), np.float32), np.ones((4, 3, 4, 4), np.float32)
    >>> kernels.conv2d_dx(g, w, shape=(1, 3, 8, 8), stride=2, padding=1).shape
    (1, 3, 8, 8)
    """
    window = conv_window(w.shape, stride, padding, dilation)
    check_conv(shape, w.shape, g.shape, window, groups)
    gradients = np.einsum(
        "ngoij,gocuv->ngcuvij",
        _grouped(g, groups, axis=1),
        _grouped(w, groups, axis=0),
        optimize=True,
    )
    places = g.shape[2] * g.shape[3]  # not -1, which no empty array can be reshaped to
    columns = gradients.reshape(shape[0], shape[1] * w.shape[2] * w.shape[3], places)
    return col2im(
        columns,
        shape=shape,
        kernel=window.kernel,
        stride=stride,
        padding=padding,
        dilation=dilation,
    )


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
    """Gradient of `conv2d` with respect to its weight of `shape` (O, C/groups, kH, kW), for an
    output gradient g (N, O, H', W').

    >>> x, g = np.ones((1, 3, 8, 8), np.float32), np.ones((1, 4, 4, 4), np.float32)
    >>> kernels.conv2d_dw(x, g, shape=(4, 3, 4, 4), stride=2, padding=1).shape
    (4, 3, 4, 4)
    """
    window = conv_window(shape, stride, padding, dilation)
    check_conv(x.shape, shape, g.shape, window, groups)
    patches = _grouped(_windows(x, window), groups, axis=1)
    dw = np.einsum("ngcijuv,ngoij->gocuv", patches, _grouped(g, groups, axis=1), optimize=True)
    return np.ascontiguousarray(dw.reshape(shape))


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
    """f(conv2d(x, w) + bias), with the f of `epilogue` and bias (O,).

    >>> x, w = np.ones((1, 1, 2, 2), np.float32), np.ones((1, 1, 2, 2), np.float32)
    >>> kernels.conv2d_activated(x, w, np.ones(1, np.float32)).item()  # 4 + 1
    5.0
    """
    y = conv2d(x, w, stride=stride, padding=padding, dilation=dilation, groups=groups)
    return epilogue.apply(activation, y, bias)


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
    """f(conv2d_dx(g, w) + bias), with the f of `epilogue` and bias (C,).

    >>> g, w = np.ones((1, 1, 1, 1), np.float32), np.ones((1, 1, 2, 2), np.float32)
    >>> kernels.conv2d_dx_activated(g, w, np.ones(1, np.float32), shape=(1, 1, 2, 2))[0, 0]
    array([[2., 2.],
           [2., 2.]], dtype=float32)
    """
    dx = conv2d_dx(
        g, w, shape=shape, stride=stride, padding=padding, dilation=dilation, groups=groups
    )
    return epilogue.apply(activation, dx, bias)


def im2col(
    x: np.ndarray,
    *,
    kernel: Pair,
    stride: int | Pair = 1,
    padding: int | Pair = 0,
    dilation: int | Pair = 1,
) -> np.ndarray:
    """Every window of x (N, C, H, W) as a column: (N, C*kH*kW, H'*W').

    >>> kernels.im2col(np.arange(4.0).reshape(1, 1, 2, 2), kernel=(1, 2))[0]
    array([[0., 2.],
           [1., 3.]])
    """
    window = conv_window((1, 1, *kernel), stride, padding, dilation)
    image_shape(x.shape)
    patches = _windows(x, window).transpose(0, 1, 4, 5, 2, 3)  # (N, C, kH, kW, H', W')
    places = patches.shape[4] * patches.shape[5]
    return patches.reshape(x.shape[0], x.shape[1] * kernel[0] * kernel[1], places)


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

    >>> kernels.col2im(np.ones((1, 2, 2)), shape=(1, 1, 1, 3), kernel=(1, 2))[0, 0]
    array([[1., 2., 1.]])
    """
    window = conv_window((1, 1, *kernel), stride, padding, dilation)
    (rows, cols), (sy, sx), (py, px), (dy, dx) = window
    n, c, h, w = image_shape(shape)
    oh, ow = window.output((h, w))
    taps = columns.reshape(n, c, rows, cols, oh, ow)
    padded = np.zeros((n, c, h + 2 * py, w + 2 * px), columns.dtype)
    for u in range(rows):
        for v in range(cols):
            top, left = u * dy, v * dx
            padded[:, :, top : top + sy * oh : sy, left : left + sx * ow : sx] += taps[:, :, u, v]
    return np.ascontiguousarray(padded[:, :, py : py + h, px : px + w])


def _windows(x: np.ndarray, window: Window) -> np.ndarray:
    """A view of the zero-padded x with one window for each position: (N, C, H', W', kH, kW)."""
    (rows, cols), (sy, sx), (py, px), (dy, dx) = window
    oh, ow = window.output((x.shape[2], x.shape[3]))
    padded = np.pad(x, ((0, 0), (0, 0), (py, py), (px, px)))
    reach = (dy * (rows - 1) + 1, dx * (cols - 1) + 1)
    views = np.lib.stride_tricks.sliding_window_view(padded, reach, axis=(2, 3))
    return views[:, :, : sy * oh : sy, : sx * ow : sx, ::dy, ::dx]


def _grouped(array: np.ndarray, groups: int, *, axis: int) -> np.ndarray:
    """`array` with the channels along `axis` split into (groups, channels of a group)."""
    shape = array.shape
    return array.reshape(*shape[:axis], groups, shape[axis] // groups, *shape[axis + 1 :])
