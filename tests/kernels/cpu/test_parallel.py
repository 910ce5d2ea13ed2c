"""The kernels' threads: workers, errors, interruptions, forks, and NumPy's threads beside them."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable

import minigan_kernels as kernels
import numba
import numpy as np
import pytest
from minigan_kernels.cpu.runtime import parallel, spinwait
from minigan_kernels.cpu.runtime.parallel import use_threads
from threadpoolctl import ThreadpoolController


def convolve() -> np.ndarray:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((6, 8, 40, 40), np.float32)
    return kernels.conv2d(x, rng.standard_normal((16, 8, 3, 3), np.float32))


def test_numpy_keeps_its_threads() -> None:
    blas = ThreadpoolController().select(user_api="blas")
    before = [library.get_num_threads() for library in blas.lib_controllers]
    convolve()
    assert [library.get_num_threads() for library in blas.lib_controllers] == before


def test_kernels_may_be_called_from_several_threads() -> None:
    expected, results = convolve(), []
    callers = [threading.Thread(target=lambda: results.append(convolve())) for _ in range(4)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert [r.tobytes() for r in results] == [expected.tobytes()] * 4


def test_an_error_in_a_chunk_reaches_the_caller() -> None:
    def work(start: int, stop: int) -> None:
        if threading.current_thread() is not threading.main_thread() or start > 500:
            raise ArithmeticError(start, stop)

    with use_threads(3), pytest.raises(ArithmeticError):
        parallel.parallel_for(work, 1000, grain=1)


def test_an_interrupted_caller_waits_for_its_workers() -> None:
    working, finished = threading.Event(), []

    def work(start: int, stop: int) -> None:
        if threading.current_thread() is threading.main_thread():
            assert working.wait(60)  # a worker is at work now
            raise KeyboardInterrupt
        working.set()
        time.sleep(0.05)
        finished.append(start)

    with use_threads(2):
        with pytest.raises(KeyboardInterrupt):
            parallel.parallel_for(work, 2, grain=1)
        assert finished
        expected = convolve()
    assert convolve().tobytes() == expected.tobytes()


@pytest.mark.parametrize("posted", [False, True])
def test_an_interruption_while_workers_are_started(
    monkeypatch: pytest.MonkeyPatch, posted: bool
) -> None:
    start, started, finished = parallel.Worker.start_python, threading.Event(), []

    def interrupted(worker: parallel.Worker, task: Callable[[], None]) -> None:
        if posted:
            start(worker, task)
            assert started.wait(60)
        raise KeyboardInterrupt

    def work(start: int, stop: int) -> None:
        started.set()
        time.sleep(0.05)
        finished.append(start)

    with use_threads(2):
        parallel.parallel_for(lambda start, stop: None, 2, grain=1)
        with monkeypatch.context() as patch:
            patch.setattr(parallel.Worker, "start_python", interrupted)
            with pytest.raises(KeyboardInterrupt):
                parallel.parallel_for(work, 2, grain=1)
        assert len(finished) == 2 * posted  # the worker's chunks, and nobody is at work now
        parallel.parallel_for(work, 2, grain=1)
    assert sorted(finished) == sorted([0, 1] * (1 + posted))


@pytest.mark.parametrize("state", [spinwait.SPINNING, spinwait.PARKED])
def test_workers_are_found_spinning_or_parked(monkeypatch: pytest.MonkeyPatch, state: int) -> None:
    worker, found, both = parallel.Worker(), [], threading.Barrier(2)
    worker.patience = spinwait.ticks_for(60) if state == spinwait.SPINNING else 0

    def try_post(mailbox: int, drain: int, header: int, arguments: int) -> bool:
        found.append(spinwait.try_post(mailbox, drain, header, arguments))
        return found[-1]

    monkeypatch.setattr(parallel, "_workers", [worker])
    monkeypatch.setattr(parallel, "try_post", try_post)
    for _ in range(5):
        with use_threads(2):  # nobody passes the barrier alone
            parallel.parallel_for(lambda start, stop: both.wait(60), 2, grain=1)
        deadline = time.monotonic() + 60
        while worker.mailbox[0] != state:
            assert time.monotonic() < deadline
    assert found == [False] + [state == spinwait.SPINNING] * 4


def test_a_worker_that_is_cancelled_again_and_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is woken, but not once more for every task that it came too late for."""
    monkeypatch.setattr(parallel.Worker, "_serve", lambda worker: None)  # it comes always too late
    worker = parallel.Worker()
    for _ in range(100):
        worker.start_python(lambda: None)
        assert worker.mailbox[0] == spinwait.POSTED
        assert worker.join() is None
        assert worker.mailbox[0] == spinwait.SPINNING
        assert 1 <= worker.wakeups.qsize() <= 2


