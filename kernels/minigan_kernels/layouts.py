"""Memory layouts that the twins agree on."""

from __future__ import annotations

import numpy as np


def conv_weight(w: np.ndarray) -> np.ndarray:
    """w (O, I, kH, kW) with its values in memory order (kH, kW, I, O).

    The CPU's convolutions read weights and write their gradients in this order. With an optimiser's
    state in the same order, nothing is ever transposed.
    """
    return np.ascontiguousarray(w.transpose(2, 3, 1, 0)).transpose(3, 2, 0, 1)
