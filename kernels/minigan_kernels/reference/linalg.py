"""Matrix products."""

from __future__ import annotations

import numpy as np


def matmul(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Matrix product over the last two axes, the leading ones broadcast, as `numpy.matmul`."""
    return np.matmul(a, b)
