"""Compiled loops called by their addresses: arguments as words, pieces, threads, failures."""

from __future__ import annotations

from typing import Any, NamedTuple

import numba
import numpy as np
import pytest
from minigan_kernels.cpu.compiler.jit import jit
from minigan_kernels.cpu.isa.atomics import atomic_load, atomic_store, pause
from minigan_kernels.cpu.runtime import parallel, spinwait
from minigan_kernels.cpu.runtime.allocator import empty
from minigan_kernels.cpu.runtime.native_task import NativeTask
from minigan_kernels.cpu.runtime.workspace import (
    Workspace,
    address,
    thread_workspaces,
    workspace_address,
)


class Line(NamedTuple):
    slope: int
    falling: bool
    shift: float


class Nested(NamedTuple):
    inner: Line
    table: np.ndarray


@jit()
def _fill(
    nested: Nested,
    x: np.ndarray,
    planes: np.ndarray,
    pair: tuple[int, int],
    ratio: float,
    room: int,
    first: int,
    last: int,
) -> None:
    line = nested.inner
    for i in range(first, last):
        sign = -1 if line.falling else 1
        x[i] = sign * line.slope * i + line.shift + ratio * pair[1] + nested.table[i % 3]
        x[i] += planes[1, i % 2, 2] + pair[0] + (room % 64)


@jit()
def _fail(x: np.ndarray, first: int, last: int) -> None:
    if first > 50:
        raise ValueError("on purpose")
    x[first:last] = 1


def arguments(x: np.ndarray, *, falling: bool) -> tuple[Any, ...]:
    planes = np.arange(12.0, dtype=np.float32).reshape(2, 3, 2).transpose(0, 2, 1)  # strided
    line = Line(3, falling, 0.25)
    return Nested(line, np.array([1.0, 10, 100])), x, planes, (5, 7), 0.5, Workspace("room", 100)


@pytest.mark.parametrize("count", [1, 2, 3])
@pytest.mark.parametrize("falling", [False, True])
def test_pieces_on_threads_do_what_one_call_does(
    monkeypatch: pytest.MonkeyPatch, count: int, falling: bool
) -> None:
    monkeypatch.setattr(numba, "get_num_threads", lambda: count)
    expected, found = np.zeros(101), np.zeros(101)
    NativeTask(_fill, *arguments(expected, falling=falling))(0, 101)
    parallel.parallel_for(NativeTask(_fill, *arguments(found, falling=falling)), 101, grain=7)
    assert found.tobytes() == expected.tobytes()
    assert len(set(found)) > 50


@jit()
def _remember(seen: np.ndarray, room: int, first: int, last: int) -> None:
    seen[first:last] = room


def test_arguments_of_another_form_are_another_function() -> None:
    def words(x: np.ndarray, ratio: Any) -> Any:
        return NativeTask(_remember, x, ratio).words({})[0]

    wide, narrow = np.zeros(4, np.int64), np.zeros(4, np.int32)
    fixed = np.zeros(4, np.int64)
    fixed.setflags(write=False)
    alike = {words(wide, 1), words(np.zeros(9, np.int64), 2), words(wide, np.int64(3))}
    assert len(alike) == 1
    assert len(alike | {words(narrow, 1), words(wide[::2], 1), words(wide, 1.0)}) == 4
    with pytest.raises(TypeError, match="no form as words"):
        words(wide, "x")


@pytest.mark.parametrize("count", [1, 2])
def test_a_loop_that_fails_says_so(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    monkeypatch.setattr(numba, "get_num_threads", lambda: count)
    x = np.zeros(100)
    with pytest.raises((RuntimeError, ValueError)):
        parallel.parallel_for(NativeTask(_fail, x), 100, grain=10)
    assert x[:60].all()


@pytest.mark.parametrize("state", [spinwait.SPINNING, spinwait.PARKED])
def test_helpers_take_part_in_rooms_of_their_own(
    monkeypatch: pytest.MonkeyPatch, state: int
) -> None:
    """Neither thread gets on before the other has come."""
    helper = parallel.Worker()
    helper.awhile = spinwait.spins_for(60) if state == spinwait.SPINNING else 1
    monkeypatch.setattr(numba, "get_num_threads", lambda: 2)
    monkeypatch.setattr(parallel, "_helpers", [helper])
    for _ in range(20):
        met = empty((2,), np.int64)
        met[:] = 0
        parallel.parallel_for(NativeTask(_meet, address(met), Workspace("met", 64)), 2, grain=1)
        assert workspace_address(thread_workspaces(), Workspace("met", 64)) in met
        assert len({0, *met.tolist()}) == 3


@jit()
def _meet(met: int, room: int, first: int, last: int) -> None:
    atomic_store(met + 8 * first, room)
    while atomic_load(met + 8 * (1 - first)) == 0:
        pause()
