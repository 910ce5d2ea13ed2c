"""`parallel_for`: the one way in which kernels use several cores.

It is a thread pool with spin-then-park workers (`spinwait`), a shared atomic task counter
(`native_task`), and a shim for Numba's private calling convention (`numba_abi`).

What is summed up, and in which order, depends on the data's shape only, never on the number of
threads. So results are the same bytes for any number. NumPy, BLAS and the functions of `jit` let go
of the interpreter lock, so plain Python threads do. The chunks of a `NativeTask` run without
Python. As many threads take part as `numba.get_num_threads()` says (NUMBA_NUM_THREADS,
`numba.set_num_threads`), but no more than there are cores for this process (`cores`). `use_threads`
here may ask for more. Then only as many workers spin as have a core, the others park at once.

Why not Numba's `prange` with a threaded BLAS: each has its own pool, and the threads of one hinder
the other's. A `prange` loop takes longer to compile. One of Numba's threading layers may not be
entered from two threads at once, another not after a fork. The price of our own pool is some
microseconds of Python before a `NativeTask`, and more before other work. So small work stays on one
core.
"""

from __future__ import annotations

import os
import threading
import time
from array import array
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial
from queue import SimpleQueue
from typing import TypeVar

import numba
import numpy as np

from ...environment import SettingError
from .cores import available_cores
from .native_task import FAILED, NativeTask
from .spinwait import (
    JOIN_SPIN_SECONDS,
    MAILBOX_LENGTH,
    SPIN_SECONDS,
    mark_idle,
    post,
    ticks_for,
    try_cancel,
    try_post,
    wait_for_task,
    wait_idle,
)
from .workspace import Workspaces, adopt_workspaces, thread_workspaces

TASK_ELEMENTS = 1 << 16  # elements of an array in one chunk of a plain loop: they fit the L2 cache

_T = TypeVar("_T")