def test_an_interruption_comes_before_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def join(worker: parallel.Worker) -> BaseException:
        assert before(worker) is None
        return KeyboardInterrupt()

    def work(start: int, stop: int) -> None:
        raise ArithmeticError

    before = parallel.Worker.join
    monkeypatch.setattr(parallel.Worker, "join", join)
    with use_threads(2), pytest.raises(KeyboardInterrupt):
        parallel.parallel_for(work, 2, grain=1)


def test_a_mailbox_goes_through_its_states() -> None:
    state = np.zeros(spinwait.MAILBOX_LENGTH, np.int64)
    mailbox = state.ctypes.data
    assert not spinwait.try_post(mailbox, 0, 0, 0)
    assert not spinwait.wait_for_task(mailbox, 0)  # and parks
    assert state[0] == spinwait.PARKED
    spinwait.post(mailbox)  # before it wakes up
    assert spinwait.wait_for_task(mailbox, 0)
    assert state[0] == spinwait.RUNNING
    assert not spinwait.try_post(mailbox, 0, 0, 0)
    assert not spinwait.try_cancel(mailbox)
    assert not spinwait.wait_idle(mailbox, 0)
    spinwait.mark_idle(mailbox)
    assert spinwait.wait_idle(mailbox, 0)
    assert spinwait.try_post(mailbox, 0, 0, 0)
    assert state[0] == spinwait.POSTED
    assert spinwait.try_cancel(mailbox)
    assert state[0] == spinwait.SPINNING


def test_the_clock_ticks() -> None:
    assert spinwait.ticks_for(1e-3) > spinwait.ticks_for(1e-6) >= 1
    first = spinwait.read_ticks()
    time.sleep(0.02)
    passed = spinwait.read_ticks() - first
    assert passed > spinwait.ticks_for(0.01)  # 20 ms or more have passed


def test_a_cpu_without_a_clock_never_spins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spinwait, "read_ticks", lambda: 0)
    spinwait._ticks_per_second.cache_clear()
    try:
        assert spinwait.ticks_for(60) == 0
        assert parallel.Worker().patience == 0
    finally:
        spinwait._ticks_per_second.cache_clear()


@pytest.mark.parametrize("cores", [1, 2, 3])
def test_as_many_workers_spin_as_have_a_core(monkeypatch: pytest.MonkeyPatch, cores: int) -> None:
    monkeypatch.setattr(parallel, "_workers", [])
    monkeypatch.setattr(parallel, "available_cores", lambda: cores)
    done: list[int] = []
    with use_threads(4):
        for _ in range(3):
            parallel.parallel_for(lambda start, stop: done.append(start), 8, grain=1)
    assert sorted(done) == sorted([*range(8)] * 3)
    workers = parallel._workers
    assert [worker.patience > 0 for worker in workers] == [i < cores - 1 for i in range(3)]
    assert [worker.join_patience > 0 for worker in workers] == [i < cores - 1 for i in range(3)]
    deadline = time.monotonic() + 60
    while any(worker.mailbox[0] != spinwait.PARKED for worker in workers):
        assert time.monotonic() < deadline  # idle workers sleep


@pytest.mark.parametrize(("asked", "cores", "count"), [(32, 2, 2), (1, 2, 1), (2, 8, 2)])
def test_no_more_threads_than_cores(
    monkeypatch: pytest.MonkeyPatch, asked: int, cores: int, count: int
) -> None:
    monkeypatch.setattr(numba, "get_num_threads", lambda: asked)
    monkeypatch.setattr(parallel, "available_cores", lambda: cores)
    assert parallel.thread_count() == count
    with use_threads(7):  # as said
        assert parallel.thread_count() == 7


def test_a_chunk_may_use_kernels_itself() -> None:
    expected, results = convolve(), []
    with use_threads(3):
        parallel.parallel_for(lambda start, stop: results.append(convolve()), 6, grain=1)
    assert [r.tobytes() for r in results] == [expected.tobytes()] * 6


def test_a_number_of_threads_below_one_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 1 thread, not 0"), use_threads(0):
        pass
    with use_threads(5):
        with use_threads(1):
            assert parallel.thread_count() == 1
        assert parallel.thread_count() == 5


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_kernels_work_in_a_forked_process() -> None:
    program = """
import os, sys, warnings
sys.path.insert(0, sys.argv[1])
import test_parallel
warnings.simplefilter("ignore")  # newer Pythons warn of any fork beside threads
with test_parallel.use_threads(3):
    expected = test_parallel.convolve().tobytes()
    child = os.fork()
    if not child:
        os._exit(0 if test_parallel.convolve().tobytes() == expected else 1)
    sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
    command = [sys.executable, "-c", program, os.path.dirname(__file__)]
    assert subprocess.run(command, timeout=120, check=False).returncode == 0
