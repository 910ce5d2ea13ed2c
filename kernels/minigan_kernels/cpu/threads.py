"""One way onto several cores for every kernel: `spread` cuts a loop into pieces for a few threads.

What is summed up, and in which order, depends on the data's shape only, never on the number of
threads, so results are the same bytes for any number. NumPy, BLAS and the functions of `jit` let go
of the interpreter lock, so plain Python threads do. As many take part as `numba.get_num_threads()`
says (NUMBA_NUM_THREADS, `numba.set_num_threads`).

Why not Numba's `prange` with a threaded BLAS: each has its own pool, and the threads of one are in
the other's way; a `prange` loop takes longer to compile; one of Numba's thread layers may not be
entered from two threads at once, another not after a fork. The price: Python hands out the pieces,
so small loops stay on one core.
"""

from __future__ import annotations

import math
import os
import threading
from collections.abc import Callable
from functools import cache
from queue import SimpleQueue

import numba
import numpy as np
from threadpoolctl import LibController, ThreadpoolController

from .awake import AWHILE, LONG, call, called, looks, settled

ELEMENTS = (
    1 << 16
)  # of an array that a plain loop should get in one piece: it fits the second-level cache

_local = threading.local()


def spread(work: Callable[[int, int], object], count: int, *, grain: int) -> None:
    """Call work(start, stop) for pieces of `grain` that together make up range(count).

    The pieces run in any order and on several threads, so they must not write to the same place.
    The first exception is raised once all threads are done. One piece is done here and now: small
    arrays pay for no more than the call.
    """
    if count <= grain:
        if count > 0:
            work(0, count)
        return
    pieces = iter(range(0, count, grain))

    def share() -> None:
        for start in pieces:
            work(start, min(start + grain, count))

    wanted = min(numba.get_num_threads(), -(-count // grain)) - 1
    # Who finds the helpers at work, be it a helper itself or another thread, works alone.
    if wanted <= 0 or not _hiring.acquire(blocking=False):
        share()
        return
    begun: list[Helper] = []
    try:
        _helpers.extend(Helper() for _ in range(wanted - len(_helpers)))
        for helper in _helpers[:wanted]:
            begun.append(helper)
            helper.begin(share)
        share()
        errors = [helper.end(share) for helper in begun]
    except BaseException:  # Ctrl-C may come at any time, even before `begin` has told the helper
        for helper in begun:
            helper.end_whatever_it_does()  # which no further Ctrl-C ends early
        raise
    finally:
        _hiring.release()
    for error in errors:
        if error is not None:
            raise error


class Helper:
    """A thread that waits for work, awake at first (see `awake`) and then asleep.

    A `ThreadPoolExecutor` has more to do for each piece: small layers would feel it.
    """

    def __init__(self) -> None:
        self.todo: SimpleQueue[Callable[[], None]] = SimpleQueue()  # when it is asleep
        self.work: Callable[[], None] | None = None  # when it is awake
        self.news: SimpleQueue[None] = SimpleQueue()  # one for each work done
        self.done: Callable[[], None] | None = None
        self.error: BaseException | None = None
        self.word = np.zeros(1, np.int64)
        self.place = self.word.ctypes.data
        self.patience, self.awhile = looks(LONG), looks(AWHILE)
        threading.Thread(target=self._serve, name="minigan-kernels", daemon=True).start()

    def begin(self, work: Callable[[], None]) -> None:
        """Let it call work()."""
        while not self.news.empty():  # of works that were done before anybody waited
            self.news.get()
        self.work = work
        if not call(self.place):
            self.todo.put(work)

    def end(self, work: Callable[[], None]) -> BaseException | None:
        """What work() raised, once it is done: even Ctrl-C waits, for it writes to the caller's
        arrays.
        """
        interruption: BaseException | None = None
        try:  # also where it is done by now: the next work should find the helper awake
            settled(self.place, self.patience)
        except BaseException as stop:
            interruption = stop
        while self.done is not work:
            try:
                self.news.get()
            except BaseException as stop:
                interruption = stop
        error, self.done, self.error = self.error, None, None
        return interruption or error

    def end_whatever_it_does(self) -> None:
        """Wait until it has done what it was given, if anything."""

        def nothing() -> None:
            pass

        self.todo.put(nothing)  # which comes last
        self.end(nothing)

    def _serve(self) -> None:
        work: Callable[[], None] | None = self.todo.get()
        while True:
            assert work is not None
            try:
                work()
            except BaseException as error:
                self.error = error
            self.done, self.work = work, None
            self.news.put(None)
            del work  # an idle thread keeps no arrays alive
            work = self.work if called(self.place, self.awhile) else self.todo.get()


def rows_of(row: int) -> int:
    """How many rows of `row` elements make a piece of about ELEMENTS."""
    return max(1, ELEMENTS // max(1, row))


class _OneBlasThread:
    """Within the block BLAS runs in the thread that calls it; afterwards as the user had set it."""

    def __enter__(self) -> None:
        global _depth, _before
        with _lock:
            if _depth == 0:
                _before = [library.get_num_threads() for library in _blas()]
                _set_blas_threads([1] * len(_before))
            _depth += 1

    def __exit__(self, *_: object) -> None:
        global _depth
        with _lock:
            _depth -= 1
            if _depth == 0:
                _set_blas_threads(_before)


one_blas_thread = _OneBlasThread()


def _set_blas_threads(counts: list[int]) -> None:
    for library, before, count in zip(_blas(), _before, counts, strict=True):
        if before > 1:
            library.set_num_threads(count)


def scratch(name: str, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """An array of any content for use until this thread next asks for `name`; memory is kept."""
    buffers = _local.__dict__.setdefault("buffers", {})
    size = math.prod(shape) * dtype.itemsize
    if name not in buffers or buffers[name].size < size:
        buffers[name] = np.empty(size, np.uint8)
    return buffers[name][:size].view(dtype).reshape(shape)


_hiring = threading.Lock()
_helpers: list[Helper] = []
_lock = threading.Lock()
_depth = 0  # how many are inside one_blas_thread now
_before: list[int] = []


@cache
def _blas() -> list[LibController]:
    return ThreadpoolController().select(user_api="blas").lib_controllers


def _after_fork() -> None:
    global _hiring, _lock, _depth
    _helpers.clear()  # threads do not survive a fork
    if _depth:
        _set_blas_threads(_before)
    _hiring, _lock, _depth = threading.Lock(), threading.Lock(), 0


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
