"""Memory as the compiled loops see it: an address."""

from __future__ import annotations

import threading
from typing import Any, NamedTuple

import numpy as np

from .allocator import ALIGNMENT, HUGE, empty

_local = threading.local()


def aligned_bytes(size: int) -> np.ndarray:
    """Room for `size` bytes from a cache line on."""
    return empty((_room(size),), np.uint8)


class Workspace(NamedTuple):
    """Room for `size` bytes that each thread has for itself, until it next asks for `name`."""

    name: str
    size: int


def thread_workspaces() -> dict[str, Any]:
    """This thread's rooms."""
    rooms: dict[str, Any] | None = getattr(_local, "rooms", None)
    if rooms is None:
        rooms = _local.rooms = {}
    return rooms


def adopt_workspaces(rooms: dict[str, Any]) -> None:
    """Have these rooms for this thread's own: another thread may then prepare them."""
    _local.rooms = rooms


def workspace_address(rooms: dict[str, Any], wanted: Workspace) -> int:
    """Where the room wanted is, of a thread that has these."""
    name, size = wanted
    if name not in rooms or rooms[name][0] < size:
        room = np.empty(_room(size), np.uint8)
        rooms[name] = size, address(room), room
    place: int = rooms[name][1]
    return place


def address(array: np.ndarray) -> int:
    """Where an array begins; for bytes, the first cache line in it."""
    start: int = array.ctypes.data
    return -(-start // ALIGNMENT) * ALIGNMENT if array.dtype == np.uint8 else start


def _room(size: int) -> int:
    """`size` bytes, with room to begin at a cache line.

    NumPy asks for huge pages from 4 MB on. The loops walk along dozens of planes at once, and with
    small pages they would wait for the table of pages.
    """
    size += ALIGNMENT
    return max(size, HUGE) if size >= HUGE // 4 else size
