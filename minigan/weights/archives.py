"""Arrays by name in NumPy's .npz, and in safetensors files that are not minigan's."""

from __future__ import annotations

import io
import math
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ..content import HEAD, UNREADABLE_ARRAYS, one_line, stand_in
from ..errors import UserError
from .facts import DamagedError
from .halves import BFLOAT16, widened

_WAY = "fetch it again, or save it again"
_HEADER = 10_000  # bytes of an array's header; the names of fields alone would be longer
_KINDS: dict[str, Any] = {
    "F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": BFLOAT16, "I64": "<i8", "I32": "<i4",
    "I16": "<i2", "I8": "i1", "U64": "<u8", "U32": "<u4", "U16": "<u2", "U8": "u1", "BOOL": "u1",
}  # fmt: skip


def opened(path: Path) -> bytes:
    """All bytes of a file.

    Raises:
        UserError: if it is none, cannot be read, or is a pointer or a page.
    """
    if path.exists() and not path.is_file():  # a pipe would be waited for
        raise DamagedError(path, "it is not a file", "name one")
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise UserError(f"there is no file {path}") from None
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror or error}") from error
    if (what := stand_in(content[:HEAD])) is not None:
        raise UserError(f"{path} is not a file of weights but {what}")
    return content


def read_safetensors(path: Path) -> dict[str, np.ndarray]:
    """The arrays of a safetensors file; float16 and bfloat16 become float32.

    Raises:
        UserError: if it is missing or damaged, or has numbers of 8 bits and other kinds.
    """
    from safetensors import SafetensorError, deserialize

    try:
        found = deserialize(opened(path))  # type: ignore[no-untyped-call]
    except (SafetensorError, ValueError) as error:
        raise DamagedError(path, one_line(error), _WAY) from error
    arrays = {}
    for name, tensor in found:
        kind = tensor["dtype"]
        if kind not in _KINDS:
            raise UserError(
                f"{one_line(name)} in {path} is of {one_line(kind)}, and minigan reads "
                f"{', '.join(_KINDS)}; convert it where it comes from"
            )
        array = np.frombuffer(tensor["data"], _KINDS[kind])
        array = array != 0 if kind == "BOOL" else widened(array)
        array = array if array.flags.writeable else array.copy()  # older versions give bytes
        arrays[name] = array.reshape(tensor["shape"])
    return {name: arrays[name] for name in sorted(arrays)}


def read_npz(path: Path) -> dict[str, np.ndarray]:
    """The arrays of an .npz file, without pickles; float16 becomes float32.

    Raises:
        UserError: if it is missing or damaged, or holds objects.
    """
    content = opened(path)
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            names = [entry.filename for entry in archive.infolist()]
            if len(set(names)) < len(names) or not all(name.endswith(".npy") for name in names):
                raise ValueError("its entries are not arrays, each with a name of its own")
            return {
                entry.filename.removesuffix(".npy"): _npy(archive, entry)
                for entry in archive.infolist()
            }
    except UNREADABLE_ARRAYS as error:
        raise DamagedError(path, one_line(error), _WAY) from error


def _npy(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> np.ndarray:
    """One array; its shape must be that of its bytes before any memory is taken for it.

    Raises:
        ValueError: if it is not, or the array holds objects or texts.
    """
    from numpy.lib import format as npy

    with archive.open(entry) as file, warnings.catch_warnings():
        warnings.simplefilter("error")  # NumPy warns of headers by Python 2
        version = npy.read_magic(file)
        if version not in ((1, 0), (2, 0)):
            raise ValueError("it has an array of a version that no weights have")
        header = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
        shape, fortran, dtype = header(file, max_header_size=_HEADER)
        if dtype.kind not in "biuf" or dtype.itemsize > 8:
            raise ValueError(f"it has an array of {one_line(dtype)}")
        if any(n < 0 for n in shape):
            raise ValueError("it has an array of a shape that is none")
        wanted = math.prod(shape) * dtype.itemsize
        if wanted > entry.file_size:
            raise ValueError("it has an array that is larger than its entry")
        data = file.read()
    if len(data) != wanted:
        raise ValueError("it has an array of another size than its shape")
    if dtype.kind == "b":
        flat = np.frombuffer(data, np.uint8) != 0
    else:
        flat = widened(np.frombuffer(data, dtype))
    return np.array(flat.reshape(shape, order="F" if fortran else "C"), order="C")


def npz(arrays: Mapping[str, np.ndarray]) -> bytes:
    """An .npz file of these arrays, whose names are any."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, array in arrays.items():
            # The same bytes at any time: the date is that of zipfile's first.
            with archive.open(zipfile.ZipInfo(f"{name}.npy"), "w", force_zip64=True) as entry:
                np.lib.format.write_array(entry, array, allow_pickle=False)
    return file.getvalue()
