"""Compiled loops that run in pieces on several threads without the interpreter.

Two threads of Python take the interpreter lock in turns, and the one that finds it taken falls
asleep: handing a piece to another thread so takes tens of microseconds, as long as a small kernel.
A `Loop` is a compiled function by its address, with its arguments as plain words of 64 bits. A
thread that looks for work (see `awake`) calls it right away, and the pieces are dealt out by one
atomic addition each.

A word stands for what Numba's calling convention passes: a whole number, a truth value or an
address for itself, a float by its bits; a tuple is its members one after the other, and an array
five words and more: no owner of its memory (two), its size, the bytes of an element, its address,
then lengths and steps.
"""

# mypy: disable-error-code="no-untyped-def, no-untyped-call, misc, attr-defined, call-arg"
from __future__ import annotations

import struct
from array import array
from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

import numba
import numpy as np
from llvmlite import ir
from numba.core import cgutils, types
from numba.core.extending import intrinsic

from ..compiler.jit import jit
from ..isa.atomics import atomic_store, fetch_add
from .workspace import Workspace, thread_workspaces, workspace_address

NEXT, COUNT, GRAIN, FUNCTION, FAILED = range(5)  # words of a job

_WHOLE, _TRUTH, _FLOAT = "itf"  # kinds of words
_word, _i32, _byte, _double = ir.IntType(64), ir.IntType(32), ir.IntType(8), ir.DoubleType()
_pointer = _byte.as_pointer()
_DONE = 0, -2  # what Numba's functions return: normally, or None


class Native(NamedTuple):
    """A compiled function for certain types of arguments."""

    function: int  # its address
    share: Callable[[int, int], None]  # does pieces of a job with it
    share_address: int


class NativeTask:
    """loop(*arguments, first, last) for a function of `jit`; `Own` rooms are each thread's own."""

    def __init__(self, loop: Callable[..., Any], *arguments: Any) -> None:
        self.loop = loop
        self.arguments = arguments

    def __call__(self, first: int, last: int) -> None:
        """One piece, here and now."""
        rooms = thread_workspaces()
        given = (workspace_address(rooms, a) if type(a) is Workspace else a for a in self.arguments)
        self.loop(*given, first, last)

    def words(self, *threads: dict[str, Any]) -> tuple[Native, list[array[int]]]:
        """The compiled function, and the arguments as words for the threads with these rooms."""
        words: list[int] = []
        form: list[Any] = [self.loop]
        owned: list[tuple[int, Workspace]] = []
        for argument in self.arguments:
            _add(argument, words, form, owned)
        key = tuple(form)
        native = _natives.get(key)
        if native is None:
            native = _natives[key] = self._native()
        copies = [array("q", words) for _ in threads]
        for copy, rooms in zip(copies, threads, strict=True):
            for i, room in owned:
                copy[i] = workspace_address(rooms, room)
        return native, copies

    def _native(self) -> Native:
        given = [types.intp if type(a) is Workspace else numba.typeof(a) for a in self.arguments]
        address = address_of(self.loop, (*given, types.intp, types.intp))
        share = sharing("".join(map(_kinds, given)))
        return Native(address, share, address_of(share, (types.intp, types.intp)))


_natives: dict[Any, Native] = {}


def _add(value: Any, words: list[int], form: list[Any], owned: list[tuple[int, Workspace]]) -> None:
    """Append an argument's words, and what their types depend on."""
    kind = type(value)
    if kind is int or kind is bool or kind is np.int64:
        words.append(int(value))
    elif kind is Workspace:
        owned.append((len(words), value))
        words.append(0)
        kind = int
    elif kind is np.ndarray:
        words += 0, 0, value.size, value.itemsize, value.ctypes.data, *value.shape, *value.strides
        form += value.dtype, value.ndim, value.flags.num
    elif isinstance(value, float):
        words += struct.unpack("q", struct.pack("d", value))
    elif issubclass(kind, tuple):
        form.append(len(value))
        if [*map(type, value)].count(int) == len(value):
            words += value
        else:
            for member in value:
                _add(member, words, form, owned)
    else:
        raise TypeError(f"a loop's argument is of type {kind.__name__}, which has no form as words")
    form.append(kind)


