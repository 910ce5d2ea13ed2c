"""Values memoized with the array that they depend on: a transformed weight, a repacked input.

    transformed = memoize(w, "winograd", lambda: transform(w))

The law that makes this safe: values are kept only with an array that nobody writes. An array counts
as frozen when it and every array that it is a view of are read-only; NumPy then refuses to write
them. minigan's engine freezes LARGE results, and its optimisers freeze their parameters. Code that
must write a frozen array does so within `writable`, which invalidates the values. So users of the
bare kernels, whose arrays are writable, never see a stale value. (One gap remains: a writable view
that was made before its array was frozen.)

A kernel that knows more about its result than it was asked for can attach that:

    attach(y, "moments", partial)       # in the kernel
    partial = attached(y, "moments")    # in the next one; None if y is not a frozen result

An attached value becomes valid once the engine freezes the kernel's result. Before that, other code
could have written the array. Arrays on a GPU cannot be made read-only. There only results of the
engine count as frozen, and the engine keeps the law itself.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Hashable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import numpy as np

LARGE = 1 << 16  # bytes: freezing a result of that size costs nothing beside computing it

_V = TypeVar("_V")
KERNELS: set[object] = set()  # all public kernels
OWNERS: set[type] = set()  # array types that only own memory, and are nobody's array: pool blocks
_RESULT = object()  # key of a mark: a kernel gave this array to the engine, and nobody writes it

# Memory (id of its owner) -> array in it (its id) -> the array, and its values by key. An array
# keeps its memory alive, and its entry dies with it.
_entries: dict[int, dict[int, tuple[weakref.ref[np.ndarray], dict[Hashable, Any]]]] = {}


def memoize(array: np.ndarray, key: Hashable, compute: Callable[[], _V]) -> _V:
    """compute(), which depends on `array` and `key` alone; kept while a frozen `array` lives."""
    owner, frozen = _memory(array)
    if not frozen:
        return compute()
    arrays = _entries.get(id(owner), {})
    if id(array) in arrays:
        values = arrays[id(array)][1]
        if key in values:
            return values[key]
    value = compute()
    _entry(owner, array)[key] = value
    return value


def attach(array: Any, key: Hashable, value: Any) -> None:
    """Attach `value` to the fresh `array` that a kernel is about to return, for `attached`."""
    _entry(_memory(array)[0], array)[key] = value


def attached(array: Any, key: Hashable) -> Any:
    """The value attached to `array`, or memoized with it; None if there is none, or if somebody may
    have written the array since.
    """
    owner, frozen = _memory(array)
    return _values(owner, array).get(key) if frozen else None


def evict(array: np.ndarray, key: Hashable) -> None:
    """Drop the value of this key to save memory; it can be computed again."""
    _values(_memory(array)[0], array).pop(key, None)


def invalidate(array: np.ndarray) -> None:
    """Drop the values of `array` and of every other array in the same memory."""
    _entries.pop(id(_memory(array)[0]), None)


def entries(array: Any) -> dict[Hashable, Any]:
    """All that is attached to `array` or memoized with it, valid or not, by key: a copy."""
    values = _values(_owner(array), array)
    return {key: value for key, value in values.items() if key is not _RESULT}


def entry_count() -> int:
    """How many arrays have an entry now."""
    return sum(map(len, _entries.values()))


def freeze(array: Any) -> None:
    """Make `array`, and what it is a view of, read-only: only `writable` lifts that.

    Arrays of other types than NumPy's have no such flag, and stay as they are.
    """
    if isinstance(array, np.ndarray) and not _memory(array)[1]:
        invalidate(array)  # somebody may have written it since its kernel returned
        _freeze(array)


def freeze_result(result: Any, inputs: Iterable[Any], maker: object = None) -> None:
    """Freeze what `maker` computed from `inputs`; attached values stay if it is one of KERNELS.

    A result that shares an input's memory stays as it is: a view of a frozen array is read-only
    already, and a view of a user's array belongs to the user.
    """
    owner = _owner(result)
    if any(_owner(x) is owner for x in inputs):
        return
    if maker not in KERNELS:
        invalidate(result)
    if isinstance(result, np.ndarray):
        _freeze(result)
    elif values := _values(owner, result):
        values[_RESULT] = True


@contextmanager
def writable(*arrays: Any) -> Iterator[None]:
    """Within the block `arrays` can be written, frozen or not; their values are invalidated.

    Raises:
        ValueError: if one cannot be made writable, because its memory is read-only.
    """
    locked = []
    try:
        for given in arrays:
            invalidate(given)
            if isinstance(given, np.ndarray):
                for array in reversed(_chain(given)):  # NumPy unlocks a view only after its base
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
    """`array`, what it is a view of, and so on; without a pool block, which nobody else sees."""
    chain = [array]
    while isinstance(array.base, np.ndarray) and type(array.base) not in OWNERS:
        array = array.base
        chain.append(array)
    return chain


def _owner(array: Any) -> Any:
    """What owns the memory of `array`: an array, a block of the pool, or somebody's buffer."""
    while isinstance(array, np.ndarray) and array.base is not None:
        array = array.base
        if type(array) in OWNERS:
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
    """The values of `array`, to be read."""
    return _entries.get(id(owner), {}).get(id(array), (None, {}))[1]


def _entry(owner: Any, array: np.ndarray) -> dict[Hashable, Any]:
    """The values of `array`, to be added to."""
    memory, key = id(owner), id(array)

    def dies(_: object) -> None:
        arrays = _entries.get(memory, {})
        arrays.pop(key, None)
        if not arrays:
            _entries.pop(memory, None)

    arrays = _entries.setdefault(memory, {})
    if key not in arrays:
        arrays[key] = weakref.ref(array, dies), {}
    return arrays[key][1]
