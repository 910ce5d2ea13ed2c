"""Numbers of 16 bits as float32, in which minigan computes; each of them is exact there."""

from __future__ import annotations

import numpy as np

# NumPy has no bfloat16: the upper half of a float32, so that its bits are a type of their own here.
BFLOAT16 = np.dtype([("bfloat16", "<u2")])


def widened(array: np.ndarray) -> np.ndarray:
    """An array with float16 and bfloat16 as float32, and all in the machine's byte order."""
    if array.dtype.names == BFLOAT16.names:
        bits = array["bfloat16"].astype(np.uint32) << 16
        return bits.view(np.float32)
    if array.dtype == np.float16:
        return array.astype(np.float32)
    return array.astype(array.dtype.newbyteorder("="), copy=False)
