"""One way onto several cores for every kernel: `spread` cuts a loop into pieces for a few threads.

The pieces depend on the data's shape only, never on the number of threads, so results are the same
bytes for any number. NumPy, BLAS and the functions of `jit` let go of the interpreter lock, so
plain Python threads do. As many take part as `numba.get_num_threads()` says (NUMBA_NUM_THREADS,
`numba.set_num_threads`).

Why not Numba's `prange` with a threaded BLAS: each has its own pool, whose threads keep spinning
after a call and take the cores from the other's; a `prange` loop takes 2 to 3 times as long to
compile; one of Numba's thread layers may not be entered from two threads at once, another not after
a fork. The price: handing out pieces takes 30 us where `prange` takes 2, so small loops stay on one
core. LeakyReLU, float32, ms on one core, here, with `prange`: 64K elements 0.015, 0.10, 0.010; 1M
0.33, 0.25, 0.18; 4M 2.6, 1.3, 1.1.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache
from typing import Any

import numba
import numpy as np
from threadpoolctl import LibController, ThreadpoolController

ELEMENTS = (
    1 << 16
)  # of an array that a plain loop should get in one piece: it fits the second-level cache

_local = threading.local()


def spread(work: Callable[[int, int], object], count: int, *, grain: int) -> None:
    """Call work(start, stop) for pieces of `grain` that together make up range(count).

    The pieces run in any order and on several threads, so they must not write to the same place.
    The first exception is raised once all threads are done.
    """
    pieces = iter(range(0, count, grain))

    def share() -> None:
        for start in pieces:
            work(start, min(start + grain, count))

    helpers = min(_threads(), -(-count // grain)) - 1
    if helpers <= 0:
        share()
        return
    pool = _pool()
    others = [pool.submit(_inside, share) for _ in range(helpers)]
    try:
        share()
    finally:
        errors = [other.exception() for other in others]
    for error in errors:
        if error is not None:
            raise error


def rows_of(row: int, *, least: int = ELEMENTS) -> int:
    """How many rows of `row` elements make a piece of about `least` elements."""
    return max(1, least // max(1, row))


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Within the block BLAS runs in the thread that calls it; afterwards as the user had set it."""
    global _depth, _before
    with _lock:
        if _depth == 0:
            _before = [library.get_num_threads() for library in _blas()]
            for library in _blas():
                library.set_num_threads(1)
        _depth += 1
    try:
        yield
    finally:
        with _lock:
            _depth -= 1
            if _depth == 0:
                for library, threads in zip(_blas(), _before, strict=True):
                    library.set_num_threads(threads)


def scratch(name: str, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """An array of any content for use until this thread next asks for `name`; memory is kept."""
    buffers = _local.__dict__.setdefault("buffers", {})
    size = int(np.prod(shape)) * dtype.itemsize
    if name not in buffers or buffers[name].size < size:
        buffers[name] = np.empty(size, np.uint8)
    return buffers[name][:size].view(dtype).reshape(shape)


_lock = threading.Lock()
_depth = 0  # how many are inside one_blas_thread now
_before: list[int] = []


def _threads() -> int:
    # A piece that spreads its own work would wait for threads that are all waiting.
    return 1 if getattr(_local, "inside", False) else numba.get_num_threads()


def _inside(share: Callable[[], None]) -> None:
    _local.inside = True
    share()


@cache
def _pool() -> ThreadPoolExecutor:
    config: Any = numba.config
    return ThreadPoolExecutor(config.NUMBA_NUM_THREADS, "minigan-kernels")


@cache
def _blas() -> list[LibController]:
    return ThreadpoolController().select(user_api="blas").lib_controllers


def _after_fork() -> None:
    global _lock, _depth
    _pool.cache_clear()  # threads do not survive a fork
    if _depth:
        for library, threads in zip(_blas(), _before, strict=True):
            library.set_num_threads(threads)
    _lock, _depth = threading.Lock(), 0


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
