"""Data derived from an array, kept with it: a weight's transform, an input laid out anew.

    transformed = derived(w, "winograd", lambda: transform(w))

The law that makes this safe: only an array that nobody writes keeps what was derived from it. An
array is taken for one when it and every array that it is a view of are read-only, and NumPy then
refuses to write them. minigan's engine freezes LARGE results, and its optimisers freeze their
parameters; what must write a frozen array says so with `writable`, which forgets. So users of bare
kernels, whose arrays are writable, cannot see anything stale. (What remains: a writable view that
was made before its array was frozen.)
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Hashable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import numpy as np

from .cpu.memory import Block

LARGE = 1 << 16  # bytes, from which on freezing a result costs nothing beside computing it

_V = TypeVar("_V")

# Memory (the id of what owns it) -> array in it (its id) -> the array, and what was derived from it
# by name. An array keeps its memory alive, and takes its entry with it.
_kept: dict[int, dict[int, tuple[weakref.ref[np.ndarray], dict[Hashable, Any]]]] = {}


def derived(array: np.ndarray, name: Hashable, compute: Callable[[], _V]) -> _V:
    """compute(), which depends on `array` and `name` alone; kept while a frozen array lives."""
    owner, frozen = _memory(array)
    if not frozen:
        return compute()
    arrays = _kept.get(id(owner), {})
    if id(array) in arrays:
        values = arrays[id(array)][1]
        if name in values:
            return values[name]
    value = compute()
    _keep(owner, array)[name] = value
    return value


def forget(array: np.ndarray) -> None:
    """Drop what is kept with `array` and with any other array in the same memory."""
    _kept.pop(id(_memory(array)[0]), None)


def freeze(array: Any) -> None:
    """Make `array` read-only, and what it is a view of: now it is written within `writable` alone.

    Arrays of other kinds than NumPy's have no such flag, and stay as they are.
    """
    if isinstance(array, np.ndarray):
        for one in _chain(array):
            one.flags.writeable = False


def freeze_result(result: Any, inputs: Iterable[Any]) -> None:
    """Freeze what a kernel computed from `inputs`.

    A result that lies in an input's memory stays as it is: a view of a frozen array is read-only
    already, and one of a user's array is the user's.
    """
    if isinstance(result, np.ndarray):
        owner = _owner(result)
        if not any(_owner(x) is owner for x in inputs):
            freeze(result)


@contextmanager
def writable(*arrays: Any) -> Iterator[None]:
    """Within the block `arrays` can be written, frozen or not; forgets what is kept with them.

    Raises:
        ValueError: if one is read-only for another reason: it lies in memory that is.
    """
    locked = []
    try:
        for given in arrays:
            if isinstance(given, np.ndarray):
                forget(given)
                for array in reversed(_chain(given)):  # a view is unlocked after its base
                    if not array.flags.writeable:
                        array.flags.writeable = True
                        locked.append(array)
        yield
    finally:
        for array in locked:
            array.flags.writeable = False


def _chain(array: np.ndarray) -> list[np.ndarray]:
    """`array`, what it is a view of, and so on; not the pool's blocks, which nobody else sees."""
    chain = [array]
    while isinstance(array.base, np.ndarray) and type(array.base) is not Block:
        array = array.base
        chain.append(array)
    return chain


def _owner(array: Any) -> Any:
    """What owns the memory of `array`: an array, a block of the pool, or somebody's buffer."""
    while isinstance(array, np.ndarray) and array.base is not None:
        array = array.base
        if type(array) is Block:
            break
    return array


def _memory(array: np.ndarray) -> tuple[Any, bool]:
    """What owns the memory of `array`, and whether no array writes there: see the law above."""
    owner = _owner(array)
    if not isinstance(owner, np.ndarray):
        return owner, False  # a buffer, which others may write
    return owner, not any(one.flags.writeable for one in _chain(array))


def _keep(owner: Any, array: np.ndarray) -> dict[Hashable, Any]:
    """Where the values derived from `array` are kept."""
    memory, key = id(owner), id(array)

    def dies(_: object) -> None:
        arrays = _kept.get(memory, {})
        arrays.pop(key, None)
        if not arrays:
            _kept.pop(memory, None)

    arrays = _kept.setdefault(memory, {})
    if key not in arrays:
        arrays[key] = weakref.ref(array, dies), {}
    return arrays[key][1]
