"""The lowest rung: a convolution as its definition reads, seven loops, one product at a time.

Compiled by Numba, on one core. The arrays are plain: images (N, C, H, W), weights (O, C, k, k).
"""

# mypy: disable-error-code="untyped-decorator"
from __future__ import annotations

import numba
import numpy as np


@numba.njit(nogil=True)
def conv2d(x: np.ndarray, w: np.ndarray, y: np.ndarray, stride: int, padding: int) -> None:
    """y += the convolution of x with w."""
    images, filters, height, width = y.shape
    for n in range(images):
        for o in range(filters):
            for i in range(height):
                for j in range(width):
                    for c in range(w.shape[1]):
                        for u in range(w.shape[2]):
                            for v in range(w.shape[3]):
                                row = i * stride + u - padding
                                column = j * stride + v - padding
                                if 0 <= row < x.shape[2] and 0 <= column < x.shape[3]:
                                    y[n, o, i, j] += x[n, c, row, column] * w[o, c, u, v]


@numba.njit(nogil=True)
def conv2d_dx(g: np.ndarray, w: np.ndarray, dx: np.ndarray, stride: int, padding: int) -> None:
    """dx += the gradient with respect to x."""
    images, filters, height, width = g.shape
    for n in range(images):
        for o in range(filters):
            for i in range(height):
                for j in range(width):
                    for c in range(w.shape[1]):
                        for u in range(w.shape[2]):
                            for v in range(w.shape[3]):
                                row = i * stride + u - padding
                                column = j * stride + v - padding
                                if 0 <= row < dx.shape[2] and 0 <= column < dx.shape[3]:
                                    dx[n, c, row, column] += g[n, o, i, j] * w[o, c, u, v]


@numba.njit(nogil=True)
def conv2d_dw(x: np.ndarray, g: np.ndarray, dw: np.ndarray, stride: int, padding: int) -> None:
    """dw += the gradient with respect to w."""
    images, filters, height, width = g.shape
    for n in range(images):
        for o in range(filters):
            for i in range(height):
                for j in range(width):
                    for c in range(dw.shape[1]):
                        for u in range(dw.shape[2]):
                            for v in range(dw.shape[3]):
                                row = i * stride + u - padding
                                column = j * stride + v - padding
                                if 0 <= row < x.shape[2] and 0 <= column < x.shape[3]:
                                    dw[o, c, u, v] += x[n, c, row, column] * g[n, o, i, j]
