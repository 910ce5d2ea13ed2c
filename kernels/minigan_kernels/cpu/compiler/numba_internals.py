"""What the disk cache needs of Numba beyond its public interface: all of it is in this file.

`tests/kernels/cpu/test_numba_internals.py` holds each point, and says in a sentence which one a new
Numba changed.
"""

# mypy: disallow-untyped-calls=False, disable-error-code="attr-defined"
from __future__ import annotations

import functools
import pickle
import platform
from abc import abstractmethod
from collections.abc import Callable
from typing import Any

import llvmlite
import numba
import numpy as np
from llvmlite import ir
from numba.core import event, types
from numba.core.caching import _Cache
from numba.core.compiler import CompileResult
from numba.core.dispatcher import Dispatcher
from numba.core.extending import _Intrinsic
from numba.core.serialize import dumps

# What a dispatcher asks for machine code before it compiles (`load_overload`), and gives it to
# afterwards (`save_overload`).
Cache: Any = _Cache

# Functions that Numba compiles, and Python code that writes LLVM instructions.
COMPILED = Dispatcher, _Intrinsic
# Types of Numba's, and types and constants of LLVM's: their text tells all about them.
TYPES = types.Type, ir.Type, ir.Constant

# Settings of Numba that change machine code; the CPU and its features are in `machine`.
SETTINGS = (
    "OPT",
    "LOOP_VECTORIZE",
    "SLP_VECTORIZE",
    "BOUNDSCHECK",
    "DEBUGINFO_DEFAULT",
    "EXTEND_VARIABLE_LIFETIMES",
    "LLVM_REFPRUNE_PASS",
    "LLVM_REFPRUNE_FLAGS",
    "USING_SVML",
)


@functools.cache
def versions() -> tuple[str, ...]:
    """Of all that turns a function into machine code; Numba's loops follow NumPy's version too."""
    return platform.python_version(), numba.__version__, llvmlite.__version__, np.__version__


def machine(codegen: Any) -> tuple[Any, ...]:
    """What machine code is made for: the CPU, its features, and the compiler's settings."""
    return _cpu(codegen), *(getattr(numba.config, name) for name in SETTINGS)


@functools.cache  # LLVM takes a tenth of a millisecond to tell
def _cpu(codegen: Any) -> tuple[str, str, str]:
    return codegen.magic_tuple()


def pack(result: Any) -> bytes:
    """A compiled function as bytes.

    Raises:
        RuntimeError: if its code holds an address of this process.
    """
    if result.library.has_dynamic_globals:
        raise RuntimeError(f"{result.fndesc.qualname} refers to an address: it cannot be kept")
    packed: bytes = dumps(result._reduce())
    return packed


def unpack(target_context: Any, packed: bytes) -> Any:
    """The compiled function that `pack` was given."""
    return CompileResult._rebuild(target_context, *pickle.loads(packed))


def made_of(value: Any) -> tuple[dict[str, Any], Callable[..., Any]]:
    """Options and function of one of COMPILED."""
    if isinstance(value, Dispatcher):
        return value.targetoptions, value.py_func
    return {**value._ctor_kwargs, "prefer_literal": value._prefer_literal}, value._defn


def members(kind: Any) -> tuple[Any, ...] | None:
    """The types of a tuple's members, and first its class where it is named; else None."""
    if not isinstance(kind, types.BaseTuple):
        return None
    named = (kind.instance_class,) if isinstance(kind, types.BaseNamedTuple) else ()
    return *named, *kind.types


class Listener(event.Listener):
    """Hears of each function that is compiled: `began` before it, `ended` after it."""

    @abstractmethod
    def began(self, dispatcher: Any) -> None:
        """The compilation of a function begins."""

    @abstractmethod
    def ended(self, dispatcher: Any) -> None:
        """It is over."""

    def on_start(self, event: event.Event) -> None:
        self.began(event.data["dispatcher"])

    def on_end(self, event: event.Event) -> None:
        self.ended(event.data["dispatcher"])


def listen(listener: Listener) -> None:
    """Let it hear from now on."""
    event.register("numba:compile", listener)
