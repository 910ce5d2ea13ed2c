"""Native tasks: arguments as slots, chunks, threads, workspaces, failures."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pytest
from minigan_kernels.cpu.compiler.jit import jit
from minigan_kernels.cpu.isa.atomics import atomic_load, atomic_store, pause
from minigan_kernels.cpu.runtime import parallel, spinwait
from minigan_kernels.cpu.runtime.allocator import ALIGNMENT, empty
from minigan_kernels.cpu.runtime.native_task import NativeTask
from minigan_kernels.cpu.runtime.parallel import use_threads
from minigan_kernels.cpu.runtime.workspace import (
    Workspace,
    address,
    thread_workspaces,
    workspace_address,
    workspace_array,
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
    workspace: int,
    first: int,
    last: int,
) -> None:
    line = nested.inner
    for i in range(first, last):
        sign = -1 if line.falling else 1
        x[i] = sign * line.slope * i + line.shift + ratio * pair[1] + nested.table[i % 3]
        x[i] += planes[1, i % 2, 2] + pair[0] + (workspace % 64)


@jit()
def _fail(x: np.ndarray, first: int, last: int) -> None:
    if first > 50:
        raise ValueError("on purpose")
    x[first:last] = 1


def arguments(x: np.ndarray, *, falling: bool) -> tuple[Any, ...]:
    planes = np.arange(12.0, dtype=np.float32).reshape(2, 3, 2).transpose(0, 2, 1)  # strided
    line = Line(3, falling, 0.25)
    return Nested(line, np.array([1.0, 10, 100])), x, planes, (5, 7), 0.5, Workspace("fill", 100)


@pytest.mark.parametrize("count", [1, 2, 3])
@pytest.mark.parametrize("falling", [False, True])
def test_chunks_on_threads_do_what_one_call_does(count: int, falling: bool) -> None:
    expected, found = np.zeros(101), np.zeros(101)
    NativeTask(_fill, *arguments(expected, falling=falling))(0, 101)
    with use_threads(count):
        parallel.parallel_for(NativeTask(_fill, *arguments(found, falling=falling)), 101, grain=7)
    assert found.tobytes() == expected.tobytes()
    assert len(set(found)) > 50


@jit()
def _remember(seen: np.ndarray, workspace: int, first: int, last: int) -> None:
    seen[first:last] = workspace


def test_arguments_of_another_form_are_another_function() -> None:
    def function(x: np.ndarray, ratio: Any) -> Any:
        return NativeTask(_remember, x, ratio).marshal({})[0]

    wide, narrow = np.zeros(4, np.int64), np.zeros(4, np.int32)
    fixed = np.zeros(4, np.int64)
    fixed.setflags(write=False)
    alike = {function(wide, 1), function(np.zeros(9, np.int64), 2), function(wide, np.int64(3))}
    assert len(alike) == 1
    assert len(alike | {function(narrow, 1), function(wide[::2], 1), function(wide, 1.0)}) == 4
    with pytest.raises(TypeError, match="cannot take an argument of type str"):
        function(wide, "x")


@pytest.mark.parametrize("count", [1, 2])
def test_a_task_that_fails_says_so(count: int) -> None:
    x = np.zeros(100)
    with use_threads(count), pytest.raises((RuntimeError, ValueError)):
        parallel.parallel_for(NativeTask(_fail, x), 100, grain=10)
    assert x[:60].all()


@pytest.mark.parametrize("state", [spinwait.SPINNING, spinwait.PARKED])
def test_workers_take_part_in_workspaces_of_their_own(
    monkeypatch: pytest.MonkeyPatch, state: int
) -> None:
    """Neither thread gets on before the other has come."""
    worker = parallel.Worker()
    worker.patience = spinwait.ticks_for(60) if state == spinwait.SPINNING else 0
    monkeypatch.setattr(parallel, "_workers", [worker])
    for _ in range(20):
        met = empty((2,), np.int64)
        met[:] = 0
        with use_threads(2):
            parallel.parallel_for(NativeTask(_meet, address(met), Workspace("met", 64)), 2, grain=1)
        assert workspace_address(thread_workspaces(), Workspace("met", 64)) in met
        assert len({0, *met.tolist()}) == 3


@jit()
def _meet(met: int, workspace: int, first: int, last: int) -> None:
    atomic_store(met + 8 * first, workspace)
    while atomic_load(met + 8 * (1 - first)) == 0:
        pause()


def test_a_workspace_is_the_same_memory_as_an_address_and_as_an_array() -> None:
    array = workspace_array("views", (3, 5), np.dtype(np.float64))
    start = workspace_address(thread_workspaces(), Workspace("views", 64))  # smaller: no new memory
    assert start == array.ctypes.data
    assert start % ALIGNMENT == 0
    assert workspace_array("views", (2, 0), np.dtype(np.float32)).size == 0
    larger = workspace_array("views", (1000,), np.dtype(np.float32))
    assert larger.ctypes.data != start
    assert larger.ctypes.data % ALIGNMENT == 0
    larger[...] = 1
    again = workspace_array("views", (1000,), np.dtype(np.float32))
    assert again.all()
    assert workspace_array("other", (1000,), np.dtype(np.float32)).ctypes.data != again.ctypes.data


def test_functions_that_differ_by_what_they_close_over_differ_by_name() -> None:
    """The linker tells compiled functions apart by their names alone, also those in other files of
    the cache: of two with one name it would take either.
    """
    from minigan_kernels.cpu.conv.winograd.addresses import addresses

    schemes = [(2, 2), (4, 2), (2, 3), (4, 3)]
    names = [function.__qualname__ for scheme in schemes for function in addresses(*scheme)]
    assert len(set(names)) == 3 * len(schemes)
