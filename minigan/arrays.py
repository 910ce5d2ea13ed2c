"""Arrays that tensors own: copied from what a user may write, in the machine's byte order."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import numpy as np
from minigan_kernels.memo import LARGE, freeze_result, has_entry, is_frozen

from .device import Array, on_host

FLOAT32 = np.dtype(np.float32)
INTEGERS = "iub"  # kinds of dtype: signed, unsigned, bool
REAL = INTEGERS + "f"


def own(data: Any, dtype: Any = None) -> Array:
    """An array of `data` that nobody else writes: a copy, unless `data` is a read-only array.

    Floating-point numbers and lists of them become float32; arrays keep their dtype, unless one is
    given. Values of the other byte order are converted. NumPy cannot tell of a read-only array that
    it has a writable view from before. A GPU's arrays are never read-only, so they are always
    copied, but for those which `minigan_kernels.memo.freeze` was called on.
    """
    if not on_host(data):
        if (dtype is None or data.dtype == dtype) and is_frozen(data):
            return data
        return data.astype(data.dtype if dtype is None else dtype)
    array = data if isinstance(data, np.ndarray) else np.asarray(data)
    if dtype is None:
        plain = not hasattr(data, "dtype") and array.dtype == np.float64
        dtype = np.float32 if plain else array.dtype
    dtype = np.dtype(dtype).newbyteorder("=")
    if type(data) is np.ndarray and data.dtype == dtype and is_frozen(data):
        return data
    return np.array(array, dtype)


def freeze_new(result: Array, inputs: list[Array], maker: object) -> None:
    """Make what `maker` computed from `inputs` read-only, as `minigan_kernels.memo.freeze_result`
    does. But of a small view only the view itself; and of arrays on a GPU only large ones, the
    others have no values.
    """
    if result.nbytes >= LARGE or has_entry(id(result)):
        freeze_result(result, inputs, maker)
    elif type(result) is np.ndarray:
        result.setflags(False)  # type: ignore[call-arg]  # a keyword would double its time


def own_beside(value: Any, neighbours: Sequence[Array]) -> Array:
    """As `own`, of an operand that is no tensor, beside these arrays of others that are.

    A number, also NumPy's, takes their dtype, as in NumPy; a float beside integers becomes float32.
    An array beside floats takes their dtype: it is data, and a float32 network stays float32.
    """
    if not neighbours:
        return own(value)
    dtype, kind = neighbours[0].dtype, type(value)
    if len(neighbours) > 1:
        dtype = np.result_type(*[array.dtype for array in neighbours])
    if (kind is float or kind is int) and dtype.kind == "f" and type(neighbours[0]) is np.ndarray:
        array = np.array(value, dtype)  # as below; the usual case, soon done with
        array.setflags(False)  # type: ignore[call-arg]
        return array
    if isinstance(value, (np.generic, np.ndarray)) and value.dtype.kind in REAL:
        if value.ndim == 0:
            value = value.item()
        elif dtype.kind == "f":
            return own(value, dtype)
    if isinstance(value, (bool, int, float)):
        if dtype.kind != "f":
            floats = isinstance(value, float) and dtype.kind in INTEGERS
            dtype = FLOAT32 if floats else np.result_type(dtype, value)
        like = None if on_host(neighbours[0]) else neighbours[0]
        return np.asarray(value, dtype, like=like)
    array = own(value)
    real = dtype.kind == "f" and array.dtype.kind in REAL
    return array.astype(dtype, copy=False) if real else array


# --- What becomes of integers, and of floats of two dtypes ------------------------------------

# Of the arrays and options of an operation: the arrays, with floats in place of some integers.
Check = Callable[[list[Array], dict[str, Any]], list[Array]]


def check_result(
    kernel: Callable[..., Array], arrays: list[Array], options: dict[str, Any]
) -> list[Array]:
    """Floats for integers if those make the result of `kernel` a float of a dtype that no array
    has: float64 for the exponential of int64, or for float32 times int64.
    """
    kinds = [array.dtype.kind for array in arrays]
    if all(kind not in INTEGERS for kind in kinds):
        return arrays
    dtype = getattr(kernel(*arrays, **options), "dtype", FLOAT32)
    if dtype.kind != "f" or any(array.dtype == dtype for array in arrays):
        return arrays
    return floats(arrays)


def one_dtype(arrays: list[Array], options: object = None) -> list[Array]:
    """Check, for products, that all floats are of one dtype; integers beside them become it.

    Raises:
        ValueError: if they are of two dtypes, with both, and what to do.
    """
    return floats(arrays) if any(array.dtype.kind == "f" for array in arrays) else arrays


def floats(arrays: list[Array], options: object = None) -> list[Array]:
    """Check, for functions of reals, that all floats are of one dtype; integers become it, or
    float32.

    Raises:
        ValueError: if they are of two dtypes, with both, and what to do.
    """
    found = list(dict.fromkeys(array.dtype for array in arrays if array.dtype.kind == "f"))
    if len(found) > 1 and _promoting.get():
        dtype = np.result_type(*found)
        return [array.astype(dtype, copy=False) for array in arrays]
    if len(found) > 1:
        raise ValueError(
            f"its arguments are {' and '.join(map(str, found))}, but must be of one dtype; convert "
            "the data with x.astype(numpy.float32), or the network with net.astype(numpy.float64)"
        )
    dtype = found[0] if found else FLOAT32
    return [array.astype(dtype) if array.dtype.kind in INTEGERS else array for array in arrays]


@contextmanager
def promoting() -> Iterator[None]:
    """Within the block functions of two float dtypes compute in the wider one, as sums do.

    So a network in float64 takes what a recipe makes in float32: gradients are checked like that.
    """
    before = _promoting.set(True)
    try:
        yield
    finally:
        _promoting.reset(before)


_promoting: ContextVar[bool] = ContextVar("promoting", default=False)


def own_option(value: Any) -> Any:
    """An option of an operation, an array or list say, that nobody else writes.

    Of other values it is the value itself. An array on a GPU is taken as it is: whether somebody
    writes it cannot be known there.
    """
    if isinstance(value, tuple):
        return tuple([own_option(part) for part in value])
    if isinstance(value, list):
        return [own_option(part) for part in value]
    return own(value) if isinstance(value, np.ndarray) else value
