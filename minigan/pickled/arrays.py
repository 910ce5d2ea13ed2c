"""NumPy's arrays in a pickle, each held against the bytes that are really there."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any, ClassVar

import numpy as np

from .machine import ForeignTypeError, Machine

AXES = 32  # of an array


class Name(Enum):
    """What a program may name."""

    RECONSTRUCT = auto()  # an empty array, to be filled from a state
    FROM_BUFFER = auto()  # the array of a buffer, in protocol 5
    NDARRAY = auto()
    DTYPE = auto()
    ENCODE = auto()  # bytes from text, in protocols that have no bytes
    BYTES = auto()  # b"" in these protocols


def is_shape(value: Any) -> bool:
    """Whether a value of a program is a shape: a tuple of a few sizes, none below 0."""
    if type(value) is not tuple or len(value) > AXES:  # a long one could be looked at very often
        return False
    return all(type(n) is int and n >= 0 for n in value)


@dataclass
class Holder:
    """The array of a program; None until the program gives its state."""

    array: np.ndarray | None = None


@dataclass
class _DType:
    """A type of an array's values, to which the program gives the byte order later."""

    dtype: np.dtype


class ArrayMachine(Machine):
    """A machine that knows NumPy's arrays of some `dtypes`, which it gives as `Holder`s."""

    names: ClassVar[Mapping[tuple[str, str], Any]] = {
        ("numpy.core.multiarray", "_reconstruct"): Name.RECONSTRUCT,
        ("numpy._core.multiarray", "_reconstruct"): Name.RECONSTRUCT,
        ("numpy.core.numeric", "_frombuffer"): Name.FROM_BUFFER,
        ("numpy._core.numeric", "_frombuffer"): Name.FROM_BUFFER,
        ("numpy", "ndarray"): Name.NDARRAY,
        ("numpy", "dtype"): Name.DTYPE,
        ("_codecs", "encode"): Name.ENCODE,
        ("__builtin__", "bytes"): Name.BYTES,
    }
    dtypes: ClassVar[Mapping[str, str]] = {"u1": "uint8"}  # NumPy's short names, and its long ones

    def array(self, content: bytes, shape: Any, dtype: np.dtype, *, fortran: bool) -> np.ndarray:
        """The array of these bytes.

        Raises:
            ValueError: if its shape does not fit them.
        """
        if not is_shape(shape):
            raise ValueError("its array has a shape that is none")
        if len(content) != math.prod(shape) * dtype.itemsize:
            raise ValueError("its array has another size than its shape")
        flat = np.frombuffer(content, dtype)
        return flat.reshape(shape, order="F" if fortran else "C")

    def called(self, name: Any, arguments: tuple[Any, ...]) -> Any:
        match name, arguments:
            case Name.ENCODE, (str(text), "latin1" | "latin-1"):
                self.spend(len(text), "encodes one text")
                return text.encode("latin-1")
            case Name.BYTES, ():
                return b""
            case Name.RECONSTRUCT, (Name.NDARRAY, (0,), b"b" | "b"):
                return Holder()
            case Name.DTYPE, (bytes() | str() as code, 0 | False, 1 | True):
                code = code.decode("latin-1") if isinstance(code, bytes) else code
                if code in self.dtypes:
                    return _DType(np.dtype(code))
            case Name.FROM_BUFFER, (bytes(content), _DType(dtype), shape, "C" | "F" as order):
                return Holder(self.array(content, shape, dtype, fortran=order == "F"))
        if name is Name.DTYPE:
            known = ", ".join(self.dtypes.values())
            raise ForeignTypeError(f"it has an array of another type than {known}")
        return super().called(getattr(name, "name", str(name)).lower(), arguments)

    def filled(self, target: Any, state: Any) -> None:
        if not isinstance(target, (_DType, Holder)):
            super().filled(target, state)
        match target, state:
            case _DType(), (3, bytes() | str() as order, None, None, None, -1, -1, 0):
                order = order.decode("latin-1") if isinstance(order, bytes) else order
                if (order == "|") == (target.dtype.itemsize == 1) and order in ("|", "<", ">", "="):
                    target.dtype = np.dtype(order + target.dtype.str[1:])
                    return
            case Holder(), (1, shape, _DType(dtype), int(fortran), bytes(content)):
                target.array = self.array(content, shape, dtype, fortran=bool(fortran))
                return
        raise ValueError(f"it gives a state that no array of {', '.join(self.dtypes.values())} has")
