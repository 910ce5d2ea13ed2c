"""A reader of PyTorch's files that runs nothing that they name.

`torch.save` writes a pickle beside the values of storages. Its two layouts are read here: a zip
(PyTorch 1.6 and later), and before that five pickles in a row; and a plain pickle, which may have
NumPy's arrays. The pickle is obeyed by the machine of `pytorch_pickle.py`. The storages that it
names are held against those that are really there, before any memory is taken for them.

Source of the layouts: pytorch/torch/serialization.py.
"""

from __future__ import annotations

import math
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from ..content import HEAD, archive, one_line, stand_in
from ..errors import UserError
from ..pickled import ForeignNameError, ForeignTypeError, Holder
from .facts import DamagedError
from .halves import widened
from .pytorch_pickle import MOST, NotReadError, SavedTensor, StateMachine, text

PROGRAM = 32 << 20  # bytes of a pickle; a state dict of 1,000 tensors has some 0.1 MB
LONGEST = 500  # characters of a tensor's name
DEEPEST = 16  # levels of dictionaries and lists
LARGER = 4  # times as large may all tensors be as the file: several may share a storage
_LEGACY = 0x1950A86A20F9469CFC6C, 1001  # the first two of the five pickles
_MAGIC = _LEGACY[0].to_bytes(10, "little")
_AGAIN = "save it again with a newer PyTorch, as torch.save(net.state_dict(), path)"
_ALONE = "save the weights alone in PyTorch, as torch.save(net.state_dict(), path)"
# What reading a zip or an array of numbers that do not fit may raise.
_UNFIT = (
    zipfile.BadZipFile, zlib.error, struct.error, ArithmeticError, EOFError, LookupError,
    NotImplementedError, RuntimeError, ValueError,
)  # fmt: skip


# --- What a program has built ------------------------------------------------------------------


def _named(found: Any) -> dict[str, SavedTensor | np.ndarray]:
    """The tensors and arrays in nested dictionaries and lists by their dotted paths.

    Other values beside them, such as the number of an epoch, are left out.

    Raises:
        NotReadError: if there is none, or two have one name, or a name is too long, or they are
            nested too deep.
        ValueError: if an array has no values.
    """
    named: dict[str, SavedTensor | np.ndarray] = {}
    if isinstance(found, (SavedTensor, Holder)):
        raise NotReadError(
            "holds one tensor alone", "save it by a name, as torch.save({'x': x}, path)"
        )
    for count, (name, value) in enumerate(_walked(found, "", 0)):
        if count >= MOST:
            raise NotReadError(f"has more than {MOST:,} values", _ALONE)
        if isinstance(value, Holder):
            if value.array is None:
                raise ValueError("it has an array without values")
            value = value.array
        if isinstance(value, (SavedTensor, np.ndarray)):
            if name in named:
                raise NotReadError(f"has two tensors called {one_line(name)}", _ALONE)
            named[name] = value
    if not named:
        raise NotReadError("holds no tensors by name", _ALONE)
    return named


def _walked(value: Any, name: str, depth: int) -> Iterator[tuple[str, Any]]:
    yield name, value
    if len(name) > LONGEST:
        raise NotReadError(f"has a name of more than {LONGEST} characters", _ALONE)
    if type(value) is dict:
        items = [(text(key), inner) for key, inner in value.items()]
    elif type(value) in (list, tuple):
        items = [(str(position), inner) for position, inner in enumerate(value)]
    else:
        return
    if depth == DEEPEST:
        raise NotReadError(f"is nested more than {DEEPEST} deep", _ALONE)
    for key, inner in items:
        yield from _walked(inner, f"{name}.{key}" if name else key, depth + 1)


def _arrays(
    named: dict[str, SavedTensor | np.ndarray], values: dict[str, bytes], order: str, room: int
) -> dict[str, np.ndarray]:
    """The arrays of tensors whose storages have these `values`, in C order; equal views are one.

    Raises:
        NotReadError: if the arrays would take more than `room` bytes.
    """
    storages: dict[tuple[str, np.dtype], np.ndarray] = {}
    made: dict[Any, np.ndarray] = {}
    arrays = {}
    for name, tensor in named.items():
        identity = tensor if isinstance(tensor, SavedTensor) else id(tensor)
        if identity not in made:
            if isinstance(tensor, SavedTensor):
                key = tensor.storage.key, tensor.storage.dtype
                if key not in storages:
                    storages[key] = _flat(values[key[0]], key[1], order)
                flat = storages[key]
            else:
                flat = tensor
            room -= math.prod(tensor.shape) * max(flat.itemsize, 4)
            if room < 0:
                raise _too_large(name, tensor)
            view = _view(tensor, flat) if isinstance(tensor, SavedTensor) else tensor
            made[identity] = np.array(widened(view), order="C")
        arrays[name] = made[identity]
    return arrays


def _too_large(name: str, tensor: SavedTensor | np.ndarray) -> NotReadError:
    if isinstance(tensor, SavedTensor) and 0 in tensor.strides:
        what = f"has an expanded view, {one_line(name)}, that is far larger than the file"
        return NotReadError(what, "save it in PyTorch as x.contiguous()")
    what = "has tensors that overlap, and are far larger than the file"
    return NotReadError(what, "save them in PyTorch as x.clone()")


def _flat(values: bytes, dtype: np.dtype, order: str) -> np.ndarray:
    """The values of a storage, whose bytes have this order, "little" or "big"."""
    if dtype.kind == "b":  # a byte of 2 would be neither true nor false
        return np.frombuffer(values, np.uint8) != 0
    return widened(np.frombuffer(values, dtype.newbyteorder("<" if order == "little" else ">")))