def parallel_for(work: Callable[[int, int], object], count: int, *, grain: int) -> None:
    """Call work(first, last) for chunks of `grain` indices that together make up range(count).

    The chunks run in any order and on several threads, so they must not write to the same memory.
    If there is one chunk, or the pool is busy (a nested call, or another Python thread), they run
    in this thread. Those of a `NativeTask` run without the interpreter.

    Raises:
        BaseException: the first exception of `work`, once all threads are done.
        RuntimeError: naming the function of a `NativeTask` that raised in another thread.
    """
    if count <= grain:
        if count > 0:
            work(0, count)
        return
    wanted = min(thread_count(), -(-count // grain)) - 1
    if wanted <= 0 or not _team_lock.acquire(blocking=False):
        for first in range(0, count, grain):
            work(first, min(first + grain, count))
        return
    try:
        while len(_workers) < wanted:
            _workers.append(Worker(spins=len(_workers) + 2 <= available_cores()))
        if isinstance(work, NativeTask):
            _run_native(work, count, grain, _workers[:wanted])
        else:
            _run_python(work, count, grain, _workers[:wanted])
    finally:
        _team_lock.release()


def thread_count() -> int:
    """How many threads take part in a `parallel_for`, the calling one included."""
    try:
        return _chosen_count.get() or min(numba.get_num_threads(), available_cores())
    except ValueError as error:  # NUMBA_THREADING_LAYER names one that is not installed
        sentence = str(error).splitlines()[0].rstrip(".")
        raise SettingError(
            f"Numba has no threads: {sentence}; unset NUMBA_THREADING_LAYER"
        ) from error


@contextmanager
def use_threads(count: int) -> Iterator[None]:
    """Within the block let `count` threads take part, which may be more than there are cores.

    Raises:
        ValueError: if `count` is below 1.
    """
    if count < 1:
        raise ValueError(f"kernels need at least 1 thread, not {count}")
    token = _chosen_count.set(count)
    try:
        yield
    finally:
        _chosen_count.reset(token)


def rows_per_chunk(row: int) -> int:
    """How many rows of `row` elements make a chunk of about TASK_ELEMENTS."""
    return max(1, TASK_ELEMENTS // max(1, row))


def _run_native(task: NativeTask, count: int, chunk: int, workers: list[Worker]) -> None:
    native, arguments = task.marshal(thread_workspaces(), *(w.workspaces for w in workers))
    fields = array("q", [0, count, chunk, native.address, 0])
    (header, _), (own, *others) = fields.buffer_info(), [a.buffer_info()[0] for a in arguments]

    def start(worker: Worker, arguments: int) -> None:
        worker.start(native.drain_address, header, arguments)

    _run_team([*zip(workers, others, strict=True)], start, partial(native.drain, header, own))
    if fields[FAILED]:
        raise RuntimeError(
            f"{task.function.__name__} failed in one of its chunks; with NUMBA_NUM_THREADS=1 it "
            "raises what went wrong"
        )


def _run_python(
    work: Callable[[int, int], object], count: int, chunk: int, workers: list[Worker]
) -> None:
    firsts = iter(range(0, count, chunk))  # shared: each thread takes the next

    def drain() -> None:
        for first in firsts:
            work(first, min(first + chunk, count))

    _run_team([(worker, drain) for worker in workers], Worker.start_python, drain)
    errors = [worker.error for worker in workers]
    for worker in workers:
        worker.error = None  # it refers to what the caller had
    for error in errors:
        if error is not None:
            raise error


def _run_team(
    tasks: list[tuple[Worker, _T]], start: Callable[[Worker, _T], None], drain: Callable[[], None]
) -> None:
    """Start the workers, drain the task in this thread too, and join them whatever happens."""
    started: list[Worker] = []
    try:
        for worker, task in tasks:
            started.append(worker)  # Ctrl-C may come at any time, even before `start` has posted
            start(worker, task)
        drain()
    finally:
        for interruption in [worker.join() for worker in started]:
            if interruption is not None:
                raise interruption  # also in the place of what `drain` raised


class Worker:
    """A thread that waits for tasks, spinning at first and then parked (see `spinwait`).

    It spins only if it `spins`, that is if there is a core for it beside those of the others. A
    `ThreadPoolExecutor` has more to do for each task: small layers would feel it.
    """

    def __init__(self, *, spins: bool = True) -> None:
        self.wakeups: SimpleQueue[None] = SimpleQueue()
        self.python_task: Callable[[], None] | None = None
        self.error: BaseException | None = None  # of the Python task
        self.workspaces: Workspaces = {}
        self.mailbox = np.zeros(MAILBOX_LENGTH, np.int64)
        self.mailbox_address: int = self.mailbox.ctypes.data
        self.patience = ticks_for(SPIN_SECONDS) if spins else 0
        self.join_patience = ticks_for(JOIN_SPIN_SECONDS) if spins else 0
        threading.Thread(target=self._serve, name="minigan-kernels", daemon=True).start()

    def start(self, drain: int, header: int, arguments: int) -> None:
        """Let it call drain(header, arguments), a compiled function by its address."""
        if not try_post(self.mailbox_address, drain, header, arguments):
            post(self.mailbox_address)
            self.wakeups.put(None)  # after the post, or it might see nothing and park again

    def start_python(self, task: Callable[[], None]) -> None:
        """Let it call task()."""
        self.python_task, self.error = task, None
        self.start(0, 0, 0)

    def join(self) -> BaseException | None:
        """Cancel its task or wait for the end; what interrupted the waiting, if anything did.

        Even Ctrl-C waits, for the worker writes to the caller's arrays.
        """
        interruption: BaseException | None = None
        while True:
            try:
                if try_cancel(self.mailbox_address) and self.wakeups.empty():
                    self.wakeups.put(None)  # which it lacks if `start` was interrupted
                while not wait_idle(self.mailbox_address, self.join_patience):
                    time.sleep(SPIN_SECONDS)
                self.python_task = None  # an idle thread keeps no arrays alive
                return interruption
            except BaseException as stop:
                interruption = stop

    def _serve(self) -> None:
        adopt_workspaces(self.workspaces)
        while True:
            self.wakeups.get()
            while wait_for_task(self.mailbox_address, self.patience):
                try:
                    assert self.python_task is not None
                    self.python_task()
                except BaseException as error:
                    self.error = error
                mark_idle(self.mailbox_address)


_team_lock = threading.Lock()  # who holds it may start the workers
_workers: list[Worker] = []
_chosen_count: ContextVar[int | None] = ContextVar("threads", default=None)


def _after_fork() -> None:
    global _team_lock
    _workers.clear()  # threads do not survive a fork
    _team_lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
