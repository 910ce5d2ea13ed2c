"""Images in NumPy's own files, .npy and .npz, without pickles: a large .npy is mapped, not read."""

from __future__ import annotations

import math
import warnings
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Literal

import numpy as np

from ..content import UNREADABLE_ARRAYS, file_text, one_line
from ..errors import UserError
from .arrays import CHANNELS, from_arrays
from .dataset import Dataset
from .images import LARGEST, resize
from .memory import check_memory
from .outline import Outline
from .streams import NoSplitError, check_split
from .zipped import MAGIC as ZIP
from .zipped import is_zip

_MAGIC = b"\x93NUMPY"
_HEADER = 10_000  # bytes of an array's header; the names of fields alone would be longer
_MAPPED = 64 << 20  # bytes from which a .npy is mapped
_PIECE = 1 << 24  # bytes read or looked at once
_GROWTH = 1032  # largest growth of a deflate stream (zlib's technical notes)
_LABELS = ("y", "labels", "label")
# The arrays that hold the images, the first that is there, and those that may hold their labels.
_NAMES: dict[str, dict[str, tuple[str, ...]]] = {
    "train": {
        "x": _LABELS, "images": _LABELS, "data": _LABELS, "x_train": ("y_train",),
        "train_images": ("train_labels",), "arr_0": ("arr_1",),
    },
    "test": {"x_test": ("y_test",), "test_images": ("test_labels",)},
}  # fmt: skip


@dataclass(frozen=True)
class _Stored:
    """An array in a file, whose header is read, and whose values are not."""

    path: Path
    name: str  # in an .npz; of an .npy it is empty
    shape: tuple[int, ...]
    dtype: np.dtype
    fortran: bool
    start: int  # of the values in the file, or in the entry

    def __str__(self) -> str:
        return f"{self.name} in {self.path}" if self.name else str(self.path)

    @property
    def nbytes(self) -> int:
        return math.prod(self.shape) * self.dtype.itemsize

    @property
    def is_mapped(self) -> bool:
        return not self.name and self.nbytes >= _MAPPED

    def values(self) -> np.ndarray:
        """The array, read-only; mapped into memory if it is a large .npy."""
        order: Literal["C", "F"] = "F" if self.fortran else "C"
        if self.is_mapped:
            return np.memmap(self.path, self.dtype, "r", self.start, self.shape, order)
        check_memory(self.nbytes, str(self))
        content = np.empty(self.nbytes, np.uint8)
        if self.name:
            with zipfile.ZipFile(self.path) as archive, archive.open(f"{self.name}.npy") as file:
                file.read(self.start)
                _fill(content, file)
        else:
            with open(self.path, "rb") as file:
                file.seek(self.start)
                _fill(content, file)
        return np.ndarray(self.shape, self.dtype, content.data, order=order)


def _fill(content: np.ndarray, file: IO[bytes]) -> None:
    """Read by pieces, and to the end, where an entry's checksum is compared."""
    filled = 0
    while filled < len(content):
        piece = file.read(min(_PIECE, len(content) - filled))
        if not piece:
            raise ValueError("it is cut short")
        content[filled : filled + len(piece)] = np.frombuffer(piece, np.uint8)
        filled += len(piece)
    if file.read(1):
        raise ValueError("it goes on after its array")


def is_numpy_file(path: Path) -> bool:
    """Whether a file begins as one of NumPy's, whatever its suffix."""
    if not path.is_file():
        return False
    with open(path, "rb") as file:
        head = file.read(len(_MAGIC))
    return head == _MAGIC or (head.startswith(ZIP) and not is_zip(path))


