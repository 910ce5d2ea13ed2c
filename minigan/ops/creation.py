"""Tensors of given values, by the names and rules of NumPy; float32 unless a dtype is given."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..hints import also
from ..tensor import Tensor, adopt, tensors
from ..tensor_hints import CREATION

_creates = also(**CREATION)


@_creates
def tensor(data: Any, dtype: Any = None) -> Tensor:
    """`Tensor(data, dtype)`: numbers and lists become float32 (or int64, bool), arrays keep their
    dtype.

    >>> mg.tensor([1.0, 2.0]).dtype
    dtype('float32')
    """
    return Tensor(data, dtype)


@_creates
def zeros(*shape: Any, dtype: Any = np.float32) -> Tensor:
    """Zeros of a shape, given as `(2, 3)` or `2, 3`.

    >>> mg.zeros((2, 3)).shape
    (2, 3)
    """
    return full(_shape("zeros", shape), 0, dtype)


@_creates
def ones(*shape: Any, dtype: Any = np.float32) -> Tensor:
    """Ones of a shape, given as `(2, 3)` or `2, 3`.

    >>> mg.ones(2, 3).shape
    (2, 3)
    """
    return full(_shape("ones", shape), 1, dtype)


@_creates
def full(shape: Any, value: Any, dtype: Any = None) -> Tensor:
    """`value` in all places of a shape; without a dtype an integer gives int64, a float float32.

    >>> mg.full((2, 2), 0.5).numpy()
    array([[0.5, 0.5],
           [0.5, 0.5]], dtype=float32)
    """
    dtype = Tensor(value).dtype if dtype is None else dtype
    return adopt(np.full(_shape("full", (shape,)), value, dtype))


@_creates
def eye(rows: int, columns: int | None = None, *, dtype: Any = np.float32) -> Tensor:
    """The unit matrix: ones where row and column are the same, zeros elsewhere.

    >>> mg.eye(2).numpy()
    array([[1., 0.],
           [0., 1.]], dtype=float32)
    """
    return adopt(np.eye(rows, columns, dtype=dtype))


@_creates
def arange(*limits: float, dtype: Any = None) -> Tensor:
    """Numbers of equal distance, `(stop)`, `(start, stop)` or `(start, stop, step)`, without
    `stop`: int64, or float32 if a limit is a float.

    >>> mg.arange(1, 7, 2).numpy().tolist()
    [1, 3, 5]
    """
    if dtype is None:
        whole = all(isinstance(limit, (int, np.integer)) for limit in limits)
        dtype = np.int64 if whole else np.float32
    numbers = np.arange(*limits)  # in float64: a step that was rounded would add up
    return adopt(numbers.astype(dtype, copy=False))


@_creates
def linspace(start: float, stop: float, count: int = 50, *, dtype: Any = np.float32) -> Tensor:
    """`count` numbers of equal distance from `start` to `stop`, which is among them.

    >>> mg.linspace(0, 1, 3).numpy()
    array([0. , 0.5, 1. ], dtype=float32)
    """
    return adopt(np.linspace(start, stop, count, dtype=dtype))


@_creates
def zeros_like(x: Any, *, dtype: Any = None) -> Tensor:
    """Zeros of the shape, the dtype and the device of x.

    >>> mg.zeros_like(mg.Tensor([[5.0]])).numpy()
    array([[0.]], dtype=float32)
    """
    return full_like(x, 0, dtype=dtype)


@_creates
def ones_like(x: Any, *, dtype: Any = None) -> Tensor:
    """Ones of the shape, the dtype and the device of x.

    >>> mg.ones_like(mg.Tensor([[5.0]])).numpy()
    array([[1.]], dtype=float32)
    """
    return full_like(x, 1, dtype=dtype)


@_creates
def full_like(x: Any, value: Any, *, dtype: Any = None) -> Tensor:
    """`value` in all places of the shape of x, in its dtype and on its device.

    >>> mg.full_like(mg.Tensor([1.0, 2.0]), 3).numpy()
    array([3., 3.], dtype=float32)
    """
    (x,) = tensors(x)
    return adopt(np.full_like(x.data, value, dtype=dtype))


def _shape(name: str, shape: tuple[Any, ...]) -> tuple[int, ...]:
    """A shape from `((2, 3),)`, `(2, 3)` or `(6,)`.

    Raises:
        TypeError: if it is none of integers.
    """
    sizes = shape[0] if len(shape) == 1 and isinstance(shape[0], (tuple, list)) else shape
    if all(isinstance(size, (int, np.integer)) for size in sizes):
        return tuple(int(size) for size in sizes)
    raise TypeError(
        f"the shape of {name} is integers, as {name}((2, 3)) or {name}(2, 3), not {shape}; "
        "a dtype is given by name"
    )
