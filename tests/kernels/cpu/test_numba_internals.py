"""Numba's private interface, as this package uses it: each test fails with its own sentence."""

from __future__ import annotations

import inspect
from typing import Any, NamedTuple

import numba
import numpy as np
import pytest
from minigan_kernels.cpu.compiler import numba_internals
from numba.core import types
from numba.core.caching import _Cache
from numba.core.compiler import CompileResult
from numba.core.extending import intrinsic
from numba.core.registry import cpu_target

CHANGED = f"Numba {numba.__version__} has changed its private interface: "
INTERNALS = "; see cpu/compiler/numba_internals.py"


@numba.njit
def _double(x):
    return 2 * x


@intrinsic(prefer_literal=True)
def _one(typing):
    return types.int64(), lambda context, builder, sig, args: context.get_constant(types.int64, 1)


class _Pair(NamedTuple):
    first: int
    second: float


# --- The disk cache --------------------------------------------------------------------------


class _Recorder(numba_internals.Cache):
    """A cache that keeps in memory what it is given, as packed bytes."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.kept: dict[Any, bytes] = {}

    cache_path = ""

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        self.calls.append("load")
        if sig not in self.kept:
            return None
        target_context.refresh()
        return numba_internals.unpack(target_context, self.kept[sig])

    def save_overload(self, sig: Any, data: Any) -> None:
        self.calls.append("save")
        self.kept[sig] = numba_internals.pack(data)

    def enable(self) -> None: ...
    def disable(self) -> None: ...
    def flush(self) -> None: ...


def test_what_a_cache_must_have() -> None:
    assert _Cache.__abstractmethods__ == {
        "cache_path", "load_overload", "save_overload", "enable", "disable", "flush",
    }, f"{CHANGED}a cache must have other methods{INTERNALS}"  # fmt: skip


def test_a_dispatcher_asks_its_cache_first_and_gives_it_what_it_compiled() -> None:
    cache = _Recorder()
    for expected in (["load", "save"], ["load"]):
        function = numba.njit(_double.py_func)
        cache.calls.clear()
        function._cache = cache
        assert function(21) == 42
        assert cache.calls == expected, (
            f"{CHANGED}a dispatcher does not use `_cache.load_overload` and `save_overload` as "
            f"before, so nothing is cached{INTERNALS}"
        )
    assert list(cache.kept) == [(types.int64,)], (
        f"{CHANGED}what `_cache.load_overload` is given is not a tuple of argument types{INTERNALS}"
    )


def test_a_compiled_function_can_be_taken_apart_and_put_together() -> None:
    _double(1)
    (result,) = _double.overloads.values()
    given = len(inspect.signature(CompileResult._rebuild).parameters) - 1
    assert len(result._reduce()) == given, (
        f"{CHANGED}`CompileResult._rebuild` does not take what `_reduce` gives{INTERNALS}"
    )
    assert result.library.has_dynamic_globals is False, (
        f"{CHANGED}`has_dynamic_globals` does not tell code without addresses{INTERNALS}"
    )


def test_code_that_holds_an_address_tells_so() -> None:
    table = np.arange(1 << 18)  # so large that Numba refers to it where it is

    @numba.njit
    def look(i):
        return table[i]

    look(3)
    (result,) = look.overloads.values()
    assert result.library.has_dynamic_globals, (
        f"{CHANGED}`has_dynamic_globals` does not tell code with an address{INTERNALS}"
    )
    with pytest.raises(RuntimeError, match="refers to an address"):
        numba_internals.pack(result)


def test_compiling_is_an_event() -> None:
    class Heard(numba_internals.Listener):
        def __init__(self) -> None:
            self.heard: list[tuple[str, Any]] = []

        def began(self, dispatcher: Any) -> None:
            self.heard.append(("began", dispatcher))

        def ended(self, dispatcher: Any) -> None:
            self.heard.append(("ended", dispatcher))

    heard, function = Heard(), numba.njit(_double.py_func)
    numba_internals.listen(heard)
    try:
        function(1)
    finally:
        numba.core.event.unregister("numba:compile", heard)
    assert heard.heard == [("began", function), ("ended", function)], (
        f'{CHANGED}the event "numba:compile" does not tell the dispatcher{INTERNALS}'
    )


# --- What a function depends on --------------------------------------------------------------


def test_compiled_functions_and_intrinsics_tell_what_they_are_made_of() -> None:
    fast = numba.njit(nogil=True, fastmath={"nsz"})(_double.py_func)
    for value in (fast, _one):
        assert isinstance(value, numba_internals.COMPILED), (
            f"{CHANGED}{type(value).__name__} is the kind of a compiled function{INTERNALS}"
        )
    options, function = numba_internals.made_of(fast)
    assert function is _double.py_func, f"{CHANGED}a dispatcher has no `py_func`{INTERNALS}"
    assert (options.get("nogil"), options.get("fastmath")) == (True, {"nsz"}), (
        f"{CHANGED}a dispatcher's `targetoptions` are not those that it was given{INTERNALS}"
    )
    options, function = numba_internals.made_of(_one)
    assert options == {"prefer_literal": True}, (
        f"{CHANGED}an intrinsic does not tell its options{INTERNALS}"
    )
    assert function is _one.__wrapped__, f"{CHANGED}an intrinsic has no `_defn`{INTERNALS}"


def test_types_of_tuples_tell_their_members() -> None:
    members = numba_internals.members
    integer, real = types.int64, types.float64
    sentence = f"{CHANGED}the type of a tuple does not tell its members or its class{INTERNALS}"
    assert members(numba.typeof((1, 2))) == (integer, integer), sentence
    assert members(numba.typeof((1, 2.0))) == (integer, real), sentence
    assert members(numba.typeof(_Pair(1, 2.0))) == (_Pair, integer, real), sentence
    assert members(numba.typeof(_Pair(1, 2))) == (_Pair, integer, integer), sentence
    assert members(real) is None


def test_the_type_of_a_compiled_function_tells_the_function() -> None:
    assert numba.typeof(_double).dispatcher is _double, (
        f"{CHANGED}the type of a compiled function has no `dispatcher`{INTERNALS}"
    )


def test_the_machine_and_the_settings_are_told() -> None:
    machine = numba_internals.machine(cpu_target.target_context.codegen())
    (triple, cpu, features), *settings = machine
    assert all(isinstance(text, str) for text in (triple, cpu, features)), (
        f"{CHANGED}`magic_tuple` is not the triple, the CPU and its features{INTERNALS}"
    )
    assert len(settings) == len(numba_internals.SETTINGS)


def test_numba_reads_the_settings_that_change_machine_code() -> None:
    missing = [name for name in numba_internals.SETTINGS if not hasattr(numba.config, name)]
    assert not missing, f"{CHANGED}its configuration has no {', '.join(missing)}{INTERNALS}"
