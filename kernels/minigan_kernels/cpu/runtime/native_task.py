"""Native tasks: compiled loops whose chunks several threads run without the interpreter.

Two Python threads take the interpreter lock in turns, and the one that finds it taken falls asleep.
Handing over a chunk of work so takes tens of microseconds, as long as a small kernel. A
`NativeTask` is a compiled function with its arguments, marshalled to an array of 64-bit slots (see
`numba_abi`). A worker that polls its mailbox (see `spinwait`) starts it at once. Its threads share
one counter, and take the next chunk by an atomic addition.
"""

# mypy: disable-error-code="no-untyped-call, call-arg"
from __future__ import annotations

from array import array
from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

import numba
import numpy as np
from numba.core import types

from ..compiler.jit import jit
from ..isa.atomics import atomic_store, fetch_add
from ..isa.simd import load_int64
from .numba_abi import array_slots, caller_of, entry_point, float_slot, slot_kinds
from .workspace import Workspace, Workspaces, thread_workspaces, workspace_address

# The task header, int64 each: the first index that no thread has taken, the number of indices, how
# many make a chunk, the address of the compiled function, and whether it raised in some chunk.
NEXT, COUNT, CHUNK, FUNCTION, FAILED = range(5)


class NativeFunction(NamedTuple):
    """A compiled function for certain types of arguments."""

    address: int
    drain: Callable[[int, int], None]  # drain(header, arguments), see `make_drain`
    drain_address: int


class NativeTask:
    """function(*arguments, first, last) for a function of `jit`, over a range of indices.

    Arguments are integers, truth values, floats, arrays, tuples of these, and `Workspace`s, which
    become the address of the running thread's own.
    """

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self.function = function
        self.arguments = arguments

    def __call__(self, first: int, last: int) -> None:
        """Run the indices from `first` to `last` in this thread."""
        mine = thread_workspaces()
        given = (workspace_address(mine, a) if type(a) is Workspace else a for a in self.arguments)
        self.function(*given, first, last)

    def marshal(self, *threads: Workspaces) -> tuple[NativeFunction, list[array[int]]]:
        """The compiled function, and for each thread, given by its workspaces, the arguments as
        slots.
        """
        slots: list[int] = []
        form: list[Any] = [self.function]
        wanted: list[tuple[int, Workspace]] = []
        for argument in self.arguments:
            _append_argument(argument, slots, form, wanted)
        key = tuple(form)
        native = _natives.get(key)
        if native is None:
            native = _natives[key] = self._compiled()
        copies = [array("q", slots) for _ in threads]
        for copy, workspaces in zip(copies, threads, strict=True):
            for i, workspace in wanted:
                copy[i] = workspace_address(workspaces, workspace)
        return native, copies

    def _compiled(self) -> NativeFunction:
        given = [types.intp if type(a) is Workspace else numba.typeof(a) for a in self.arguments]
        address = entry_point(self.function, (*given, types.intp, types.intp))
        drain = make_drain("".join(map(slot_kinds, given)))
        return NativeFunction(address, drain, entry_point(drain, (types.intp, types.intp)))


_natives: dict[Any, NativeFunction] = {}  # by function and form of arguments


def _append_argument(
    value: Any, slots: list[int], form: list[Any], wanted: list[tuple[int, Workspace]]
) -> None:
    """Append an argument's slots, and to `form` all that its Numba type depends on."""
    kind = type(value)
    if kind is int or kind is bool or kind is np.int64:
        slots.append(int(value))
    elif kind is Workspace:
        wanted.append((len(slots), value))
        slots.append(0)
        kind = int
    elif kind is np.ndarray:
        slots += array_slots(value)
        form += value.dtype, value.ndim, value.flags.num
    elif isinstance(value, float):
        slots.append(float_slot(value))
    elif issubclass(kind, tuple):
        form.append(len(value))
        if [*map(type, value)].count(int) == len(value):
            slots += value
        else:
            for member in value:
                _append_argument(member, slots, form, wanted)
    else:
        raise TypeError(
            f"a native task cannot take an argument of type {kind.__name__}: pass integers, "
            "floats, arrays, Workspaces, or tuples of these"
        )
    form.append(kind)


@cache
def make_drain(kinds: str) -> Callable[[int, int], None]:
    """drain(header, arguments): run chunks of a task until none is left, by a function whose
    arguments are slots of these kinds.
    """
    call = caller_of(kinds)

    def drain(header: int, arguments: int) -> None:
        count: int = load_int64(header + 8 * COUNT)
        chunk: int = load_int64(header + 8 * CHUNK)
        function: int = load_int64(header + 8 * FUNCTION)
        first = fetch_add(header + 8 * NEXT, chunk)
        while first < count:
            if not call(function, arguments, first, min(first + chunk, count)):
                atomic_store(header + 8 * FAILED, 1)
            first = fetch_add(header + 8 * NEXT, chunk)

    drain.__qualname__ = f"drain_{_run_lengths(kinds)}"  # which names its file in the cache on disk
    compiled: Callable[[int, int], None] = jit()(drain)
    return compiled


def _run_lengths(kinds: str) -> str:
    """How often each letter follows itself: "iiif" is "3i1f"."""
    parts: list[str] = []
    while kinds:
        rest = kinds.lstrip(kinds[0])
        parts.append(f"{len(kinds) - len(rest)}{kinds[0]}")
        kinds = rest
    return "".join(parts)
