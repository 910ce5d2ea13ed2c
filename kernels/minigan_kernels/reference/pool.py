"""Pooling and up-sampling in plain NumPy.

Max-pooling has two parts: `max_pool2d_index` finds where each window has its maximum, and
`gather_plane` reads there. Given those places, pooling is linear. `gather_plane` and
`scatter_plane` are each other's adjoint, so derivatives of any order consist of these two.
"""

from __future__ import annotations

import numpy as np

from ..checks import Pair, blocks, check_places, check_pooled, conv_window, image_shape, pool_window
from .conv import _windows, col2im

Shape = tuple[int, int, int, int]


def max_pool2d_index(
    x: np.ndarray, *, kernel: Pair, stride: int | Pair, padding: int | Pair = 0
) -> np.ndarray:
    """Index i*W + j of the first maximum of each window of x (N, C, H, W), as int64 (N, C, H', W').

    Padding never wins, and a window that holds NaN gives the index of its first NaN.

    >>> x = np.arange(4.0).reshape(1, 1, 2, 2)
    >>> kernels.max_pool2d_index(x, kernel=(2, 2), stride=2).item()
    3
    """
    window = pool_window(kernel, stride, padding)
    _, _, h, w = image_shape(x.shape)
    values = _windows(x, window)  # (N, C, H', W', kH, kW), zeros in the padding
    places = _windows(np.arange(h * w).reshape(1, 1, h, w), window)
    inside = _windows(np.ones((1, 1, h, w), bool), window)
    top = np.where(inside, values, -np.inf).max(axis=(4, 5), keepdims=True)  # NaN if there is one
    winners = inside & ((values == top) | np.isnan(values))
    first = winners.reshape(*winners.shape[:4], -1).argmax(axis=-1)[..., None]
    places = np.broadcast_to(
        places.reshape(1, 1, *first.shape[2:4], -1), (*first.shape[:4], places[0, 0, 0, 0].size)
    )
    return np.take_along_axis(places, first, axis=-1)[..., 0]


def gather_plane(x: np.ndarray, *, index: np.ndarray) -> np.ndarray:
    """Values of x (N, C, H, W) at the indices `index` (N, C, H', W') of each plane.

    >>> x = np.arange(4.0).reshape(1, 1, 2, 2)
    >>> kernels.gather_plane(x, index=np.full((1, 1, 1, 1), 2)).item()
    2.0
    """
    check_places(x.shape, index.shape, index.shape)
    n, c = x.shape[:2]
    return np.take_along_axis(x.reshape(n, c, -1), index.reshape(n, c, -1), axis=-1).reshape(
        index.shape
    )


def scatter_plane(g: np.ndarray, *, index: np.ndarray, shape: Shape) -> np.ndarray:
    """Adjoint of `gather_plane`: zeros of `shape` with each g added at its index.

    >>> index = np.full((1, 1, 1, 1), 2)
    >>> kernels.scatter_plane(np.ones((1, 1, 1, 1)), index=index, shape=(1, 1, 2, 2))[0, 0]
    array([[0., 0.],
           [1., 0.]])
    """
    check_places(shape, index.shape, g.shape)
    n, c = shape[:2]
    planes = np.zeros((n * c, shape[2] * shape[3]), g.dtype)
    rows = np.arange(n * c)[:, None]
    np.add.at(planes, (rows, index.reshape(n * c, -1)), g.reshape(n * c, -1))
    return planes.reshape(shape)


def avg_pool2d(
    x: np.ndarray, *, kernel: Pair, stride: int | Pair, padding: int | Pair = 0
) -> np.ndarray:
    """Mean of each window of x (N, C, H, W); padding counts as zeros in the mean.

    >>> x = np.arange(4.0).reshape(1, 1, 2, 2)
    >>> kernels.avg_pool2d(x, kernel=(2, 2), stride=2).item()
    1.5
    """
    window = conv_window((1, 1, *kernel), stride, padding, 1)
    image_shape(x.shape)
    return np.ascontiguousarray(_windows(x, window).mean(axis=(4, 5), dtype=x.dtype))


def avg_pool2d_dx(
    g: np.ndarray,
    *,
    shape: Shape,
    kernel: Pair,
    stride: int | Pair,
    padding: int | Pair = 0,
) -> np.ndarray:
    """Adjoint of `avg_pool2d`: each g (N, C, H', W') spread evenly over its window.

    >>> g = np.ones((1, 1, 1, 1))
    >>> kernels.avg_pool2d_dx(g, shape=(1, 1, 1, 2), kernel=(1, 2), stride=2)[0, 0]
    array([[0.5, 0.5]])
    """
    check_pooled(shape, g.shape, conv_window((1, 1, *kernel), stride, padding, 1))
    n, c, oh, ow = g.shape
    taps = kernel[0] * kernel[1]
    part = (g / g.dtype.type(taps)).reshape(n, c, 1, oh * ow)
    columns = np.broadcast_to(part, (n, c, taps, oh * ow)).reshape(n, c * taps, oh * ow)
    return col2im(columns, shape=shape, kernel=kernel, stride=stride, padding=padding)


def upsample_nearest(x: np.ndarray, *, factor: int) -> np.ndarray:
    """Each pixel of x (N, C, H, W) as a block of factor x factor.

    >>> kernels.upsample_nearest(np.ones((1, 1, 2, 2)), factor=2).shape
    (1, 1, 4, 4)
    """
    n, c, h, w = image_shape(x.shape)
    blocks((n, c, h * factor, w * factor), factor)
    return x.repeat(factor, axis=2).repeat(factor, axis=3)


def upsample_nearest_dx(g: np.ndarray, *, factor: int) -> np.ndarray:
    """Adjoint of `upsample_nearest`: the sum of each block of g.

    >>> kernels.upsample_nearest_dx(np.ones((1, 1, 2, 2)), factor=2).item()
    4.0
    """
    n, c, h, w = blocks(g.shape, factor)
    return g.reshape(n, c, h, factor, w, factor).sum(axis=(3, 5))
