"""Matrix products."""

from __future__ import annotations

import numpy as np


def matmul(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Matrix product over the last two axes, the leading ones broadcast, as `numpy.matmul`."""
    with np.errstate(invalid="ignore"):  # a false warning of OpenBLAS: see cpu/linalg.py
        return np.matmul(a, b)
