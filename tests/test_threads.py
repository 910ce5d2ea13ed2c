"""The kernels' threads: helpers, errors, interruptions, forks, and NumPy's threads beside them."""

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


def test_an_error_in_a_piece_reaches_the_caller(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(numba, "get_num_threads", lambda: 3)

    def work(start: int, stop: int) -> None:
        if threading.current_thread() is not threading.main_thread() or start > 500:
            raise ArithmeticError(start, stop)

    with pytest.raises(ArithmeticError):
        parallel.parallel_for(work, 1000, grain=1)


def test_an_interrupted_caller_waits_for_its_helpers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(numba, "get_num_threads", lambda: 2)
    helping, finished = threading.Event(), []

    def work(start: int, stop: int) -> None:
        if threading.current_thread() is threading.main_thread():
            assert helping.wait(60)  # a helper is at work now
            raise KeyboardInterrupt
        helping.set()
        time.sleep(0.05)
        finished.append(start)

    with pytest.raises(KeyboardInterrupt):
        parallel.parallel_for(work, 2, grain=1)
    assert finished
    expected = convolve()
    monkeypatch.undo()
    assert convolve().tobytes() == expected.tobytes()


@pytest.mark.parametrize("told", [False, True])
def test_an_interruption_while_helpers_are_told(
    monkeypatch: pytest.MonkeyPatch, told: bool
) -> None:
    monkeypatch.setattr(numba, "get_num_threads", lambda: 2)
    begin, started, finished = parallel.Worker.begin_python, threading.Event(), []

    def interrupted(helper: parallel.Worker, work: Callable[[], None]) -> None:
        if told:
            begin(helper, work)
            assert started.wait(60)
        raise KeyboardInterrupt

    def work(start: int, stop: int) -> None:
        started.set()
        time.sleep(0.05)
        finished.append(start)

    parallel.parallel_for(lambda start, stop: None, 2, grain=1)
    with monkeypatch.context() as patch:
        patch.setattr(parallel.Worker, "begin_python", interrupted)
        with pytest.raises(KeyboardInterrupt):
            parallel.parallel_for(work, 2, grain=1)
    assert len(finished) == 2 * told  # the helper's pieces, and nobody is at work now
    parallel.parallel_for(work, 2, grain=1)
    assert sorted(finished) == sorted([0, 1] * (1 + told))


@pytest.mark.parametrize("state", [spinwait.SPINNING, spinwait.PARKED])
def test_helpers_are_found_awake_or_asleep(monkeypatch: pytest.MonkeyPatch, state: int) -> None:
    helper, found, both = parallel.Worker(), [], threading.Barrier(2)
    helper.awhile = spinwait.spins_for(60) if state == spinwait.SPINNING else 1

    def call(place: int, share: int, job: int, arguments: int) -> bool:
        found.append(spinwait.try_post(place, share, job, arguments))
        return found[-1]

    monkeypatch.setattr(numba, "get_num_threads", lambda: 2)
    monkeypatch.setattr(parallel, "_helpers", [helper])
    monkeypatch.setattr(parallel, "try_post", call)
    for _ in range(5):
        parallel.parallel_for(lambda start, stop: both.wait(60), 2, grain=1)  # nobody passes alone
        deadline = time.monotonic() + 60
        while helper.words[0] != state:
            assert time.monotonic() < deadline
    assert found == [False] + [state == spinwait.SPINNING] * 4


def test_a_helper_that_is_called_off_again_and_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is woken, but not once more for every call that it came too late for."""
    monkeypatch.setattr(parallel.Worker, "_serve", lambda helper: None)  # it comes always too late
    helper = parallel.Worker()
    for _ in range(100):
        helper.begin_python(lambda: None)
        assert helper.words[0] == spinwait.POSTED
        assert helper.end() is None
        assert helper.words[0] == spinwait.SPINNING
        assert 1 <= helper.wakeups.qsize() <= 2


def test_an_interruption_comes_before_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def end(helper: parallel.Worker) -> BaseException:
        assert before(helper) is None
        return KeyboardInterrupt()

    def work(start: int, stop: int) -> None:
        raise ArithmeticError

    before = parallel.Worker.end
    monkeypatch.setattr(numba, "get_num_threads", lambda: 2)
    monkeypatch.setattr(parallel.Worker, "end", end)
    with pytest.raises(KeyboardInterrupt):
        parallel.parallel_for(work, 2, grain=1)


def test_a_helper_is_called_where_it_is_awake() -> None:
    words = np.zeros(spinwait.MAILBOX_WORDS, np.int64)
    place = words.ctypes.data
    assert not spinwait.try_post(place, 0, 0, 0)
    assert not spinwait.wait_for_task(place, 5)  # and falls asleep
    assert words[0] == spinwait.PARKED
    spinwait.post(place)  # before it wakes up
    assert spinwait.wait_for_task(place, 5)
    assert words[0] == spinwait.RUNNING
    assert not spinwait.try_post(place, 0, 0, 0)
    assert not spinwait.try_cancel(place)
    assert not spinwait.wait_idle(place, 5)
    spinwait.mark_idle(place)
    assert spinwait.wait_idle(place, 5)
    assert spinwait.try_post(place, 0, 0, 0)
    assert words[0] == spinwait.POSTED
    assert spinwait.try_cancel(place)
    assert words[0] == spinwait.SPINNING


def test_looks_take_time() -> None:
    assert spinwait.spins_for(1e-3) > spinwait.spins_for(1e-6) >= 1


def test_a_piece_may_use_kernels_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(numba, "get_num_threads", lambda: 3)
    expected, results = convolve(), []
    parallel.parallel_for(lambda start, stop: results.append(convolve()), 6, grain=1)
    assert [r.tobytes() for r in results] == [expected.tobytes()] * 6


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_kernels_work_in_a_forked_process() -> None:
    program = """
import os, sys, warnings, numba
sys.path.insert(0, sys.argv[1])
import test_threads
numba.get_num_threads = lambda: 3
expected = test_threads.convolve().tobytes()
warnings.simplefilter("ignore")  # newer Pythons warn of any fork beside threads
child = os.fork()
if not child:
    os._exit(0 if test_threads.convolve().tobytes() == expected else 1)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
    command = [sys.executable, "-c", program, os.path.dirname(__file__)]
    assert subprocess.run(command, timeout=120, check=False).returncode == 0
