"""The contract with Numba: what native tasks assume of its private calling convention.

Each test that fails says which assumption no longer holds. Run this file first when native tasks
crash with a new version of Numba.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numba
import numpy as np
import pytest
from minigan_kernels.cpu.compiler.jit import jit
from minigan_kernels.cpu.runtime import numba_abi
from numba.core import callconv, types
from numba.core.datamodel import default_manager
from numba.core.registry import cpu_target

WAY_OUT = f"Numba {numba.__version__} changed this: adapt cpu/runtime/numba_abi.py, or pin Numba."

# --- Calls of compiled functions by address: cpu/runtime/numba_abi.py ------------------------

ARRAY = types.Array(types.float32, 2, "C")
SCALAR_TYPES = {numba_abi.INTEGER: {"i64", "i8*", "i64*", "float*"}, numba_abi.TRUTH: {"i8"},
                numba_abi.FLOAT: {"double"}}  # fmt: skip


def llvm_types(*arguments: Any) -> list[str]:
    """What a compiled function that returns nothing takes."""
    convention = cpu_target.target_context.call_conv
    function = convention.get_function_type(types.none, arguments)
    assert str(function.return_type) == "i32", f"the status is no longer an int32. {WAY_OUT}"
    return [str(argument) for argument in function.args]


def test_results_and_exceptions_come_before_the_arguments() -> None:
    result, exception, *rest = llvm_types(types.int64)
    assert result.endswith("**"), f"the first argument is no longer the result's address. {WAY_OUT}"
    assert exception.endswith("**"), f"the second is no longer the exception's address. {WAY_OUT}"
    assert rest == ["i64"], f"the arguments no longer follow these two. {WAY_OUT}"


@pytest.mark.parametrize(
    "kind",
    [
        types.int64,
        types.boolean,
        types.float64,
        types.Array(types.int64, 1, "A", readonly=True),
        ARRAY,
        types.UniTuple(types.int64, 3),
        types.Tuple((types.float64, ARRAY, types.Tuple((types.boolean, types.int64)))),
    ],
    ids=str,
)
def test_an_argument_is_as_many_scalars_as_it_has_slots(kind: Any) -> None:
    kinds, (_, _, *scalars) = numba_abi.slot_kinds(kind), llvm_types(kind)
    sentence = f"{kind} is passed as {scalars}, not as slots {kinds}. {WAY_OUT}"
    assert len(kinds) == len(scalars), sentence
    for slot, scalar in zip(kinds, scalars, strict=True):
        assert scalar in SCALAR_TYPES[slot], sentence


def test_an_array_has_the_members_that_its_slots_stand_for() -> None:
    members = "meminfo", "parent", "nitems", "itemsize", "data", "shape", "strides"
    found = default_manager.lookup(ARRAY)._fields
    assert found == members, f"an array is now {found}, not {members}. {WAY_OUT}"


def test_the_status_says_how_a_function_ended() -> None:
    done = callconv.RETCODE_OK.constant, callconv.RETCODE_NONE.constant
    assert done == numba_abi._DONE, f"functions now return {done} when they end well. {WAY_OUT}"
    raised = callconv.RETCODE_EXC.constant, callconv.RETCODE_USEREXC.constant
    assert not {*raised} & {*done}, f"an exception now looks like an end. {WAY_OUT}"


def test_the_address_of_a_compiled_function_can_be_had() -> None:
    try:
        assert numba_abi.entry_point(_echo, (types.int64[::1], types.int64, types.int64)) > 0
    except (AttributeError, KeyError) as error:
        pytest.fail(f"the entry point is found no longer ({error}). {WAY_OUT}")


class Pair(NamedTuple):
    flag: bool
    ratio: float


@jit()
def _echo(out: np.ndarray, first: int, last: int) -> None:
    out[0], out[1] = first, last


@jit()
def _all_kinds(
    whole: int, x: np.ndarray, pair: Pair, out: np.ndarray, first: int, last: int
) -> None:
    if last < first:
        raise ValueError("on purpose")
    out[0], out[1], out[2] = whole, x[1, 2], x.shape[1]
    out[3], out[4], out[5], out[6] = pair.flag, pair.ratio, first, last
    out[7], out[8] = x.size, x.itemsize


def slots_of(*arguments: Any) -> np.ndarray:
    slots: list[int] = []
    for value in arguments:
        if isinstance(value, np.ndarray):
            slots += numba_abi.array_slots(value)
        elif isinstance(value, float):
            slots.append(numba_abi.float_slot(value))
        else:
            slots.append(int(value))
    return np.array(slots, np.int64)


def test_a_call_by_address_passes_every_kind_of_argument() -> None:
    """After the tests above: with another convention this one may crash."""
    x = np.arange(40, dtype=np.float32).reshape(8, 5).T[:, ::2]  # strided
    out = np.zeros(9)
    given = [7, x, Pair(True, -2.5), out]
    signature = tuple(map(numba.typeof, given))
    function = numba_abi.entry_point(_all_kinds, (*signature, types.intp, types.intp))
    call = numba_abi.caller_of("".join(map(numba_abi.slot_kinds, signature)))

    @numba.njit
    def run(function: int, slots: int, first: int, last: int) -> bool:
        done: bool = call(function, slots, first, last)
        return done

    slots = slots_of(7, x, True, -2.5, out)
    assert run(function, slots.ctypes.data, 3, 9), f"a call that ends well says no. {WAY_OUT}"
    expected = [7, x[1, 2], x.shape[1], 1, -2.5, 3, 9, x.size, 4]
    assert out.tolist() == expected, f"an argument arrives as another value. {WAY_OUT}"
    assert not run(function, slots.ctypes.data, 9, 3), f"an exception is not seen. {WAY_OUT}"
