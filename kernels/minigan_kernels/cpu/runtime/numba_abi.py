"""Numba's private calling convention, as far as native tasks depend on it.

Numba documents how Python calls a compiled function, but not how machine code does. Everything here
was read off Numba 0.68. `tests/kernels/cpu/test_numba_abi.py` names the part that has changed, if
one has.

* A compiled function is `int32 f(result *, exception *, arguments...)`. It returns a status: one of
  _DONE if it ended normally, anything else if it raised.
* Arguments are flattened to scalars. An integer, a truth value or an address is passed as itself
  (a truth value in 8 bits), a float as a double. A tuple is its members in order. An array is the
  sequence of `array_slots`.

A slot is a 64-bit integer that holds one scalar: an integer by value, a float by its bits.
"""

# mypy: disable-error-code="no-untyped-def, no-untyped-call, misc, attr-defined"
from __future__ import annotations

import struct
from typing import Any

import numpy as np
from llvmlite import ir
from numba.core import cgutils, types
from numba.core.extending import intrinsic

INTEGER, TRUTH, FLOAT = "itf"  # kinds of slots

_DONE = 0, -2  # status of a function that returned normally: with a value, or with None
_ARRAY_HEADER = 5  # slots of an array before its shape
_DOUBLE, _INT64 = struct.Struct("d"), struct.Struct("q")
_slot, _i32, _byte, _double = ir.IntType(64), ir.IntType(32), ir.IntType(8), ir.DoubleType()
_pointer = _byte.as_pointer()


def array_slots(array: np.ndarray) -> tuple[int, ...]:
    """An array as slots: no owner of its memory and no parent object, so that the callee counts no
    references; then size, bytes of an element, address, shape and strides.
    """
    return 0, 0, array.size, array.itemsize, array.ctypes.data, *array.shape, *array.strides


def float_slot(number: float) -> int:
    """A float as a slot: the bits of a double."""
    slot: int = _INT64.unpack(_DOUBLE.pack(number))[0]
    return slot


def slot_kinds(kind: Any) -> str:
    """The kinds of the slots that stand for an argument of a Numba type, one letter each."""
    if isinstance(kind, types.Array):
        return INTEGER * (_ARRAY_HEADER + 2 * kind.ndim)
    if isinstance(kind, types.BaseTuple):
        return "".join(slot_kinds(member) for member in kind.types)
    return {types.int64: INTEGER, types.boolean: TRUTH, types.float64: FLOAT}[kind]


def entry_point(function: Any, signature: tuple[Any, ...]) -> int:
    """Address of the machine code of a function of `jit` for arguments of these Numba types."""
    function.compile(signature)
    result = function.overloads[signature]
    address: int = result.library.get_pointer_to_function(result.fndesc.llvm_func_name)
    return address


def caller_of(kinds: str) -> Any:
    """call(function, arguments, first, last): call the compiled function at an address with the
    slots, of these kinds, at `arguments`, and then two integers; whether it ended normally.
    """

    @intrinsic
    def call(typing, function, arguments, first, last):
        def emit(context, builder, sig, args):
            function, arguments, first, last = args
            base, values = builder.inttoptr(arguments, _slot.as_pointer()), []
            for i, kind in enumerate(kinds):
                value = builder.load(builder.gep(base, [_slot(i)]), align=8)
                if kind == TRUTH:
                    value = builder.trunc(value, _byte)
                elif kind == FLOAT:
                    value = builder.bitcast(value, _double)
                values.append(value)
            return _emit_call(builder, function, [*values, first, last])

        return types.boolean(types.intp, types.intp, types.intp, types.intp), emit

    return call


@intrinsic
def call_with_two(typing, function, first, second):
    """Call the compiled function at an address with two integers; whether it ended normally."""

    def emit(context, builder, sig, args):
        return _emit_call(builder, args[0], args[1:])

    return types.boolean(types.intp, types.intp, types.intp), emit


def _emit_call(builder, function, values):
    results = [cgutils.alloca_once(builder, _pointer) for _ in range(2)]
    kind = ir.FunctionType(_i32, [result.type for result in results] + [v.type for v in values])
    status = builder.call(builder.inttoptr(function, kind.as_pointer()), [*results, *values])
    return builder.or_(*(builder.icmp_signed("==", status, _i32(done)) for done in _DONE))
