"""What counts as a dependency of compiled code, and what does not."""

from __future__ import annotations

import dis
import re
import subprocess
import sys
import threading
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import numba
import numpy as np
import pytest
from minigan_kernels.cpu.compiler.dependencies import (
    UnknownDependencyError,
    _globals,
    dependencies,
)
from minigan_kernels.cpu.compiler.jit import jit
from numba.core import types
from numba.core.extending import intrinsic

HERE = Path(__file__).resolve()


def built(source: str, **names: Any) -> Callable[..., Any]:
    """A function `f` of a source and globals; each call makes another one."""
    namespace: dict[str, Any] = {"__name__": "generated", **names}
    exec(source, namespace)
    function: Callable[..., Any] = namespace["f"]
    return function


def differ(*values: Any) -> None:
    digests = [dependencies(value).digest for value in values]
    assert len(set(digests)) == len(digests)


def alike(*values: Any) -> None:
    assert len({dependencies(value).digest for value in values}) == 1


USE = "def f(x):\n    return x + value\n"


def test_the_code_itself_counts() -> None:
    alike(built(USE), built(USE))
    differ(
        built(USE),
        built("def f(x):\n    return value + x\n"),
        built("def f(x):\n    return x + other\n"),
        built("def f(x):\n    return x + 1\n"),
        built("def f(x):\n    return x + 1.0\n"),
        built("def f(x):\n    return x + True\n"),
        built("def f(x, y=1):\n    return x + 1\n"),
        built("def f(x, y=2):\n    return x + 1\n"),
        built("def f(x, *, y=2):\n    return x + 1\n"),
        built("def f(x):\n    return (lambda: x + 1)()\n"),
        built("def f(x):\n    return (lambda: x + 2)()\n"),
    )


def test_values_of_globals_count() -> None:
    values = [
        1, 1.0, True, -0.0, 0.0, "1", b"1", None, (1, 2), (1, (2,)), [1, 2], {1, 2}, {1: 2},
        np.float32(1), np.float64(1), np.uint64(1), np.arange(3), np.arange(3.0), np.arange(4),
        np.arange(4).reshape(2, 2), np.dtype("f4"), np.dtype([("a", "f4")]), np.float32, np.add,
        np.sin, types.int64, types.Array(types.float32, 1, "C"), len, range(3), slice(1, 2),
    ]  # fmt: skip
    differ(*(built(USE, value=value) for value in values))
    for value in values:
        alike(built(USE, value=value, unused=1), built(USE, value=value, unused=2))
    alike(built(USE, value={"a", "b"}), built(USE, value={"b", "a"}))


def test_an_attribute_is_no_global() -> None:
    source = "def f(x):\n    return x.empty\n"
    alike(built(source, empty=1), built(source, empty=2))
    # Nor is a name beyond the first 256, which takes a longer instruction, mistaken for another.
    many = "def f():\n    return [" + ", ".join(f"name{i}" for i in range(70_000)) + "]\n"
    function = built(many, **{f"name{i}": i for i in range(70_000)})
    for code in (
        function.__code__,
        *(each.__code__ for each in (built, test_the_code_itself_counts)),
    ):
        read = [i for i in dis.get_instructions(code) if i.opname == "LOAD_GLOBAL"]
        assert _globals(code) == {i.argval for i in read}


def test_what_a_closure_holds_counts() -> None:
    def make(value: Any) -> Callable[..., Any]:
        return lambda x: x + value

    alike(make(1), make(1))
    differ(make(1), make(2), make(make(1)), make(make(2)))


def test_what_is_called_counts_at_any_depth() -> None:
    inner = [built(f"def f(x):\n    return x * {k}\n") for k in (2, 3)]
    plain = [built("def f(x):\n    return value(x)\n", value=each) for each in inner]
    compiled = [built("def f(x):\n    return value(x)\n", value=jit()(each)) for each in plain]
    differ(*plain, *compiled)
    differ(jit()(inner[0]), jit(fastmath=True)(inner[0]), jit(fastmath={"nsz"})(inner[0]))
    alike(jit(fastmath={"nsz", "arcp"})(inner[0]), jit(fastmath={"arcp", "nsz"})(inner[0]))
    differ(*(partial(each, 1) for each in inner), partial(inner[0], 2))
    differ(*(cache(each) for each in inner))
    differ(*((each, 1) for each in inner))