def _view(tensor: SavedTensor, flat: np.ndarray) -> np.ndarray:
    """The tensor in the values of its storage; `_tensor` has checked that it is within."""
    strides = [step * flat.itemsize for step in tensor.strides]
    start = tensor.storage.offset + tensor.offset
    return np.lib.stride_tricks.as_strided(flat[start:], tensor.shape, strides)


# --- The two layouts ---------------------------------------------------------------------------


def read(path: Path) -> dict[str, np.ndarray]:
    """The tensors in a file of `torch.save`, by name: new arrays in C order.

    Names of nested dictionaries are joined by dots: "model.0.weight". What is no tensor is left
    out. Tensors that are one in the file are one array. Halves become float32.

    Raises:
        UserError: if there is no such file, it is damaged, or it holds what is not read: what only
            its own code could open, or tensors that are sparse, complex, or of an unusual type.
    """
    try:
        if not stat.S_ISREG(path.stat().st_mode):  # a pipe would be waited for
            raise DamagedError(path, "it is not a file", "name one")
        with open(path, "rb") as file:
            head = file.read(HEAD)
            if (what := stand_in(head)) is not None:
                raise UserError(f"{path} is not a file of PyTorch but {what}")
            file.seek(0)
            if archive(head) == "a tar archive":
                raise UserError(f"{path} is a tar archive of a PyTorch before 0.1.10; {_AGAIN}")
            if head.startswith(b"PK\3\4"):
                return _read_zip(path, file, path.stat().st_size)
            if _MAGIC in head[:32]:
                return _read_legacy(path, file, path.stat().st_size)
            program = file.read()
            return _arrays(
                _named(StateMachine(program).load()), {}, "little", LARGER * len(program)
            )
    except FileNotFoundError:
        raise UserError(f"there is no file {path}") from None
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror or error}") from error
    except ForeignNameError as error:
        raise UserError(
            f"{path} needs {one_line(error.name)}, and no code that a file names is run; {_ALONE}"
        ) from error
    except NotReadError as error:
        raise UserError(f"{path} {error}") from error
    except ForeignTypeError as error:
        raise UserError(f"{path} is not read: {error}; {_ALONE}") from error
    except _UNFIT as error:
        raise DamagedError(path, one_line(error), "fetch it again, or save it again") from error


def _read_zip(path: Path, file: BinaryIO, size: int) -> dict[str, np.ndarray]:
    with zipfile.ZipFile(file) as opened:
        entries = {entry.filename: entry for entry in opened.infolist()}
        if len(entries) != len(opened.infolist()):
            raise ValueError("it has one entry twice")
        roots = [name.removesuffix("data.pkl") for name in entries if name.endswith("/data.pkl")]
        roots = [root for root in roots if root.count("/") == 1]
        if len(roots) != 1:
            raise ValueError("it is a zip archive, but not PyTorch's: it has no data.pkl")
        root = roots[0]
        if f"{root}constants.pkl" in entries:
            raise UserError(
                f"{path} holds TorchScript, which is code, and no code of a file is run; save the "
                "weights alone in PyTorch, as torch.save(torch.jit.load(path).state_dict(), other)"
            )
        left = size

        def content(name: str, most: int) -> bytes:
            nonlocal left
            entry = entries.get(root + name)
            if entry is None:
                raise ValueError(f"it lacks {one_line(name)}")
            if entry.compress_type != zipfile.ZIP_STORED or entry.flag_bits & 1:
                raise ValueError("its entries are compressed or encrypted, as PyTorch leaves none")
            left -= entry.file_size  # entries that overlap would take more than the file has
            if entry.file_size != entry.compress_size or entry.file_size > most or left < 0:
                raise ValueError(f"its {one_line(name)} has an absurd size")
            return opened.read(entry)

        order = "little"
        if f"{root}byteorder" in entries:
            order = content("byteorder", 16).decode("ascii", "replace")
        if order not in ("little", "big"):
            raise ValueError("it has a byte order that is none")
        machine = StateMachine(content("data.pkl", PROGRAM))
        named = _named(machine.load())
        values = {}
        for key, storage in machine.storages.items():
            wanted = storage.whole * storage.dtype.itemsize
            values[key] = content(f"data/{key}", wanted)
            if len(values[key]) != wanted:
                raise ValueError(f"its storage {one_line(key)} is cut short")
    return _arrays(named, values, order, LARGER * size)


def _read_legacy(path: Path, file: BinaryIO, size: int) -> dict[str, np.ndarray]:
    program = file.read(PROGRAM)
    place, parts, machines = 0, [], []
    for part in range(5):
        machine = StateMachine(program, place)
        parts.append(machine.load())
        if part < 2 and parts[part] != _LEGACY[part]:
            raise ValueError("it does not begin as a file of torch.save does")
        place = machine.place
        machines.append(machine)
    match parts[2]:
        case {"little_endian": False} | {b"little_endian": False}:
            raise UserError(f"{path} was written on a big-endian machine; {_AGAIN}")
    named, storages, keys = _named(parts[3]), machines[3].storages, parts[4]
    if type(keys) is not list or sorted(map(text, keys)) != sorted(storages):
        raise ValueError("its list of storages is not that of its tensors")
    values = {}
    for key in map(text, keys):
        file.seek(place)
        count = int.from_bytes(file.read(8), "little")
        if count != storages[key].whole:
            raise ValueError(f"its storage {one_line(key)} has another size than its tensors say")
        wanted = count * storages[key].dtype.itemsize
        if wanted > size - place - 8:
            raise ValueError("it ends too early")
        values[key] = file.read(wanted)
        place += 8 + wanted
    if place != size:
        raise ValueError("it goes on behind its last storage")
    return _arrays(named, values, "little", LARGER * size)
