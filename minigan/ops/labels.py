"""Labels: integers that choose, and have no gradient."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..device import is_array
from ..tensor import Array, Tensor


def as_labels(labels: Any) -> Array:
    """Labels as an array, from an array, a tensor, or a list of integers.

    Raises:
        ValueError: if they are no integers.
    """
    array = labels.data if isinstance(labels, Tensor) else labels
    if not is_array(array):
        array = np.asarray(array, None if np.size(array) else np.int64)
    if array.dtype.kind not in "iu":
        raise ValueError(f"labels must be integers, not {array.dtype}")
    return array
