"""Bias and maxout on a GPU."""

from __future__ import annotations

import numpy as np

from ..checks import check_pieces
from .elementwise import THREADS, c_type_of, images, kernel
from .launch import blocks_for, dense, empty


def bias_maxout(x: np.ndarray, bias: np.ndarray, *, pieces: int) -> np.ndarray:
    """The largest piece of x + bias for each unit, (N, units)."""
    check_pieces(x.shape, bias.shape, pieces)
    x, bias = _dense(x, bias)
    units = x.shape[1] // pieces
    y = empty((len(x), units), x.dtype, like=x)
    run = kernel("maxout", "bias_maxout", c_type_of(x.dtype), 1)
    sizes = np.int64(y.size), np.int32(units), np.int32(pieces)
    run(blocks_for(y.size, THREADS), x, bias, y, *sizes)
    return y


def bias_maxout_backward(
    g: np.ndarray, y: np.ndarray, x: np.ndarray, bias: np.ndarray, *, pieces: int
) -> tuple[np.ndarray, np.ndarray]:
    """Gradients of y = bias_maxout(x, bias) with respect to x and bias; equal pieces divide g."""
    check_pieces(x.shape, bias.shape, pieces, y.shape, g.shape)
    g, y, x, bias = _dense(g, y, x, bias)
    view = images(x, wide=False)
    dx, partial = view.empty(), view.partial(1)
    sizes = np.int32(y.shape[1]), np.int32(pieces)
    arrays = g, y, x, bias, dx, partial
    view.launch("maxout", "bias_maxout_backward", *arrays, view.layout, *sizes, merged=1)
    return dx, view.total(partial)[0]


def _dense(*arrays: np.ndarray) -> list[np.ndarray]:
    dtype = np.result_type(*(a.dtype for a in arrays))
    return [dense(a.astype(dtype, copy=False)) for a in arrays]
