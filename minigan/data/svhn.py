"""The cropped digits of SVHN (Netzer et al. 2011), in MATLAB's format 5: X and y of bytes, no more.

Source: MAT-File Format, The MathWorks: level 5, chapter 1.
"""

from __future__ import annotations

import io
import math
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, Protocol

import numpy as np

from ..content import HEAD, check_content, one_line
from ..errors import UserError
from .dataset import Dataset
from .images import LARGEST, resize
from .memory import check_memory
from .outline import Outline
from .streams import NoSplitError, check_split

_FILES = {"train": "train_32x32.mat", "test": "test_32x32.mat"}
_EXTRA = "extra_32x32.mat"
_TEXT = b"MATLAB 5.0 MAT-file"
_HEADER = 128  # bytes
_INT8, _UINT8, _INT32, _UINT32, _MATRIX, _COMPRESSED = 1, 2, 5, 6, 14, 15  # types of elements
_NUMBERS = {6: "double", 9: "uint8"}  # classes of arrays that may keep their values as bytes
_COMPLEX = 0x0800
_ELEMENTS = 16  # in a file; those of SVHN have two
_NAME = 64  # bytes
_GROWTH = 1032  # largest growth of a deflate stream (zlib's technical notes)
_PIECE = 1 << 20  # bytes read at once
_TURNED = 4096  # images turned at once


def svhn_file(place: Path, split: str) -> Path | None:
    """The file of a split, in a folder that has any of SVHN's, or for a file that is MATLAB's.

    A file is its own training part, and has the test part beside it.
    """
    if place.is_dir():
        there = any((place / name).is_file() for name in (*_FILES.values(), _EXTRA))
        return place / _FILES[split] if there else None
    if not place.is_file():
        return None
    with open(place, "rb") as file:
        if not file.read(len(_TEXT)).startswith(b"MATLAB "):
            return None
    return place if split == "train" else place.with_name(_FILES["test"])


def is_svhn(place: Path) -> bool:
    """Whether a folder has files of SVHN, or a file is one of MATLAB's."""
    return svhn_file(place, "train") is not None


def read(
    place: Path,
    *,
    split: str = "train",
    size: int | None = None,
    report: Callable[[str], None] | None = None,
) -> Dataset:
    """The digits of a split: train_32x32.mat and test_32x32.mat in a folder, or a file by its name.

    x is (N, 3, H, W) uint8, resized to size x size if given; y (N,) int64, the digit, which the
    file says as 1 .. 10: 10 is the digit 0. A file that is named, such as extra_32x32.mat, is
    training data, and test_32x32.mat beside it the test part.

    Raises:
        NoSplitError: if the file of the split is not there.
        UserError: if it is damaged, or no such file.
    """
    path = _required(place, split)
    if report is not None and place.is_dir() and split == "train" and (place / _EXTRA).is_file():
        report(f"passed over {place / _EXTRA}; --data takes that file by its name")
    arrays = _load(path, ("X", "y"))
    x, y = _images(path, arrays.pop("X")), _digits(path, arrays.pop("y"))
    if len(x) != len(y):
        raise UserError(f"{path} holds {len(x):,} images but {len(y):,} labels.")
    x = x if size is None else resize(x, size)
    return Dataset("svhn", x, y, tuple("0123456789"))


def outline(place: Path, *, split: str, size: int | None) -> Outline:
    """What `read` would give, from the labels alone.

    Raises:
        UserError: as of `read`, but for the images.
    """
    path = _required(place, split)
    y = _digits(path, _load(path, ("y",))["y"])
    side = 32 if size is None else size
    return Outline(((3, side, side),), 10, len(y))


def _required(place: Path, split: str) -> Path:
    check_split(split)
    path = svhn_file(place, split)
    if path is None or not path.is_file():
        raise NoSplitError(f"The {split} part of SVHN is not there: there is no {path or place}.")
    if place.is_file() and split == "test" and path.samefile(place):
        raise NoSplitError(f"{place} is taken as training data; give its folder.")
    return path


def _images(path: Path, x: np.ndarray) -> np.ndarray:
    """(N, 3, H, W), in the memory of x (H, W, 3, N), whose first index changes fastest."""
    if x.ndim != 4 or x.shape[2] != 3 or x.shape[0] != x.shape[1] or x.shape[0] > LARGEST:
        raise UserError(f"{path} holds an X of shape {x.shape}, not (32, 32, 3, N) as SVHN has it.")
    found = x.transpose(3, 2, 1, 0)  # (N, 3, W, H), contiguous
    for start in range(0, len(found), _TURNED):
        part = found[start : start + _TURNED]
        part[:] = part.swapaxes(2, 3).copy()
    return found


def _digits(path: Path, y: np.ndarray) -> np.ndarray:
    if y.ndim != 2 or y.shape[1] != 1 or y.size == 0 or y.min() < 1 or y.max() > 10:
        raise UserError(f"{path} holds a y that is not (N, 1) of 1 to 10, as SVHN has it.")
    return y[:, 0].astype(np.int64) % 10


# --- MATLAB's format 5 ---------------------------------------------------------------------------


class _Bytes(Protocol):
    """What gives bytes one after the other."""

    def read(self, count: int) -> bytes: ...


class _Inflated:
    """The bytes of a zlib stream of `packed` bytes in a file."""

    def __init__(self, file: BinaryIO, packed: int) -> None:
        self.file, self.packed, self.stream = file, packed, zlib.decompressobj()

    def read(self, count: int) -> bytes:
        """At most `count` bytes; fewer only at the end."""
        found = bytearray()
        while len(found) < count and not self.stream.eof:
            piece = self.stream.unconsumed_tail
            if not piece:
                piece = self.file.read(min(_PIECE, self.packed))
                self.packed -= len(piece)
            if not piece:
                break
            found += self.stream.decompress(piece, count - len(found))
        return bytes(found)


