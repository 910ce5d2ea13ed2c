"""The idx format of MNIST and its kin (LeCun, Cortes, Burges): uint8 arrays, plain or gzipped."""

from __future__ import annotations

import gzip
import io
import math
import struct
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from ..content import HEAD, check_content, file_text
from ..errors import UserError
from .dataset import Dataset
from .images import LARGEST, resize
from .memory import check_memory
from .outline import Outline
from .streams import NoSplitError, check_split

_STEMS = {"train": "train", "test": "t10k"}  # with which the names of MNIST's files begin
_KINDS = {"images": 3, "labels": 1}  # number of dimensions, which is in the file's name
_DEFLATE_LIMIT = 1032  # largest growth of a deflate stream (zlib's technical notes)
# What a gzip file may grow to without more being asked: real images grow some five times, drawn
# shapes a hundred times, and sorted labels, which are few, a thousand times.
_UNSUSPECTED = 256 << 20  # bytes
_GROWTH = 100
_DIMENSIONS = 8
_PIECE = 1 << 20  # bytes read at once


def read_idx(path: str | Path, ndim: int | None = None) -> np.ndarray:
    """The uint8 array of an idx file, gzipped or not, as its content tells.

    The file's header gives the shape; `ndim` is the number of dimensions that it must have.

    Raises:
        UserError: if the file is missing, broken, too short, too long, or of another kind; if its
            header promises no value, more than the memory has, or more than 256 MB that are a
            hundred times the gzip file.
    """
    with _opened(Path(path), ndim) as (file, shape):
        return _body(file, Path(path), shape)


def idx_shape(path: str | Path, ndim: int | None = None) -> tuple[int, ...]:
    """The shape that the header of an idx file promises, as far as the file can keep it.

    Raises:
        UserError: as of `read_idx`, but what follows the header is not read.
    """
    with _opened(Path(path), ndim) as (_, shape):
        return shape


@contextmanager
def _opened(path: Path, ndim: int | None) -> Iterator[tuple[io.BufferedIOBase, tuple[int, ...]]]:
    """A file after its header, and the shape that the header promises and the file can have."""
    try:
        size = path.stat().st_size
        with open(path, "rb") as file:
            packed = file.read(2) == b"\x1f\x8b"
            file.seek(0)
            if not packed:
                yield file, _shape(file, path, ndim, size, packed=False)
                return
            with gzip.open(file) as unpacked:
                yield unpacked, _shape(unpacked, path, ndim, size, packed=True)
    except FileNotFoundError as error:
        raise UserError(f"There is no file {path}.") from error
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise UserError(f"{path} is a broken gzip file ({error}); fetch it again.") from error
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror or error}.") from error


def _shape(
    file: io.BufferedIOBase, path: Path, ndim: int | None, size: int, *, packed: bool
) -> tuple[int, ...]:
    head = file.read(4)
    if len(head) < 4 or head[:2] != b"\0\0":
        check_content(path, head + file.read(HEAD), "an idx file")
        raise UserError(f"{path} is not an idx file: it starts with 0x{head.hex()}.")
    kind, dimensions = head[2], head[3]
    if kind != 0x08:
        raise UserError(
            f"{path} holds idx values of type 0x{kind:02x}; only unsigned bytes (0x08) are read."
        )
    if not 1 <= dimensions <= _DIMENSIONS or ndim not in (None, dimensions):
        raise UserError(
            f"{path} holds an idx array of {dimensions} dimensions (magic 0x{head.hex()}), "
            f"not of {ndim or f'1 to {_DIMENSIONS}'}."
        )
    sizes = file.read(4 * dimensions)
    if len(sizes) < 4 * dimensions:
        raise UserError(f"{path} ends within its header; fetch it again.")
    shape = struct.unpack(f">{dimensions}I", sizes)
    _check_promise(path, shape, size, 4 + len(sizes), packed=packed)
    return shape


def _check_promise(
    path: Path, shape: tuple[int, ...], size: int, head: int, *, packed: bool
) -> None:
    """Make sure that a file of `size` bytes can have what its header promises, and memory too."""
    promised = math.prod(shape)
    if promised == 0:
        what = "image" if len(shape) == 3 else "value"
        raise UserError(f"{path} holds no {what}: its shape is {shape}.")
    if promised > (size * _DEFLATE_LIMIT if packed else size - head):
        raise _cut_short(path, shape)
    if not packed and promised < size - head:
        raise UserError(f"{path} goes on after the {promised:,} bytes that its header promises.")
    if packed and promised > max(_UNSUSPECTED, _GROWTH * size):
        raise UserError(
            f"{path} has {size:,} bytes and promises {promised:,}, more than {_GROWTH} times as "
            "many; if you trust it, unpack it with gunzip."
        )
    check_memory(promised, f"The values of {path}")


