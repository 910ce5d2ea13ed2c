"""How a thread that waits for work is found awake.

To wake a sleeping thread takes the system as long as a small kernel takes. So between the kernels
of a step a helper of `threads` looks at a word in memory again and again, without the interpreter
lock, and falls asleep only if nothing comes for a while. The word, at `place`, says how things are:

    ASLEEP    it waits in its queue, or is at work that came from there
    AWAKE     it looks here
    CALLED    it was found awake, and is at work

Each step from one to another is atomic: either the helper is asleep and is found so, or it is
called.
"""

# mypy: disable-error-code="no-untyped-def, no-untyped-call, misc, attr-defined, call-arg"
from __future__ import annotations

import math
import time
from functools import cache

import numpy as np
from llvmlite import ir
from numba.core import cgutils, types
from numba.core.extending import intrinsic

from .jit import jit
from .simd import TRIPLE

ASLEEP, AWAKE, CALLED = 0, 1, 2
AWHILE = 150e-6  # seconds: longer than Python takes from one kernel to the next
LONG = 10e-3

_TRIAL = 1000  # looks
_word, _i32 = ir.IntType(64), ir.IntType(32)


def _at(builder, address):
    return builder.inttoptr(address, _word.as_pointer())


@intrinsic
def peek(typing, place):
    """The word at an address, as other threads last wrote it."""

    def emit(context, builder, sig, args):
        return builder.load_atomic(_at(builder, args[0]), "seq_cst", 8)

    return types.int64(types.intp), emit


@intrinsic
def poke(typing, place, word):
    """Write a word that other threads see, and after it all that was written before."""

    def emit(context, builder, sig, args):
        builder.store_atomic(args[1], _at(builder, args[0]), "seq_cst", 8)
        return context.get_dummy_value()

    return types.void(types.intp, types.int64), emit


@intrinsic
def swapped(typing, place, old, new):
    """Whether the word was `old`, and has become `new`."""

    def emit(context, builder, sig, args):
        result = builder.cmpxchg(_at(builder, args[0]), args[1], args[2], "seq_cst")
        return builder.extract_value(result, 1)

    return types.boolean(types.intp, types.int64, types.int64), emit


@intrinsic
def pause(typing):
    """Tell the CPU that this loop waits: its core may serve another thread."""

    def emit(context, builder, sig, args):
        if TRIPLE.startswith("x86_64"):
            name, given = "llvm.x86.sse2.pause", []
        elif TRIPLE.startswith(("aarch64", "arm64")):
            name, given = "llvm.aarch64.hint", [_i32(1)]  # yield
        else:
            return context.get_dummy_value()
        kind = ir.FunctionType(ir.VoidType(), [value.type for value in given])
        builder.call(cgutils.get_or_insert_function(builder.module, kind, name), given)
        return context.get_dummy_value()

    return types.void(), emit


@cache
def looks(seconds: float) -> int:
    """How often one can look in as many seconds: a CPU's pause takes 10 times as long as another's.

    The fastest of some trials counts, since nothing makes a trial too fast.
    """
    word = np.array([CALLED])
    settled(word.ctypes.data, 1)  # compiled
    best = math.inf
    for _ in range(5):
        began = time.perf_counter()
        settled(word.ctypes.data, _TRIAL)
        best = min(best, time.perf_counter() - began)
    return math.ceil(_TRIAL * seconds / best)


@jit()
def called(place: int, most: int) -> bool:
    """For a helper: be awake until called, or, after so many looks, asleep; then False."""
    poke(place, AWAKE)
    for _ in range(most):
        if peek(place) == CALLED:
            return True
        pause()
    return not swapped(place, AWAKE, ASLEEP)


@jit()
def call(place: int) -> bool:
    """Whether the helper was awake, and is called now."""
    return swapped(place, AWAKE, CALLED)


@jit()
def settled(place: int, most: int) -> bool:
    """Wait until the helper that was called is awake again, having done its work; False after so
    many looks.
    """
    for _ in range(most):
        if peek(place) != CALLED:
            return True
        pause()
    return False
