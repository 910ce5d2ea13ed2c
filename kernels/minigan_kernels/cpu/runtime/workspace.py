"""Workspaces: memory by name that each thread keeps from call to call, for what lasts no longer.

A compiled function sees one as an address, Python code as an array. Either is valid until the same
thread next asks for that name.
"""

from __future__ import annotations

import math
import threading
from typing import NamedTuple

import numpy as np

from .allocator import ALIGNMENT, HUGE, empty


class Workspace(NamedTuple):
    """A request for `size_bytes` bytes by `name`: an argument of a `NativeTask`."""

    name: str
    size_bytes: int


class Buffer(NamedTuple):
    """The memory that a thread has under a name."""

    address: int
    memory: np.ndarray  # as many bytes as the largest request so far, from `address` on


Workspaces = dict[str, Buffer]

_local = threading.local()


def thread_workspaces() -> Workspaces:
    """This thread's workspaces by name."""
    workspaces: Workspaces | None = getattr(_local, "workspaces", None)
    if workspaces is None:
        workspaces = _local.workspaces = {}
    return workspaces


def adopt_workspaces(workspaces: Workspaces) -> None:
    """Make these the workspaces of this thread, so that a caller can allocate them beforehand."""
    _local.workspaces = workspaces


def workspace_address(workspaces: Workspaces, wanted: Workspace) -> int:
    """Address of the workspace wanted, of the thread that has `workspaces`."""
    name, size_bytes = wanted
    return _buffer(workspaces, name, size_bytes).address


def workspace_array(name: str, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """This thread's workspace `name` as an array of any content."""
    size_bytes = math.prod(shape) * dtype.itemsize
    return np.ndarray(shape, dtype, _buffer(thread_workspaces(), name, size_bytes).memory)


def aligned_bytes(size_bytes: int) -> np.ndarray:
    """An array of bytes that has `size_bytes` from its first cache line on (see `address`)."""
    return empty((_padded(size_bytes),), np.uint8)


def address(array: np.ndarray) -> int:
    """Address of an array's first element, or for bytes of the first cache line in them."""
    start: int = array.ctypes.data
    return -(-start // ALIGNMENT) * ALIGNMENT if array.dtype == np.uint8 else start


def _buffer(workspaces: Workspaces, name: str, size_bytes: int) -> Buffer:
    buffer = workspaces.get(name)
    if buffer is None or buffer.memory.size < size_bytes:
        memory = np.empty(_padded(size_bytes), np.uint8)
        start = address(memory)
        skipped = start - memory.ctypes.data
        buffer = Buffer(start, memory[skipped : skipped + size_bytes])
        workspaces[name] = buffer
    return buffer


def _padded(size_bytes: int) -> int:
    """`size_bytes` with padding to begin at a cache line.

    NumPy asks for huge pages from 4 MB on. Compiled loops walk along dozens of planes at once, and
    with small pages they would wait for the page table.
    """
    size_bytes += ALIGNMENT
    return max(size_bytes, HUGE) if size_bytes >= HUGE // 4 else size_bytes
