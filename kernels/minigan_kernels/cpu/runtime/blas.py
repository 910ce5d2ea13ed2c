"""How many threads BLAS uses while kernels call it from threads of their own."""

from __future__ import annotations

import os
import threading
from functools import cache

from threadpoolctl import LibController, ThreadpoolController


class _OneBlasThread:
    """Within the block BLAS runs in the thread that calls it; afterwards as the user had set it."""

    def __enter__(self) -> None:
        global _depth, _before
        with _lock:
            if _depth == 0:
                _before = [library.get_num_threads() for library in _libraries()]
                _set_threads([1] * len(_before))
            _depth += 1

    def __exit__(self, *_: object) -> None:
        global _depth
        with _lock:
            _depth -= 1
            if _depth == 0:
                _set_threads(_before)


one_blas_thread = _OneBlasThread()

_lock = threading.Lock()
_depth = 0  # blocks that are open, in all threads together
_before: list[int] = []  # threads of each library, as the user had set them


@cache
def _libraries() -> list[LibController]:
    return ThreadpoolController().select(user_api="blas").lib_controllers


def _set_threads(counts: list[int]) -> None:
    for library, before, count in zip(_libraries(), _before, counts, strict=True):
        if before > 1:
            library.set_num_threads(count)


def _after_fork() -> None:
    global _lock, _depth
    if _depth:
        _set_threads(_before)
    _lock, _depth = threading.Lock(), 0


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