def read_file(
    path: Path,
    *,
    split: str = "train",
    size: int | None = None,
    report: Callable[[str], None] | None = None,
) -> Dataset:
    """The images of a split of an .npy or .npz file, with labels if there are any.

    In an .npz they are x, images, data or arr_0, with labels y, labels, label or arr_1; or x_train
    with y_train, and x_test with y_test are the test part. The array is (N, C, H, W), (N, H, W) or
    (N, H, W, C): uint8, or floats or integers that are clearly in 0 .. 1, -1 .. 1 or 0 .. 255. What
    else the file holds is told to `report`.

    x is (N, C, H, W) uint8, resized to size x size if given; a large .npy of bytes stays in the
    file, which must not be written while it is used.

    Raises:
        NoSplitError: if there is no such part.
        UserError: if the file is damaged, or its arrays are no images of a clear range.
    """
    check_split(split)
    with _named(path):
        arrays = _arrays(path)
        images, labels = _part(path, arrays, split)
        used = {name for part in _NAMES.values() for x, y in part.items() for name in (x, *y)}
        used.add("")  # that of an .npy
        if labels is None:
            used.discard("arr_1")
        if report is not None and (others := sorted(arrays.keys() - used)):
            report(f"passed over {', '.join(map(one_line, others))} in {path}")
        x = images.values()
        y = None if labels is None else _labels(labels)
        x, values = _channels_first(images, x), _range(images, x)
        try:  # texts may hold what is none, so this is a part of the file's reading
            data = from_arrays(x, y, name=file_text(path.resolve().stem), range=values)
        except UserError as error:
            raise UserError(f"{path} holds no data as they are needed: {error}") from error
    if len(data.classes) == 1:
        data = replace(data, y=None, classes=())
    return data if size is None else replace(data, x=resize(data.x, size))


def outline(path: Path, *, split: str, size: int | None) -> Outline:
    """What `read_file` would give, from the headers and the labels.

    Raises:
        UserError: as of `read_file`, as far as it is known.
    """
    check_split(split)
    with _named(path):
        images, labels = _part(path, _arrays(path), split)
        shape = np.broadcast_to(np.uint8(0), images.shape)
        count, channels, *sides = _channels_first(images, shape).shape
        classes = 0 if labels is None else len(np.unique(_labels(labels)))
    height, width = sides if size is None else (size, size)
    mapped = images.is_mapped and images.dtype == np.uint8 and size is None
    shapes = ((channels, height, width),)
    return Outline(shapes, 0 if classes == 1 else classes, count, mapped=mapped)


@contextmanager
def _named(path: Path) -> Iterator[None]:
    """Name the file in what its readers raise."""
    try:
        yield
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror or error}.") from error
    except UNREADABLE_ARRAYS as error:
        raise UserError(
            f"{path} is a damaged file of NumPy's, or holds more than arrays ({one_line(error)}); "
            "fetch it again, or save it again."
        ) from error


def _arrays(path: Path) -> dict[str, _Stored]:
    """The arrays of a file by their names; that of an .npy has none.

    Raises:
        ValueError: if the file is damaged.
    """
    if not _is_archive(path):
        with open(path, "rb") as file:
            return {"": _header(path, "", file, path.stat().st_size)}
    found = {}
    with zipfile.ZipFile(path) as archive:
        for entry in archive.infolist():
            name = entry.filename.removesuffix(".npy")
            if name in found or not name or name == entry.filename:
                raise ValueError("its entries are not arrays, each with a name of its own")
            if entry.file_size > _GROWTH * max(1, entry.compress_size):
                raise ValueError(f"{one_line(name)} promises more than its bytes can hold")
            with archive.open(entry) as packed:
                found[name] = _header(path, name, packed, entry.file_size)
    return found


def _is_archive(path: Path) -> bool:
    with open(path, "rb") as file:
        return file.read(len(ZIP)) == ZIP


def _header(path: Path, name: str, file: IO[bytes], size: int) -> _Stored:
    """What an array's header says, if its file or entry of `size` bytes holds just that.

    Raises:
        ValueError: if it does not, or the values are neither numbers nor short texts.
    """
    from numpy.lib import format as npy

    with warnings.catch_warnings():
        warnings.simplefilter("error")  # NumPy warns of headers by Python 2
        version = npy.read_magic(file)
        if version not in ((1, 0), (2, 0)):
            raise ValueError("it has an array of a version that holds no numbers")
        header = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
        shape, fortran, dtype = header(file, max_header_size=_HEADER)
    if dtype.kind not in "biufU" or not 0 < dtype.itemsize <= (1024 if dtype.kind == "U" else 16):
        raise ValueError(f"it has an array of {one_line(dtype)}")
    stored = _Stored(path, name, shape, dtype, fortran, file.tell())
    if any(n < 0 for n in shape) or stored.nbytes != size - stored.start:
        raise ValueError(f"its array of shape {shape} has not as many bytes as it should")
    return stored


