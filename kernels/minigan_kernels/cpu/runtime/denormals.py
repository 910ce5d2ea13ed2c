"""Flush denormals: a mode of the CPU in which numbers too small to be normal count as zero.

Below 2^-126 float32 keeps ever fewer bits, and a CPU takes long for each such denormal number. They
come up where a gradient or a moment has nearly vanished: Adam squares a gradient of 1e-20. Momentum
that decays by 0.9 does not even reach zero, but stays at some denormal number for good.

The mode belongs to a thread: FTZ and DAZ in the MXCSR of x86, FZ in the FPCR of ARM. On other CPUs
nothing is set, and denormals stay slow. A compiled function sets it around its loops:

    mode = flush_denormals()
    for i in ...
    restore_denormals(mode)

The compiler does not move reads and writes of arrays across the two calls. Python code should not
call them: they let go of the interpreter lock, and to get it back takes longer than most loops.
"""

# mypy: disable-error-code="no-untyped-def, no-untyped-call, call-arg, var-annotated"
from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba.core import cgutils, types
from numba.core.extending import intrinsic
from numba.core.registry import cpu_target

from ..compiler.jit import jit

_CPU = cpu_target.target_context.codegen().magic_tuple()[0].split("-")[0]
_X86, _ARM = _CPU == "x86_64", _CPU in ("aarch64", "arm64")
_FLUSH = 1 << 15 | 1 << 6 if _X86 else 1 << 24 if _ARM else 0


@jit()
def flush_denormals() -> int:
    """Make denormal numbers zero for this thread from here on; returns the mode before."""
    mode = _get_mode()
    _set_mode(mode | _FLUSH)
    return mode


@jit()
def restore_denormals(mode: int) -> None:
    """Set the mode that `flush_denormals` returned."""
    _set_mode(mode)


@intrinsic
def _get_mode(typing_context: Any) -> Any:
    def generate(context, builder, signature, arguments):
        if _X86:
            register = cgutils.alloca_once(builder, ir.IntType(32))
            _call(builder, "llvm.x86.sse.stmxcsr", ir.VoidType(), _address(builder, register))
            return builder.zext(builder.load(register), ir.IntType(64))
        if _ARM:
            return _call(builder, "llvm.aarch64.get.fpcr", ir.IntType(64))
        return ir.Constant(ir.IntType(64), 0)

    return types.int64(), generate


@intrinsic
def _set_mode(typing_context: Any, mode: Any) -> Any:
    def generate(context, builder, signature, arguments):
        if _X86:
            register = cgutils.alloca_once(builder, ir.IntType(32))
            builder.store(builder.trunc(arguments[0], ir.IntType(32)), register)
            _call(builder, "llvm.x86.sse.ldmxcsr", ir.VoidType(), _address(builder, register))
        if _ARM:
            _call(builder, "llvm.aarch64.set.fpcr", ir.VoidType(), arguments[0])
        return context.get_dummy_value()

    return types.void(types.int64), generate


def _address(builder, register):
    return builder.bitcast(register, ir.IntType(8).as_pointer())


def _call(builder, name, result, *arguments):
    kind = ir.FunctionType(result, [argument.type for argument in arguments])
    return builder.call(cgutils.get_or_insert_function(builder.module, kind, name), arguments)
