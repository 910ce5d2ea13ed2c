"""Binds the primitives to a tensor's operators and methods, which `minigan.methods` declares."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.lib.array_utils import normalize_axis_index

from ..arrays import own_option
from ..hints import Refused, also, hint
from ..methods import NotHere
from ..tensor import Array, Primitive, Tensor
from ..tensor_hints import attributes
from . import protocols
from .elementwise import (
    absolute,
    add,
    astype,
    clip,
    cos,
    divide,
    exp,
    log,
    multiply,
    negative,
    power,
    relu,
    sigmoid,
    sin,
    sqrt,
    square,
    subtract,
    tanh,
)
from .linalg import matmul
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
    std,
    sum,
    var,
)
from .shape import expand_dims, flatten, getitem, reshape, squeeze, swapaxes, transpose


def index_of(index: Any) -> Any:
    """An index of arrays in place of tensors, none of which anybody else writes."""
    if type(index) is int or type(index) is slice:
        return index
    if isinstance(index, tuple):
        return tuple([index_of(part) for part in index])
    return index.data if isinstance(index, Tensor) else own_option(index)


def _compare(compare: Callable[[Array, Array], Array]) -> Callable[[Tensor, Any], Array]:
    return lambda a, b: compare(a.data, b.data if isinstance(b, Tensor) else b)


def _iterate(x: Tensor) -> Iterator[Tensor]:
    """The parts of x along its first axis."""
    if x.ndim == 0:
        raise TypeError("a tensor of one number has no parts to go through; item() is the number")
    return (x[i] for i in range(len(x)))


def _refuse_to_write(x: Tensor, index: Any, value: Any) -> None:
    raise TypeError("a tensor cannot be written; build a new one with where, pad or concatenate")


def _method(p: Primitive) -> Callable[[Tensor], Tensor]:
    """A primitive of one argument as a method."""

    def method(x: Tensor) -> Tensor:
        return p(x)

    method.__name__, method.__doc__ = p.name, p.__doc__
    return method


@also(start_dim="start", end_dim="end")
def _flatten(x: Tensor, start: int = 0, end: int = -1) -> Tensor:
    """x with the axes from `start` to `end` as one: all of them, unless they are given."""
    if end in (-1, x.ndim - 1):
        return flatten(x, start)
    first, last = (normalize_axis_index(a, x.ndim, "flatten") for a in (start, end))
    if first > last:
        raise ValueError(f"flatten: axis {start} of x {x.shape} is behind axis {end}")
    joined = math.prod(x.shape[first : last + 1])
    return reshape(x, (*x.shape[:first], joined, *x.shape[last + 1 :]))


_flatten.__name__ = "flatten"


def _permute(x: Tensor, *axes: Any) -> Tensor:
    """x with its axes in the order `axes`: `transpose`."""
    return transpose(x, axes[0] if len(axes) == 1 else axes)


_methods: dict[str, Any] = {
    "__add__": lambda a, b: add(a, b),
    "__radd__": lambda a, b: add(b, a),
    "__sub__": lambda a, b: subtract(a, b),
    "__rsub__": lambda a, b: subtract(b, a),
    "__mul__": lambda a, b: multiply(a, b),
    "__rmul__": lambda a, b: multiply(b, a),
    "__truediv__": lambda a, b: divide(a, b),
    "__rtruediv__": lambda a, b: divide(b, a),
    "__pow__": lambda a, b: power(a, b),
    "__rpow__": lambda a, b: power(b, a),
    "__matmul__": lambda a, b: matmul(a, b),
    "__rmatmul__": lambda a, b: matmul(b, a),
    "__neg__": lambda a: negative(a),
    "__abs__": lambda a: absolute(a),
    "__getitem__": lambda a, index: getitem(a, index=index_of(index)),
    "__setitem__": _refuse_to_write,
    "__iter__": _iterate,
    # Equal in value, as in NumPy, but hashed by identity. Two tensors never share a hash while both
    # exist, so dicts and sets never compare them. Lists do, and weak sets.
    "__eq__": _compare(operator.eq),
    "__ne__": _compare(operator.ne),
    "__gt__": _compare(np.greater),
    "__ge__": _compare(np.greater_equal),
    "__lt__": _compare(np.less),
    "__le__": _compare(np.less_equal),
    "astype": astype,
    "T": property(transpose, doc="x with its axes reversed: a matrix transposed."),
    "mT": property(lambda x: swapaxes(x, -1, -2), doc="Each matrix of x transposed."),
    "abs": _method(absolute),
    "flatten": _flatten,
    # By the names that PyTorch gives them.
    "clamp": clip,
    "permute": _permute,
    "pow": power,
    "unsqueeze": expand_dims,
    "view": reshape,
}
for _p in (exp, log, sqrt, square, sin, cos, tanh, sigmoid):
    _methods[_p.name] = _method(_p)
for _function in (
    sum, mean, var, std, max, min, argmax, argmin, any, all, softmax, log_softmax, logsumexp,
    reshape, transpose, swapaxes, squeeze, expand_dims, clip, relu, matmul,
):  # fmt: skip
    _methods[_function.__name__] = _function
for _name, _value in (_methods | protocols.METHODS).items():
    setattr(Tensor, _name, _value)
hint(NotHere, attributes(without=dir(Tensor)), Refused)