def _body(file: io.BufferedIOBase, path: Path, shape: tuple[int, ...]) -> np.ndarray:
    """The values, read by pieces: memory that a file only promises is never filled."""
    values = np.empty(math.prod(shape), np.uint8)
    view, filled = values.data, 0
    while filled < len(values):
        count = file.readinto(view[filled : filled + _PIECE])
        if not count:
            raise _cut_short(path, shape)
        filled += count
    if file.read(1):
        raise UserError(f"{path} goes on after the {len(values):,} bytes that its header promises.")
    return values.reshape(shape)


def _cut_short(path: Path, shape: tuple[int, ...]) -> UserError:
    return UserError(
        f"{path} is cut short: its header promises {math.prod(shape):,} bytes of shape {shape}, "
        "which are not there; fetch it again."
    )


def is_idx_folder(folder: Path) -> bool:
    """Whether a folder has any file with one of MNIST's names."""
    return any(_find(folder, stem, kind) for stem in _STEMS.values() for kind in _KINDS)


def read_folder(
    folder: str | Path,
    *,
    split: str = "train",
    size: int | None = None,
    name: str | None = None,
    classes: Sequence[str] | None = None,
) -> Dataset:
    """One split of a folder with MNIST's four files.

    x is (N, 1, H, W) uint8, resized to size x size if given; y (N,) int64. By default the names of
    the classes are their numbers.

    Raises:
        NoSplitError: if neither of the split's two files is there.
        UserError: if one is missing or broken, or images and labels disagree.
    """
    folder = Path(folder)
    images_path, labels_path = checked_paths(folder, split)
    labels = read_idx(labels_path, ndim=1).astype(np.int64)
    images = read_idx(images_path, ndim=3)
    if classes is None:
        classes = [str(k) for k in range(int(labels.max()) + 1)]
    x = images[:, None]  # (N, 1, H, W)
    if size is not None:
        x = resize(x, size)
    return Dataset(name or file_text(folder.resolve().name), x, labels, tuple(classes))


def outline(folder: Path, *, split: str, size: int | None) -> Outline:
    """What `read_folder` would give, from the headers and the labels alone.

    Raises:
        UserError: as of `read_folder`.
    """
    images_path, labels_path = checked_paths(folder, split)
    count, *sides = idx_shape(images_path, ndim=3)
    labels = read_idx(labels_path, ndim=1)
    height, width = sides if size is None else (size, size)
    return Outline(((1, height, width),), int(labels.max()) + 1, count)


def checked_paths(folder: Path, split: str, stems: Mapping[str, str] = _STEMS) -> tuple[Path, Path]:
    """The files of a split's images and labels, whose names begin with the stem of the split.

    Raises:
        NoSplitError: if neither is there.
        UserError: if one is missing, their headers disagree, or the images are too large.
    """
    check_split(split)
    images, labels = (_required(folder, split, stems[split], kind) for kind in _KINDS)
    shape, (count,) = idx_shape(images, ndim=3), idx_shape(labels, ndim=1)
    if shape[0] != count:
        raise UserError(f"{images} holds {shape[0]} images but {labels.name} {count} labels.")
    if max(shape[1:]) > LARGEST:
        raise UserError(
            f"{images} holds images of shape {shape[1:]}; sides of 1 to {LARGEST} are read."
        )
    return images, labels


def _names(stem: str, kind: str) -> list[str]:
    start, ending = f"{stem}-{kind}", f"idx{_KINDS[kind]}-ubyte"
    # Some tools turn the hyphen before "idx" into a dot when they unpack.
    return [f"{start}{mark}{ending}{suffix}" for mark in "-." for suffix in ("", ".gz")]


def _find(folder: Path, stem: str, kind: str) -> Path | None:
    candidates = (folder / name for name in _names(stem, kind))
    return next((path for path in candidates if path.is_file()), None)


def _required(folder: Path, split: str, stem: str, kind: str) -> Path:
    path = _find(folder, stem, kind)
    if path is None:
        whole = not any(_find(folder, stem, other) for other in _KINDS)
        raise (NoSplitError if whole else UserError)(
            f"The folder {folder} lacks the {split} {kind}: there is no "
            f"{_names(stem, kind)[0]}, with or without .gz."
        )
    return path
