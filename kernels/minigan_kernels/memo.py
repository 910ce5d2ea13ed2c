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
could have written the array.

Arrays on a GPU have no read-only flag. There an array counts as frozen, and so do its views, once
`freeze` was called on it, as optimisers do with their parameters; of results only those with
attached values. Nothing refuses a write outside of `writable`, so on a GPU the law binds whoever
writes: code that runs on both devices keeps it, because NumPy raises where it does not.

Work that a device captures (`capturing`) runs later, and again and again, on the addresses that it
saw. So it uses no value from before and leaves none behind: what it needs it computes itself, at
the same place in each run. After each run, `Capture.invalidate` drops what it made stale.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Hashable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
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
has_entry = _entries.__contains__  # whether memory has one, by the id of its owner
_frozen_on_gpu: dict[int, weakref.ref[Any]] = {}  # arrays on which `freeze` was called, by id


class Capture:
    """What a captured piece of work memoizes for itself, and the memory that it writes."""

    def __init__(self) -> None:
        self.written: dict[int, Any] = {}  # what owns it, by id
        self.values: list[tuple[dict[Hashable, Any], Hashable]] = []  # where each is kept, its key

    def invalidate(self) -> None:
        """Drop the values of what the work writes; to be called whenever it has been run."""
        for owner in self.written:
            _entries.pop(owner, None)


_capture: ContextVar[Capture | None] = ContextVar("capture", default=None)


@contextmanager
def capturing() -> Iterator[Capture]:
    """Within the block work is captured rather than done: its memoized values are its own."""
    capture = Capture()
    token = _capture.set(capture)
    try:
        yield capture
    finally:
        _capture.reset(token)
        for values, key in capture.values:
            values.pop(key, None)
        capture.values.clear()


def memoize(array: np.ndarray, key: Hashable, compute: Callable[[], _V]) -> _V:
    """compute(), which depends on `array` and `key` alone; kept while a frozen `array` lives."""
    owner, frozen = _memory(array)
    if not frozen:
        return compute()
    if capture := _capture.get():
        key = capture, key
    arrays = _entries.get(id(owner), {})
    if id(array) in arrays:
        values = arrays[id(array)][1]
        if key in values:
            return values[key]
    value = compute()
    values = _entry(owner, array)
    values[key] = value
    if capture:
        capture.values.append((values, key))
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

    An array on a GPU only counts as read-only from then on: see the law above.
    """
    owner, frozen = _memory(array)
    if not frozen:
        invalidate(array)  # somebody may have written it since its kernel returned
    if not isinstance(array, np.ndarray):
        number = id(owner)
        _frozen_on_gpu[number] = weakref.ref(owner, lambda _: _frozen_on_gpu.pop(number, None))
    elif not frozen:
        _freeze(array)


def is_frozen(array: Any) -> bool:
    """Whether nobody writes `array`: see the law above."""
    return _memory(array)[1]


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
    locked: list[np.ndarray] = []
    on_gpu: list[weakref.ref[Any]] = []
    if capture := _capture.get():
        capture.written |= {id(owner): owner for owner in map(_owner, arrays)}
    try:
        for given in arrays:
            invalidate(given)
            if not isinstance(given, np.ndarray):
                if mark := _frozen_on_gpu.pop(id(_owner(given)), None):
                    on_gpu.append(mark)
            else:
                for array in reversed(_chain(given)):  # a view is unlocked after its base
                    if not array.flags.writeable:
                        array.flags.writeable = True
                        locked.append(array)
        yield
    finally:
        for array in locked:
            array.flags.writeable = False
        _frozen_on_gpu.update((id(mark()), mark) for mark in on_gpu)


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
    while isinstance(array, np.ndarray) or hasattr(type(array), "__cuda_array_interface__"):
        if getattr(array, "base", None) is None:
            break
        array = array.base
        if type(array) in OWNERS:
            break
    return array


def _memory(array: Any) -> tuple[Any, bool]:
    """What owns the memory of `array`, and whether no array writes there: see the law above."""
    owner = _owner(array)
    if not isinstance(array, np.ndarray):
        return owner, id(owner) in _frozen_on_gpu or _RESULT in _values(owner, array)
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