def _load(path: Path, wanted: tuple[str, ...]) -> dict[str, np.ndarray]:
    """The arrays of bytes of these names, in the order of indices of MATLAB (Fortran's).

    Raises:
        UserError: if the file is damaged, of another version, or lacks one of them.
    """
    try:
        size = path.stat().st_size
        with open(path, "rb") as file:
            head = file.read(_HEADER)
            _check_head(path, head)
            order = {b"IM": "<", b"MI": ">"}.get(head[126:128])
            if order is None:
                raise ValueError("its header says no byte order")
            return _elements(file, size, order, wanted)
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror or error}.") from error
    except (ValueError, zlib.error, struct.error) as error:
        raise UserError(
            f"{path} is no file of SVHN, or damaged ({one_line(error)}); fetch it again."
        ) from error


def _check_head(path: Path, head: bytes) -> None:
    if head.startswith((b"MATLAB 7.3", b"\x89HDF")):
        raise UserError(
            f"{path} is of MATLAB's format 7.3; SVHN's cropped digits (its format 2: "
            f"{_FILES['train']} and {_FILES['test']}) are of format 5, and are read."
        )
    if not head.startswith(_TEXT):
        check_content(path, head[:HEAD], "a file of SVHN")
        raise ValueError("it is not of MATLAB's format 5")


def _elements(
    file: BinaryIO, size: int, order: str, wanted: tuple[str, ...]
) -> dict[str, np.ndarray]:
    found: dict[str, np.ndarray] = {}
    for _ in range(_ELEMENTS):
        if len(found) == len(wanted):
            return found
        tag = file.read(8)
        if not tag:
            break
        kind, length = struct.unpack(f"{order}2I", _whole(tag, 8))
        start = file.tell()
        if length > size - start:
            raise ValueError("it is cut short")
        if kind == _COMPRESSED:
            inflated = _Inflated(file, length)
            packed, inner = struct.unpack(f"{order}2I", _whole(inflated.read(8), 8))
            if packed == _MATRIX:
                _matrix(inflated, inner, min(inner, _GROWTH * length), order, wanted, found)
        elif kind == _MATRIX:
            _matrix(file, length, length, order, wanted, found)
        file.seek(start + length + (0 if kind == _COMPRESSED else -length % 8))
    if lacking := [name for name in wanted if name not in found]:
        raise ValueError(f"it lacks {' and '.join(lacking)}")
    return found


def _matrix(
    file: _Bytes,
    length: int,
    possible: int,
    order: str,
    wanted: tuple[str, ...],
    found: dict[str, np.ndarray],
) -> None:
    """Read an array into `found` if it is wanted; `possible` bytes of it can be there at most."""
    kind, flags = _element(file, order, 8)
    if kind != _UINT32 or len(flags) != 8:
        raise ValueError("its array has no flags")
    word = struct.unpack(f"{order}2I", flags)[0]
    kind, sizes = _element(file, order, 4 * 8)
    if kind != _INT32 or len(sizes) < 8 or len(sizes) % 4:
        raise ValueError("its array has no shape")
    shape = struct.unpack(f"{order}{len(sizes) // 4}i", sizes)
    kind, name = _element(file, order, _NAME)
    if kind != _INT8:
        raise ValueError("its array has no name")
    text = name.decode("ascii", "backslashreplace")
    if text not in wanted:
        return
    if text in found:
        raise ValueError(f"it has two arrays {text}")
    if word & _COMPLEX or word & 0xFF not in _NUMBERS:
        raise ValueError(f"its {text} is of class {word & 0xFF}, not of bytes")
    kind, nbytes, small = _tag(file, order)
    if kind != _UINT8:
        raise ValueError(f"its {text} holds values of type {kind}, not bytes")
    if min(shape) < 0 or math.prod(shape) != nbytes or nbytes > min(length, possible):
        raise ValueError(f"its {text} of shape {shape} has not as many bytes as it should")
    check_memory(nbytes, f"Its array {text}")
    values = np.empty(nbytes, np.uint8)
    source = file if small is None else io.BytesIO(small)
    for start in range(0, nbytes, _PIECE):
        count = min(_PIECE, nbytes - start)
        values[start : start + count] = np.frombuffer(_whole(source.read(count), count), np.uint8)
    found[text] = values.reshape(shape, order="F")


def _tag(file: _Bytes, order: str) -> tuple[int, int, bytes | None]:
    """The type and the length of an element, and its bytes if they are few and in the tag."""
    tag = _whole(file.read(8), 8)
    kind, length = struct.unpack(f"{order}2I", tag)
    if kind >> 16 == 0:
        return kind, length, None
    if kind >> 16 > 4:
        raise ValueError("it has a short element that is not short")
    return kind & 0xFFFF, kind >> 16, tag[4 : 4 + (kind >> 16)]


def _element(file: _Bytes, order: str, most: int) -> tuple[int, bytes]:
    """The type and the bytes of an element of at most `most` bytes, with what fills it up read."""
    kind, length, small = _tag(file, order)
    if small is not None:
        return kind, small
    if length > most:
        raise ValueError(f"it has an element of {length:,} bytes where {most} are most")
    padded = length + -length % 8
    return kind, _whole(file.read(padded), padded)[:length]


def _whole(content: bytes, count: int) -> bytes:
    if len(content) < count:
        raise ValueError("it is cut short")
    return content
