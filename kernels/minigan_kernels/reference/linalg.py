"""Matrix products."""

from __future__ import annotations

import numpy as np


def matmul(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Matrix product over the last two axes, the leading ones broadcast, as `numpy.matmul`.

    >>> kernels.matmul(np.eye(2), np.array([[1.0], [2.0]]))
    array([[1.],
           [2.]])
    """
    with np.errstate(invalid="ignore"):  # a false warning of OpenBLAS: see cpu/linalg.py
        return np.matmul(a, b)