def _kinds(kind: Any) -> str:
    """Kinds of the words that stand for an argument of a type of Numba's."""
    if isinstance(kind, types.Array):
        return _WHOLE * (5 + 2 * kind.ndim)
    if isinstance(kind, types.BaseTuple):
        return "".join(_kinds(member) for member in kind.types)  # of all kinds of tuples
    return {types.int64: _WHOLE, types.boolean: _TRUTH, types.float64: _FLOAT}[kind]


def address_of(function: Any, given: tuple[Any, ...]) -> int:
    """Where the machine code of a function of `jit` for these types begins."""
    function.compile(given)
    result = function.overloads[given]
    address: int = result.library.get_pointer_to_function(result.fndesc.llvm_func_name)
    return address


@cache
def sharing(kinds: str) -> Callable[[int, int], None]:
    """share(job, arguments): do a job's pieces while there are any, by a function of such words."""
    run = _calling(kinds)

    def share(job: int, arguments: int) -> None:
        count: int = word_at(job + 8 * COUNT)
        grain: int = word_at(job + 8 * GRAIN)
        function: int = word_at(job + 8 * FUNCTION)
        first = fetch_add(job + 8 * NEXT, grain)
        while first < count:
            if not run(function, arguments, first, min(first + grain, count)):
                atomic_store(job + 8 * FAILED, 1)
            first = fetch_add(job + 8 * NEXT, grain)

    share.__qualname__ = f"share_{_shortened(kinds)}"  # as the cache on disk knows it
    done: Callable[[int, int], None] = jit()(share)
    return done


def _shortened(kinds: str) -> str:
    """How many of each kind: "iiif" is "3i1f"."""
    parts: list[str] = []
    while kinds:
        rest = kinds.lstrip(kinds[0])
        parts.append(f"{len(kinds) - len(rest)}{kinds[0]}")
        kinds = rest
    return "".join(parts)


@intrinsic
def word_at(typing, place):
    """The word at an address that no other thread writes now."""

    def emit(context, builder, sig, args):
        return builder.load(builder.inttoptr(args[0], _word.as_pointer()), align=8)

    return types.int64(types.intp), emit


def _calling(kinds):
    """run(function, arguments, first, last): call a compiled function with the words at an address;
    whether it ended well.
    """

    @intrinsic
    def run(typing, function, arguments, first, last):
        def emit(context, builder, sig, args):
            function, arguments, first, last = args
            base, values = builder.inttoptr(arguments, _word.as_pointer()), []
            for i, kind in enumerate(kinds):
                value = builder.load(builder.gep(base, [_word(i)]), align=8)
                if kind == _TRUTH:
                    value = builder.trunc(value, _byte)
                elif kind == _FLOAT:
                    value = builder.bitcast(value, _double)
                values.append(value)
            return _called(builder, function, [*values, first, last])

        return types.boolean(types.intp, types.intp, types.intp, types.intp), emit

    return run


@intrinsic
def do_share(typing, share, job, arguments):
    """Call share(job, arguments) by its address; whether it ended well."""

    def emit(context, builder, sig, args):
        return _called(builder, args[0], args[1:])

    return types.boolean(types.intp, types.intp, types.intp), emit


def _called(builder, function, values):
    """Call a function of Numba's that returns nothing: places for its result and for an exception
    come first, and it returns how it ended.
    """
    places = [cgutils.alloca_once(builder, _pointer) for _ in range(2)]
    kind = ir.FunctionType(_i32, [place.type for place in places] + [v.type for v in values])
    status = builder.call(builder.inttoptr(function, kind.as_pointer()), [*places, *values])
    ended = [builder.icmp_signed("==", status, _i32(done)) for done in _DONE]
    return builder.or_(*ended)