def _part(path: Path, arrays: dict[str, _Stored], split: str) -> tuple[_Stored, _Stored | None]:
    """The images of a split, and their labels.

    Raises:
        NoSplitError: if there are none.
    """
    if "" in arrays and split == "train":
        return arrays[""], None
    for x, labels in _NAMES[split].items():
        if x in arrays:
            given = next((arrays[name] for name in labels if name in arrays), None)
            count = math.prod(arrays[x].shape[:1])
            if given is not None and given.shape not in ((count,), (count, 1)):
                # Without a name of its own it is something else; labels of another shape are wrong.
                given = None if given.name == "arr_1" else given
            return arrays[x], given
    known = ", ".join(_NAMES[split])
    if split == "test":
        lacks = "" if "" in arrays else f": none of its arrays is {known}"
        raise NoSplitError(f"{path} has no test images{lacks}.")
    there = ", ".join(one_line(name) for name in list(arrays)[:10])
    raise UserError(
        f"{path} holds {there or 'no array'}, and none of {known}; name the images x, say."
    )


def _labels(stored: _Stored) -> np.ndarray:
    """Labels (N,), of an array (N,) or (N, 1)."""
    y = stored.values()
    return y[:, 0] if y.ndim == 2 and y.shape[1] == 1 else y


def _channels_first(stored: _Stored, x: np.ndarray) -> np.ndarray:
    """A view (N, C, H, W) of images in any of the usual layouts.

    Raises:
        UserError: if the layout is another one, or not clear.
    """
    shape = x.shape
    if x.size == 0:
        raise UserError(f"{stored} is empty: {shape}.")
    first = x.ndim == 4 and shape[1] in CHANNELS
    last = x.ndim == 4 and shape[3] in (1, 3)
    if x.ndim == 3 and shape[2] > 4:
        x = x[:, None]
    elif last and not first:
        x = x.transpose(0, 3, 1, 2)
    elif last or not first:
        way = "images are (N, C, H, W), (N, H, W) or (N, H, W, C) with 1 or 3 channels"
        if x.ndim == 2:
            way = "points (N, D) and flat images are data in Python: " + _python(stored)
        elif last:
            way = "the channels may be first or last; " + _python(stored)
        raise UserError(f"{stored} is of shape {shape}; {way}.")
    if max(x.shape[2:]) > LARGEST:
        raise UserError(f"{stored} is of shape {shape}; sides of 1 to {LARGEST} are read.")
    return x


def _range(stored: _Stored, x: np.ndarray) -> tuple[float, float] | None:
    """The values of black and full intensity, as far as the values leave no doubt; None of bytes.

    Raises:
        UserError: if they do.
    """
    if x.dtype.kind not in "biuf":
        raise UserError(f"{stored} holds {x.dtype}, not numbers.")
    rows = max(1, _PIECE // max(1, x[:1].nbytes))
    pieces = (x[start : start + rows] for start in range(0, len(x), rows))
    if x.dtype == np.uint8:
        if any(piece.max() > 1 for piece in pieces):  # the first tells, as a rule
            return None
        raise UserError(
            f"{stored} holds bytes of 0 and 1 alone, which would all be black; save 255 * x."
        )
    low, high = np.inf, -np.inf
    for piece in pieces:
        least, most = float(piece.min()), float(piece.max())  # NaN if any value is
        low, high = min(low, least), max(high, most)
        if not (math.isfinite(least) and math.isfinite(most)):
            raise UserError(f"{stored} has values that are not finite; leave such images out.")
    slack = 1e-3  # of rounding
    if x.dtype.kind in "bf" and low >= -slack and 0.5 <= high <= 1 + slack:
        return 0, 1
    if -1 - slack <= low <= -0.5 and high <= 1 + slack:
        return -1, 1
    if low >= 0 and 128 <= high <= 255:
        return 0, 255
    raise UserError(
        f"{stored} holds {x.dtype} from {low:g} to {high:g}, which is not clearly 0 .. 1, -1 .. 1 "
        f"or 0 .. 255; say it in Python: {_python(stored, ', range=(LOW, HIGH)')}."
    )


def _python(stored: _Stored, more: str = "") -> str:
    key = f"[{stored.name!r}]" if stored.name else ""
    return f"minigan.data.from_arrays(numpy.load({str(stored.path)!r}){key}{more})"
