"""Differentiable operations: the kernels bound to their gradient rules.

Importing this package also gives tensors their operators.
"""

import numpy as np

from ..tensor import PRIMITIVES, Primitive
from . import operators as operators
from . import protocols
from .activation import erf, gelu, prelu, silu
from .conv import avg_pool2d, conv2d, conv_transpose2d, max_pool2d, upsample_nearest
from .creation import (
    arange,
    eye,
    full,
    full_like,
    linspace,
    ones,
    ones_like,
    tensor,
    zeros,
    zeros_like,
)
from .elementwise import (
    absolute,
    add,
    astype,
    bias_leaky_relu,
    bias_sigmoid,
    bias_tanh,
    clip,
    cos,
    divide,
    elu,
    exp,
    leaky_relu,
    log,
    maximum,
    minimum,
    multiply,
    negative,
    power,
    relu,
    sigmoid,
    sin,
    softplus,
    sqrt,
    square,
    subtract,
    tanh,
    where,
)
from .elementwise import real as real
from .fused_bias import bias_activation as bias_activation
from .linalg import einsum, matmul
from .linalg import of_rows as of_rows
from .norm import batch_norm, batch_norm_inference, instance_norm, layer_norm
from .norm_groups import group_norm
from .reduction import (
    all,
    any,
    argmax,
    argmin,
    log_softmax,
    logsumexp,
    max,
    mean,
    min,
    softmax,
    softmax_cross_entropy,
    std,
    sum,
    var,
)
from .sequences import avg_pool1d, conv1d, max_pool1d
from .shape import (
    broadcast_to,
    concatenate,
    expand_dims,
    flatten,
    pad,
    reshape,
    squeeze,
    stack,
    sum_to,
    swapaxes,
    transpose,
)
from .shape import check_shapes as check_shapes
from .upsampling import pixel_shuffle, upsample

__all__ = [
    "absolute", "add", "all", "any", "arange", "argmax", "argmin", "astype", "avg_pool1d",
    "avg_pool2d", "batch_norm", "batch_norm_inference", "bias_leaky_relu", "bias_sigmoid",
    "bias_tanh", "broadcast_to", "clip", "concatenate", "conv1d", "conv2d", "conv_transpose2d",
    "cos", "divide", "einsum", "elu", "erf", "exp", "expand_dims", "eye", "flatten", "full",
    "full_like", "gelu", "group_norm", "instance_norm", "layer_norm", "leaky_relu", "linspace",
    "log", "log_softmax", "logsumexp", "matmul", "max", "max_pool1d", "max_pool2d", "maximum",
    "mean", "min", "minimum", "multiply", "negative", "ones", "ones_like", "pad", "pixel_shuffle",
    "power", "prelu", "relu", "reshape", "sigmoid", "silu", "sin", "softmax",
    "softmax_cross_entropy", "softplus", "sqrt", "square", "squeeze", "stack", "std", "subtract",
    "sum", "sum_to", "swapaxes", "tanh", "tensor", "transpose", "upsample", "upsample_nearest",
    "var", "where", "zeros", "zeros_like",
]  # fmt: skip

for _name in __all__:
    if isinstance(_value := globals()[_name], Primitive):
        _value.__module__ = "minigan"  # where people know it, not where it is written
protocols.OWN.update(__all__)
protocols.BY_UFUNC.update(
    {p.kernel: p for p in PRIMITIVES.values() if isinstance(p.kernel, np.ufunc)}
)
