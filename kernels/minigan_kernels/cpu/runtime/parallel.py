"""One way onto several cores for every kernel: `spread` cuts a loop into pieces for a few threads.

What is summed up, and in which order, depends on the data's shape only, never on the number of
threads, so results are the same bytes for any number. NumPy, BLAS and the functions of `jit` let go
of the interpreter lock, so plain Python threads do; the pieces of a `Loop` do without Python. As
many threads take part as `numba.get_num_threads()` says (NUMBA_NUM_THREADS,
`numba.set_num_threads`).

Why not Numba's `prange` with a threaded BLAS: each has its own pool, and the threads of one are in
the other's way; a `prange` loop takes longer to compile; one of Numba's thread layers may not be
entered from two threads at once, another not after a fork. The price: some microseconds of Python
before a `Loop` and more before other work, so what is small stays on one core.
"""

from __future__ import annotations

import math
import os
import threading
import time
from array import array
from collections.abc import Callable
from functools import cache
from queue import SimpleQueue
from typing import Any, TypeVar

import numba
import numpy as np
from threadpoolctl import LibController, ThreadpoolController

from .native_task import FAILED, NativeTask
from .spinwait import (
    JOIN_SPIN_SECONDS,
    MAILBOX_WORDS,
    SPIN_SECONDS,
    mark_idle,
    post,
    spins_for,
    try_cancel,
    try_post,
    wait_for_task,
    wait_idle,
)
from .workspace import adopt_workspaces, thread_workspaces

TASK_ELEMENTS = (
    1 << 16
)  # of an array that a plain loop should get in one piece: it fits the second-level cache

_T = TypeVar("_T")

_local = threading.local()


def parallel_for(work: Callable[[int, int], object], count: int, *, grain: int) -> None:
    """Call work(start, stop) for pieces of `grain` that together make up range(count).

    The pieces run in any order and on several threads, so they must not write to the same place;
    those of a `Loop` run without the interpreter. The first exception is raised once all threads
    are done; for one of a `Loop`, a RuntimeError that names it. One piece is done here and now:
    small arrays pay for no more than the call.
    """
    if count <= grain:
        if count > 0:
            work(0, count)
        return
    wanted = min(numba.get_num_threads(), -(-count // grain)) - 1
    # Who finds the helpers at work, be it a helper itself or another thread, works alone.
    if wanted <= 0 or not _hiring.acquire(blocking=False):
        for start in range(0, count, grain):
            work(start, min(start + grain, count))
        return
    try:
        _helpers.extend(Worker() for _ in range(wanted - len(_helpers)))
        if isinstance(work, NativeTask):
            _share_out_loop(work, count, grain, _helpers[:wanted])
        else:
            _share_out_python(work, count, grain, _helpers[:wanted])
    finally:
        _hiring.release()


def _share_out_loop(loop: NativeTask, count: int, grain: int, helpers: list[Worker]) -> None:
    native, arguments = loop.words(thread_workspaces(), *(helper.rooms for helper in helpers))
    job = array("q", [0, count, grain, native.function, 0])
    (place, _), (own, *others) = job.buffer_info(), [words.buffer_info()[0] for words in arguments]

    def begin(helper: Worker, arguments: int) -> None:
        helper.begin(native.share_address, place, arguments)

    _together([*zip(helpers, others, strict=True)], begin, lambda: native.share(place, own))
    if job[FAILED]:
        raise RuntimeError(f"{loop.loop.__name__} failed in one of its pieces")


def _share_out_python(
    work: Callable[[int, int], object], count: int, grain: int, helpers: list[Worker]
) -> None:
    pieces = iter(range(0, count, grain))

    def share() -> None:
        for start in pieces:
            work(start, min(start + grain, count))

    _together([(helper, share) for helper in helpers], Worker.begin_python, share)
    errors = [helper.error for helper in helpers]
    for helper in helpers:
        helper.error = None  # it refers to what the caller had
    for error in errors:
        if error is not None:
            raise error


def _together(
    helpers: list[tuple[Worker, _T]], begin: Callable[[Worker, _T], None], share: Callable[[], None]
) -> None:
    """Have helpers begin, do one's own share, and wait for them whatever happens."""
    begun: list[Worker] = []
    try:
        for helper, task in helpers:
            begun.append(helper)  # Ctrl-C may come at any time, even before `begin` has told it
            begin(helper, task)
        share()
    finally:
        for interruption in [helper.end() for helper in begun]:
            if interruption is not None:
                raise interruption  # also in the place of what `share` raised


class Worker:
    """A thread that waits for work, awake at first (see `awake`) and then asleep.

    A `ThreadPoolExecutor` has more to do for each piece: small layers would feel it.
    """

    def __init__(self) -> None:
        self.wakeups: SimpleQueue[None] = SimpleQueue()
        self.work: Callable[[], None] | None = None  # for Python
        self.error: BaseException | None = None
        self.rooms: dict[str, Any] = {}
        self.words = np.zeros(MAILBOX_WORDS, np.int64)
        self.place = self.words.ctypes.data
        self.patience, self.awhile = spins_for(JOIN_SPIN_SECONDS), spins_for(SPIN_SECONDS)
        threading.Thread(target=self._serve, name="minigan-kernels", daemon=True).start()

    def begin(self, share: int, job: int, arguments: int) -> None:
        """Let it call share(job, arguments), a compiled function by its address."""
        if not try_post(self.place, share, job, arguments):
            post(self.place)
            self.wakeups.put(None)  # not before: it might look, see nothing and sleep again

    def begin_python(self, work: Callable[[], None]) -> None:
        """Let it call work()."""
        self.work, self.error = work, None
        self.begin(0, 0, 0)

    def end(self) -> BaseException | None:
        """Wait until it is not at work; what interrupted that. Even Ctrl-C waits, for the helper
        writes to the caller's arrays.
        """
        interruption: BaseException | None = None
        while True:
            try:
                if try_cancel(self.place) and self.wakeups.empty():
                    self.wakeups.put(None)  # which it lacks if `begin` was interrupted
                while not wait_idle(self.place, self.patience):
                    time.sleep(SPIN_SECONDS)
                self.work = None  # an idle thread keeps no arrays alive
                return interruption
            except BaseException as stop:
                interruption = stop

    def _serve(self) -> None:
        adopt_workspaces(self.rooms)
        while True:
            self.wakeups.get()
            while wait_for_task(self.place, self.awhile):
                try:
                    assert self.work is not None
                    self.work()
                except BaseException as error:
                    self.error = error
                mark_idle(self.place)


def rows_per_task(row: int) -> int:
    """How many rows of `row` elements make a piece of about ELEMENTS."""
    return max(1, TASK_ELEMENTS // max(1, row))


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
_helpers: list[Worker] = []
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
