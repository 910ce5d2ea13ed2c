"""Data derived from an array, kept with it: a weight's transform, an input laid out anew.

    transformed = derived(w, "winograd", lambda: transform(w))

The law that makes this safe: only an array that nobody writes keeps what was derived from it. An
array is taken for one when it and every array that it is a view of are read-only, and NumPy then
refuses to write them. minigan's engine freezes LARGE results, and its optimisers freeze their
parameters; what must write a frozen array says so with `writable`, which forgets. So users of bare
kernels, whose arrays are writable, cannot see anything stale. (What remains: a writable view that
was made before its array was frozen.)

A kernel that knows more of its result than it was asked for leaves that with it:

    leave(y, "moments", partial)      # in the kernel
    partial = left(y, "moments")      # in the next one; None if y is not frozen as a result

It counts from when the engine freezes the result, if that comes from the kernel itself: what else
had it between might have written it. Arrays on a card cannot be made read-only: of these the
engine's results alone count as frozen, and it is the engine that keeps the law.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Hashable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import numpy as np

from .cpu.runtime.allocator import Block

LARGE = 1 << 16  # bytes, from which on freezing a result costs nothing beside computing it

_V = TypeVar("_V")
KERNELS: set[object] = set()  # all public ones
_RESULT = object()  # name of a mark: the engine had this from a kernel, and lets nobody write it

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


def leave(array: Any, name: Hashable, value: Any) -> None:
    """Keep `value` with the fresh `array` that a kernel is about to return, for `left`."""
    _keep(_memory(array)[0], array)[name] = value


def left(array: Any, name: Hashable) -> Any:
    """What was left with `array`, or derived from it; None if nothing was, or it may have been
    written since.
    """
    owner, frozen = _memory(array)
    return _values(owner, array).get(name) if frozen else None


def drop(array: np.ndarray, name: Hashable) -> None:
    """Keep what was derived from `array` by this name no longer; it can be derived again."""
    _values(_memory(array)[0], array).pop(name, None)


def forget(array: np.ndarray) -> None:
    """Drop what is kept with `array` and with any other array in the same memory."""
    _kept.pop(id(_memory(array)[0]), None)


def freeze(array: Any) -> None:
    """Make `array` read-only, and what it is a view of: now it is written within `writable` alone.

    Arrays of other kinds than NumPy's have no such flag, and stay as they are.
    """
    if isinstance(array, np.ndarray) and not _memory(array)[1]:
        forget(array)  # somebody may have written it since its kernel returned
        _freeze(array)


def freeze_result(result: Any, inputs: Iterable[Any], maker: object = None) -> None:
    """Freeze what `maker` computed from `inputs`; what was left counts if that is one of KERNELS.

    A result that lies in an input's memory stays as it is: a view of a frozen array is read-only
    already, and one of a user's array is the user's.
    """
    owner = _owner(result)
    if any(_owner(x) is owner for x in inputs):
        return
    if maker not in KERNELS:
        forget(result)
    if isinstance(result, np.ndarray):
        _freeze(result)
    elif values := _values(owner, result):
        values[_RESULT] = True


@contextmanager
def writable(*arrays: Any) -> Iterator[None]:
    """Within the block `arrays` can be written, frozen or not; forgets what is kept with them.

    Raises:
        ValueError: if one is read-only for another reason: it lies in memory that is.
    """
    locked = []
    try:
        for given in arrays:
            forget(given)
            if isinstance(given, np.ndarray):
                for array in reversed(_chain(given)):  # a view is unlocked after its base
                    if not array.flags.writeable:
                        array.flags.writeable = True
                        locked.append(array)
        yield
    finally:
        for array in locked:
            array.flags.writeable = False


def _freeze(array: np.ndarray) -> None:
    for one in _chain(array):
        one.flags.writeable = False


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


def _memory(array: Any) -> tuple[Any, bool]:
    """What owns the memory of `array`, and whether no array writes there: see the law above."""
    if not isinstance(array, np.ndarray):
        return array, _RESULT in _values(array, array)
    owner = _owner(array)
    if not isinstance(owner, np.ndarray):
        return owner, False  # a buffer, which others may write
    return owner, not any(one.flags.writeable for one in _chain(array))


def _values(owner: Any, array: Any) -> dict[Hashable, Any]:
    """The values kept with `array`, to be read."""
    return _kept.get(id(owner), {}).get(id(array), (None, {}))[1]


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
