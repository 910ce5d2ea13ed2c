"""The pickle in a file of PyTorch: tensors as views of storages, and NumPy's arrays.

All numbers in it were chosen by whoever wrote the file: each size, offset and stride is held
against the storage that it names, whose values are read later.

Source of the layouts: pytorch/torch/_utils.py.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any, ClassVar, NamedTuple

import numpy as np

from ..pickled import ArrayMachine, ForeignNameError, is_shape
from .halves import BFLOAT16

MOST = 200_000  # values in dictionaries and lists, and the longest axis of an empty tensor


class _Name(Enum):
    """What a program may name, beside arrays."""

    ORDERED = auto()  # an OrderedDict: a dictionary here
    TENSOR = auto()
    TENSOR_OLD = auto()  # of the first versions
    PARAMETER = auto()
    SIZE = auto()  # a tuple


@dataclass(frozen=True)
class _Kind:
    """A class of storages."""

    dtype: np.dtype


class Storage(NamedTuple):
    """The values `offset` to `offset + size` of the storage `key`, which has `whole` values."""

    key: str
    dtype: np.dtype
    whole: int
    offset: int
    size: int


class SavedTensor(NamedTuple):
    """A tensor within its storage."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


_KINDS: dict[str, Any] = {
    "Float": "f4", "Double": "f8", "Half": "f2", "BFloat16": BFLOAT16, "Long": "i8", "Int": "i4",
    "Short": "i2", "Char": "i1", "Byte": "u1", "Bool": "?",
}  # fmt: skip


# Names in files of tensors that are not read: what they are, and what to save instead.
_NOT_READ = {
    "ComplexFloatStorage": ("a complex tensor", "torch.view_as_real(x)"),
    "ComplexDoubleStorage": ("a complex tensor", "torch.view_as_real(x)"),
    "_rebuild_tensor_v3": ("a tensor of a type such as uint16 or float8", "x.float()"),
    "_rebuild_sparse_tensor": ("a sparse tensor", "x.to_dense()"),
    "_rebuild_sparse_csr_tensor": ("a sparse tensor", "x.to_dense()"),
    "_rebuild_qtensor": ("a quantized tensor", "x.dequantize()"),
    "_rebuild_nested_tensor": ("a nested tensor", "x.to_padded_tensor(0)"),
    "_rebuild_meta_tensor_no_storage": ("a tensor on the meta device", "one that has values"),
}


class NotReadError(ValueError):
    """A file is in order, but has what is not read; `way` says how to save it instead."""

    def __init__(self, what: str, way: str) -> None:
        super().__init__(f"{what}; {way}")

    @classmethod
    def of_tensor(cls, what: str, instead: str) -> NotReadError:
        return cls(f"has {what}, which is not read", f"save it in PyTorch as {instead}")


