"""Transformed weights, memoized with the weights within a budget of bytes.

A network's layers are used one after the other. Their weights stay transformed until the parameters
are updated, while another network's layers are used.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Hashable

import numpy as np

from ....memo import attached, evict, memoize

MOST_BYTES = 32 << 20


class _Entries(threading.local):
    """What a thread has memoized: weights and bytes, the oldest first."""

    def __init__(self) -> None:
        self.entries: dict[tuple[int, Hashable], tuple[weakref.ref[np.ndarray], int]] = {}


_thread = _Entries()


def transformed_weights(
    w: np.ndarray, key: Hashable, compute: Callable[[], np.ndarray]
) -> np.ndarray:
    """compute(), memoized with w until what was memoized later takes MOST_BYTES."""
    found: np.ndarray | None = attached(w, key)
    if found is not None:
        return found
    u = memoize(w, key, compute)
    if attached(w, key) is u:
        _add(w, key, u.nbytes)
    return u


def _add(w: np.ndarray, key: Hashable, size: int) -> None:
    entries = _thread.entries
    entries.pop((id(w), key), None)  # from before w was written
    for dead in [k for k, (weights, _) in entries.items() if weights() is None]:
        del entries[dead]
    entries[id(w), key] = weakref.ref(w), size
    while len(entries) > 1 and sum(size for _, size in entries.values()) > MOST_BYTES:
        oldest = next(iter(entries))
        weights = entries.pop(oldest)[0]()
        if weights is not None:
            evict(weights, oldest[1])
