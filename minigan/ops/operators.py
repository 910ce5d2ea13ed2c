"""Binds the primitives to a tensor's operators and methods, which `minigan.methods` declares."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from ..arrays import own_option
from ..tensor import Array, Tensor
from . import protocols
from .elementwise import absolute, add, astype, divide, multiply, negative, power, subtract
from .linalg import matmul
from .reduction import max, mean, min, sum, var
from .shape import getitem, reshape, transpose


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
    "sum": sum,
    "mean": mean,
    "var": var,
    "max": max,
    "min": min,
    "reshape": reshape,
    "transpose": transpose,
    "T": property(transpose),
}
for _name, _method in (_methods | protocols.METHODS).items():
    setattr(Tensor, _name, _method)