def test_functions_that_call_each_other_in_a_circle() -> None:
    def pair(last: int) -> Callable[..., Any]:
        first = built("def f(x):\n    return value(x) + f(x - 1)\n")
        second = built(f"def f(x):\n    return value(x) + {last}\n", value=first)
        first.__globals__["value"] = second
        return first

    one, same, other = pair(1), pair(1), pair(2)
    back = one.__globals__["value"]
    alike(one, same)
    differ(one, other)
    differ(one, back)
    fresh = pair(1)  # of which the other one is looked at first
    alike(back, fresh.__globals__["value"])
    alike(one, fresh)


def test_an_intrinsic_counts_with_what_its_python_code_uses() -> None:
    def make(value: int) -> Any:
        @intrinsic
        def number(typing):  # type: ignore[no-untyped-def]
            kind = types.int64
            return kind(), lambda context, builder, sig, args: context.get_constant(kind, value)

        return number

    alike(make(1), make(1))
    differ(make(1), make(2))
    differ(*(built("def f():\n    return value()\n", value=make(k)) for k in (1, 2)))


class Pair(NamedTuple):
    first: int
    second: int


Turned = NamedTuple("Pair", [("second", int), ("first", int)])  # type: ignore[misc] # noqa: UP014


def test_the_fields_of_a_named_tuple_count_also_in_the_type_of_an_argument() -> None:
    Turned.__qualname__ = Pair.__qualname__
    Turned.__module__ = Pair.__module__
    kinds = [numba.typeof(kind(1, 2)) for kind in (Pair, Turned)]
    assert str(kinds[0]) == str(kinds[1])
    differ(*kinds)
    differ(*((kind,) for kind in kinds))
    differ(Pair, Turned)
    assert dependencies(kinds[0]).sources == {HERE}


def test_the_type_of_a_compiled_function_counts_as_the_function() -> None:
    sources = ["def f(x):\n    return x * 2\n", "def f(x):\n    return x * 3\n"]
    functions = [jit()(built(sources[k])) for k in (0, 0, 1)]  # their types do not keep them alive
    one, same, other = map(numba.typeof, functions)
    alike(one, same)
    differ(one, other)


def test_the_files_that_functions_lie_in_are_the_sources() -> None:
    from minigan_kernels.cpu import activation, channelwise

    assert dependencies(built).sources == {HERE}
    assert dependencies(built(USE, value=built)).sources == {HERE}  # none of its own
    assert dependencies(built(USE, value=np.sin)).sources == set()
    calling = built("def f():\n    return value._leaky_backward\n", value=activation)
    files = {Path(str(module.__file__)).resolve() for module in (activation, channelwise)}
    assert dependencies(calling).sources == files


def test_what_nothing_tells_is_refused_by_name() -> None:
    for value in (threading.Lock(), iter([]), np.array([None])):
        function = built("def f():\n    return g()\n", g=built(USE, value=value))
        with pytest.raises(UnknownDependencyError, match=r"^g: value: nothing tells"):
            dependencies(function)
    with pytest.raises(UnknownDependencyError, match="imports a module when it runs"):
        dependencies(built("def f():\n    import math\n    return math.pi\n"))


def test_a_digest_is_the_same_in_every_process() -> None:
    program = """
from minigan_kernels.cpu import norm
from minigan_kernels.cpu.gemm import gemm_simd
from minigan_kernels.cpu.runtime import spinwait
from minigan_kernels.cpu.compiler.dependencies import dependencies
for function in (norm._moments, gemm_simd.gemm_nn, spinwait.wait_for_task):
    print(dependencies(function).digest.hex())
"""
    digests = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": ":".join(sys.path)},
            capture_output=True,
            text=True,
            check=True,
            timeout=120,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(digests) == 1
    assert len(set(digests.pop().split())) == 3


def test_extensions_of_numba_lie_where_their_types_do() -> None:
    """A new lowering or typing rule is no value that a function refers to. It is seen since it lies
    in the file of the type that it is for, which any function that makes such a value refers to.
    """
    import minigan_kernels

    ways = "register_model|lower_builtin|lower_cast|infer_global|overload|typeof_impl"
    found = []
    for path in Path(minigan_kernels.__file__).parent.rglob("*.py"):
        text = path.read_text()
        if re.search(rf"\b({ways})\b", text):
            found.append(path.name)
            assert "(types.Type)" in text, f"{path}: lay this beside the type that it is for"
    assert found