class StateMachine(ArrayMachine):
    known = "state dict"
    keys = (bytes, str, int)
    integer_bytes = 10  # as many as the first number of an old file has
    dtypes: ClassVar = {
        "f4": "float32", "f8": "float64", "f2": "float16", "i8": "int64", "i4": "int32",
        "i2": "int16", "i1": "int8", "u1": "uint8", "b1": "bool",
    }  # fmt: skip
    names: ClassVar = {
        **ArrayMachine.names,
        **{("torch", f"{kind}Storage"): _Kind(np.dtype(code)) for kind, code in _KINDS.items()},
        ("collections", "OrderedDict"): _Name.ORDERED,
        ("torch._utils", "_rebuild_tensor_v2"): _Name.TENSOR,
        ("torch._utils", "_rebuild_tensor"): _Name.TENSOR_OLD,
        ("torch._utils", "_rebuild_parameter"): _Name.PARAMETER,
        ("torch", "Size"): _Name.SIZE,
    }

    def __init__(self, program: bytes, place: int = 0) -> None:
        super().__init__(program, place)
        self.storages: dict[str, Storage] = {}  # each whole

    def named(self, module: Any, name: Any) -> None:
        if module in ("torch", "torch._utils") and name in _NOT_READ:
            raise NotReadError.of_tensor(*_NOT_READ[name])
        super().named(module, name)

    def persistent(self, identity: Any) -> Any:
        if (
            type(identity) is not tuple or len(identity) > 6
        ):  # which would be copied again and again
            raise ValueError("it has an identity that is no storage's")
        match identity:
            case (b"storage" | "storage", _Kind(dtype), key, bytes() | str(), int(whole), *more):
                key = text(key)
            case (b"module" | "module", *_):
                raise ForeignNameError("a module's source")
            case _:
                raise ValueError("it has an identity that is no storage's")
        if type(whole) is not int or whole < 0:
            raise ValueError("it has a storage of a size that is none")
        storage = Storage(key, dtype, whole, 0, whole)
        if self.storages.setdefault(key, storage) != storage:
            raise ValueError("it has one storage twice, in two ways")
        match more:
            case [] | [None]:
                return storage
            case [(_, int(offset), int(size))] if offset >= 0 and 0 <= size <= whole - offset:
                return storage._replace(offset=offset, size=size)
        raise ValueError("it has a part of a storage that is not in it")

    def called(self, name: Any, arguments: tuple[Any, ...]) -> Any:
        match name, arguments:
            case _Name.TENSOR, (
                Storage() as storage,
                offset,
                shape,
                strides,
                bool(),
                dict(),
                *more,
            ):
                match more:
                    case [{"neg": True}, *_]:
                        raise NotReadError.of_tensor("a negated view", "x.resolve_neg()")
                return _tensor(storage, offset, shape, strides)
            case _Name.TENSOR_OLD, (Storage() as storage, offset, shape, strides):
                return _tensor(storage, offset, shape, strides)
            case _Name.PARAMETER, (SavedTensor() as tensor, bool(), dict()):
                return tensor
            case _Name.ORDERED, ():
                return {}
            case _Name.ORDERED, (list(pairs),):
                self.spend(len(pairs), "copies one list")
                if all(map(_is_pair, pairs)):
                    self.stack.append({})
                    self.set_items([value for pair in pairs for value in pair])
                    return self.pop()
            case _Name.SIZE, (tuple(sizes),):
                return sizes
        return super().called(name, arguments)

    def array(self, content: bytes, shape: Any, dtype: np.dtype, *, fortran: bool) -> np.ndarray:
        if dtype.kind != "b":
            return super().array(content, shape, dtype, fortran=fortran)
        bytes_ = super().array(content, shape, np.dtype(np.uint8), fortran=fortran)
        return np.asarray(bytes_ != 0)  # a byte of 2 would be neither true nor false

    def filled(self, target: Any, state: Any) -> None:
        if type(target) is not dict or type(state) is not dict:  # of an OrderedDict: its versions
            super().filled(target, state)


def _is_pair(value: Any) -> bool:
    return type(value) in (list, tuple) and len(value) == 2


def text(value: Any) -> str:
    """A text, which Python 2 has written as bytes; a number is its digits."""
    if isinstance(value, bytes):
        return value.decode("utf-8", "backslashreplace")
    if type(value) not in (str, int):
        raise ValueError("it has a name that is no text")
    return str(value)


def _tensor(storage: Storage, offset: Any, shape: Any, strides: Any) -> SavedTensor:
    """A tensor, if it is within its storage; an expanded one may be larger.

    Raises:
        ValueError: if it is not.
    """
    if not all(map(is_shape, ((offset,), shape, strides))):
        raise ValueError("it has a tensor whose offset, shape or strides are none")
    if len(shape) != len(strides):
        raise ValueError(f"it has a tensor of {len(shape)} axes and {len(strides)} strides")
    size = math.prod(shape)
    last = offset + sum((n - 1) * step for n, step in zip(shape, strides, strict=True))
    if last >= storage.size if size else offset > storage.size:
        raise ValueError("it has a tensor that is not within its storage")
    if not size and max(shape) > MOST:
        raise ValueError("it has an empty tensor with an absurd shape")
    return SavedTensor(storage, offset, shape, strides)
