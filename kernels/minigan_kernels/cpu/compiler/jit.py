"""`jit`: Numba's compiler with a cache on disk that can be trusted."""

# mypy: disallow-untyped-calls=False
from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numba

from .disk_cache import DiskCache

_F = TypeVar("_F", bound=Callable[..., Any])


def jit(*, fastmath: bool | set[str] = False) -> Callable[[_F], _F]:
    """Compile the decorated function at its first call, or load it from the disk cache.

    The function runs without the interpreter lock, so that `parallel_for` can run it on several
    cores. Division by zero gives inf or NaN as in NumPy. Without `fastmath` the arithmetic is that
    of IEEE 754 in the order written, never contracted to fused multiply-adds: bit-equal to NumPy's.
    """

    def decorate(function: _F) -> _F:
        compiled: Any = numba.njit(nogil=True, error_model="numpy", fastmath=fastmath)(function)
        compiled._cache = DiskCache(compiled)
        return compiled

    return decorate
