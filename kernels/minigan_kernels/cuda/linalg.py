"""Matrix products: convolutions of images of one pixel, by the same kernels.

No library is called: a CUDA graph cannot capture cuBLAS.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..checks import Window
from .implicit_gemm import correlate
from .launch import MAX_BLOCKS

_POINT = Window((1, 1))
_MAX_COUNT = MAX_BLOCKS // 512  # products in a launch: each may have hundreds of split-K slices


def matmul(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Matrix product over the last two axes, the leading ones broadcast, as `numpy.matmul`.

    Raises:
        ValueError: if the two do not fit.
    """
    left = a[None] if a.ndim == 1 else a
    right = b[:, None] if b.ndim == 1 else b
    if min(a.ndim, b.ndim) == 0 or left.shape[-1] != right.shape[-2]:
        raise ValueError(f"there is no matrix product of {a.shape} and {b.shape}")
    y = _product(left, right)
    if a.ndim == 1:
        y = y[..., 0, :]
    return y[..., 0] if b.ndim == 1 else y


def _product(a: Any, b: Any) -> Any:
    (m, k), n = a.shape[-2:], b.shape[-1]
    if b.ndim == 2:  # one matrix for all rows
        rows = a.reshape(math.prod(a.shape[:-1]), k)  # -1 is no number if k is 0
        y = correlate(
            rows[:, :, None, None], b.T[:, :, None, None], (len(rows), n, 1, 1), _POINT, 1,
            transposed=False,
        )  # fmt: skip
        return y.reshape(*a.shape[:-1], n)
    lead = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    count = math.prod(lead)  # a group for each product
    a = np.broadcast_to(a, (*lead, m, k)).reshape(count, m, k)
    b = np.broadcast_to(b, (*lead, k, n)).reshape(count, k, n)
    if count > _MAX_COUNT:
        parts = [
            _product(a[i : i + _MAX_COUNT], b[i : i + _MAX_COUNT])
            for i in range(0, count, _MAX_COUNT)
        ]
        return np.concatenate(parts).reshape(*lead, m, n)
    image = a.transpose(1, 0, 2).reshape(m, count * k, 1, 1)
    filters = b.transpose(0, 2, 1).reshape(count * n, k, 1, 1)
    y = correlate(image, filters, (m, count * n, 1, 1), _POINT, count, transposed=False)
    return y.reshape(m, count, n).transpose(1, 0, 2).reshape(*lead, m, n)
