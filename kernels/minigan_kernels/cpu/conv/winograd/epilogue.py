"""The epilogue of a convolution: a bias and a leaky ReLU on a vector of sums in a register.

It rounds as `activation.bias_leaky` does in a pass of its own, and treats NaN as that does.
"""

# mypy: disable-error-code="no-untyped-def, no-untyped-call, misc, attr-defined"
from __future__ import annotations

from typing import NamedTuple

from llvmlite import ir
from numba.core import cgutils, types
from numba.core.extending import intrinsic

from ...isa.simd import LANES, vector

_lanes = ir.VectorType(ir.FloatType(), LANES)


class BiasLeakyReLU(NamedTuple):
    """Arguments of the epilogue."""

    bias: int  # address of a bias for each channel, whole vectors of them
    slope: float


NO_EPILOGUE = BiasLeakyReLU(0, 1.0)  # of tasks without


@intrinsic
def bias_leaky_relu(typing, sums, bias, slope):
    """value if value > 0 else slope * value, where value = sums + bias."""

    def emit(context, builder, sig, args):
        sums, bias, slope = args
        single = builder.fptrunc(slope, ir.FloatType())
        undefined = ir.Constant(_lanes, ir.Undefined)
        first = builder.insert_element(undefined, single, ir.IntType(32)(0))
        everywhere = ir.Constant(ir.VectorType(ir.IntType(32), LANES), None)
        factor = builder.shuffle_vector(first, undefined, everywhere)
        # The sums are rounded as if they were stored: no product is contracted with the bias, and
        # no negation that decides over the sign of a zero is moved behind it.
        kind = ir.FunctionType(_lanes, [_lanes])
        name = f"llvm.arithmetic.fence.v{LANES}f32"
        fence = cgutils.get_or_insert_function(builder.module, kind, name)
        value = builder.fadd(builder.call(fence, [sums]), bias)
        positive = builder.fcmp_ordered(">", value, ir.Constant(_lanes, [0.0] * LANES))
        return builder.select(positive, value, builder.fmul(factor, value))

    return vector(vector, vector, types.float64), emit
