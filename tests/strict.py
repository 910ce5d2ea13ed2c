"""A card without a card: arrays that refuse all that CuPy's refuse, and some more.

`Strict` wraps a NumPy array. It mixes with nothing but its own kind and plain numbers, and only
`get` and `item` bring a value out. CuPy also lets `float`, `bool`, iteration and indices of NumPy's
pass; each of them is a transfer that waits for the card, or one that nobody asked for, so these are
refused here. Kernels for Strict arrays are the CPU's.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import minigan_kernels as kernels
import numpy as np
import pytest
from numpy.lib.mixins import NDArrayOperatorsMixin

from minigan.device import Device

# What minigan asks of NumPy by an array's type. CuPy has each of these under the same name.
FUNCTIONS = {
    "arange", "array", "asarray", "broadcast_to", "clip", "concatenate", "einsum", "eye", "full",
    "linalg.cholesky", "linalg.norm", "linalg.solve", "max", "min", "ones_like", "outer", "pad",
    "split", "stack", "sum", "tile", "trace", "unravel_index", "where", "zeros_like",
}  # fmt: skip
UFUNCS = {
    "absolute", "add", "add.at", "cos", "divide", "equal", "exp", "expm1", "fmax", "greater",
    "isfinite", "less", "less_equal", "log", "matmul", "maximum", "minimum", "multiply", "negative",
    "power", "sign", "sin", "sqrt", "square", "subtract", "tanh",
}  # fmt: skip
METHODS = {
    "argmax", "astype", "copy", "max", "mean", "min", "ravel", "repeat", "reshape", "std", "sum",
    "transpose",
}  # fmt: skip


def _plain(value: Any) -> Any:
    """Arguments of a function with NumPy's arrays in place of Strict ones."""
    if isinstance(value, Strict):
        return value.array
    if isinstance(value, np.ndarray):
        raise TypeError(f"an array of NumPy's, {value.shape}, among arrays on the card")
    if isinstance(value, (list, tuple)):
        return type(value)([_plain(part) for part in value])
    if isinstance(value, dict):
        return {key: _plain(part) for key, part in value.items()}
    return value


def _strict(value: Any) -> Any:
    """A result, whose single values lie on the card as well."""
    if isinstance(value, (np.ndarray, np.generic)):
        return Strict(np.asarray(value))
    return type(value)(map(_strict, value)) if isinstance(value, (list, tuple)) else value


class Strict(NDArrayOperatorsMixin):
    """An array on a card that is not there."""

    __slots__ = ("__weakref__", "array")
    __cuda_array_interface__: Any = None  # says to minigan that it lives on a card
    __hash__ = None  # type: ignore[assignment]

    def __init__(self, array: np.ndarray) -> None:
        self.array = array

    def get(self) -> np.ndarray:
        return self.array.copy(order="K")

    def item(self) -> Any:
        return self.array.item()

    def __getattr__(self, name: str) -> Any:
        if name in ("dtype", "nbytes", "ndim", "shape", "size"):
            return getattr(self.array, name)
        if name == "T":
            return Strict(self.array.T)
        if name not in METHODS:
            raise AttributeError(f"arrays on the card were not known to need {name}")
        method = getattr(self.array, name)
        return lambda *args, **kwargs: _strict(method(*_plain(args), **_plain(kwargs)))

    def __getitem__(self, index: Any) -> Strict:
        return Strict(np.asarray(self.array[_plain(index)]))

    def __setitem__(self, index: Any, value: Any) -> None:
        self.array[_plain(index)] = _plain(value)

    def __len__(self) -> int:
        return len(self.array)

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **options: Any) -> Any:
        name = ufunc.__name__ if method == "__call__" else f"{ufunc.__name__}.{method}"
        if name not in UFUNCS or any(isinstance(x, tuple) for x in inputs):
            return NotImplemented
        return _strict(getattr(ufunc, method)(*_plain(inputs), **_plain(options)))

    def __array_function__(self, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
        module = function.__module__.removeprefix("numpy").removeprefix(".")
        if (f"{module}." if module else "") + function.__name__ not in FUNCTIONS:
            return NotImplemented
        if function.__name__ in ("array", "asarray") and isinstance(args[0], np.ndarray):
            return _strict(args[0].copy(order="K"))  # brings one to the card
        return _strict(function(*_plain(args), **_plain(kwargs)))

    def _refuse(self, *_: Any) -> Any:
        raise TypeError("a value on the card was read without item() or get()")

    __array__ = __bool__ = __float__ = __index__ = __int__ = __iter__ = _refuse


class Card(Device):
    """A device whose arrays are Strict."""

    name = "strict"

    def put(self, array: Any) -> Strict:
        return array if isinstance(array, Strict) else Strict(array.copy(order="K"))

    def empty(self, shape: Any, dtype: Any) -> Strict:
        return Strict(np.full(shape, np.nan, dtype))


@contextmanager
def strict_kernels() -> Iterator[None]:
    """Within the block there are kernels for Strict arrays: the CPU's."""
    twin = kernels._twin

    def strict_twin(file: str, name: str, where: str) -> Any:
        if where != "strict":
            return twin(file, name, where)
        plain = twin(file, name, "cpu")
        return lambda *args, **kwargs: _strict(plain(*_plain(args), **_plain(kwargs)))

    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(kernels._ROOMS, "strict.Strict", "strict")
        patch.setattr(kernels, "_twin", strict_twin)
        yield
