"""Activations on a card."""

from __future__ import annotations

import numpy as np

from .launch import Kernel, blocks_for, dense, empty

_THREADS = 256
_LEAKY = {
    kind: Kernel("activation", "leaky_relu", threads=_THREADS, T=word)
    for kind, word in ((np.float32, "float"), (np.float64, "double"))
}


def leaky_relu(x: np.ndarray, *, slope: float) -> np.ndarray:
    """x where x > 0, else slope * x."""
    x = dense(x)
    y = empty(x.shape, x.dtype, like=x)
    kernel = _LEAKY[x.dtype.type]
    kernel(blocks_for(x.size, _THREADS), x, y, x.dtype.type(slope), np.int64(x.size))
    return y
