"""The idx format of MNIST and its kin (LeCun, Cortes, Burges): uint8 arrays, plain or gzipped."""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

import numpy as np

from ..errors import UserError
from .dataset import Dataset
from .images import resize
from .streams import NoSplitError, check_split

_PREFIX = {"train": "train", "test": "t10k"}
_KINDS = {"images": 3, "labels": 1}  # number of dimensions, which is in the file's name
_DEFLATE_LIMIT = 1032  # largest growth of a deflate stream (zlib's technical notes)


def read_idx(path: str | Path, ndim: int | None = None) -> np.ndarray:
    """The uint8 array of an idx file, gzipped or not, as its content tells.

    The file's header gives the shape; `ndim` is the number of dimensions that it must have.

    Raises:
        UserError: if the file is missing, broken, too short, too long, or of another kind.
    """
    path = Path(path)
    try:
        size = path.stat().st_size
        with open(path, "rb") as file:
            if file.read(2) != b"\x1f\x8b":
                file.seek(0)
                return _read(file, size, path, ndim)
            file.seek(0)
            with gzip.open(file) as unpacked:
                return _read(unpacked, size * _DEFLATE_LIMIT, path, ndim)
    except FileNotFoundError as error:
        raise UserError(f"There is no file {path}.") from error
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise UserError(f"{path} is a broken gzip file ({error}); fetch it again.") from error
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror or error}.") from error


def _read(
    file: BinaryIO | gzip.GzipFile, available: int, path: Path, ndim: int | None
) -> np.ndarray:
    head = file.read(4)
    if len(head) < 4 or head[:2] != b"\0\0":
        raise UserError(f"{path} is not an idx file: it starts with 0x{head.hex()}.")
    kind, dimensions = head[2], head[3]
    if kind != 0x08:
        raise UserError(
            f"{path} holds idx values of type 0x{kind:02x}; only unsigned bytes (0x08) are read."
        )
    if dimensions == 0 or (ndim is not None and dimensions != ndim):
        raise UserError(
            f"{path} holds an idx array of {dimensions} dimensions (magic 0x{head.hex()}), "
            f"not of {ndim or 'one or more'}."
        )
    sizes = file.read(4 * dimensions)
    if len(sizes) < 4 * dimensions:
        raise UserError(f"{path} ends within its header; fetch it again.")
    shape = struct.unpack(f">{dimensions}I", sizes)
    expected = math.prod(shape)
    # A header may promise more than the file can have: no memory is allocated for that.
    body = file.read(expected + 1) if expected <= available else b""
    if len(body) < expected:
        raise UserError(
            f"{path} is cut short: its header promises {expected:,} bytes of shape {shape}, "
            "which are not there; fetch it again."
        )
    if len(body) > expected:
        raise UserError(f"{path} goes on after the {expected:,} bytes that its header promises.")
    return np.frombuffer(body, np.uint8).reshape(shape)


def is_idx_folder(folder: Path) -> bool:
    """Whether a folder has any file with one of MNIST's names."""
    return any(_find(folder, split, kind) for split in _PREFIX for kind in _KINDS)


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
    check_split(split)
    folder = Path(folder)
    images_path, labels_path = (_required(folder, split, kind) for kind in _KINDS)
    images = read_idx(images_path, ndim=3)
    labels = read_idx(labels_path, ndim=1).astype(np.int64)
    if len(images) != len(labels):
        raise UserError(
            f"{images_path} holds {len(images)} images but {labels_path.name} {len(labels)} labels."
        )
    if images.size == 0:
        raise UserError(f"{images_path} holds no image: its shape is {images.shape}.")
    if classes is None:
        classes = [str(k) for k in range(int(labels.max()) + 1)]
    x = images[:, None]  # (N, 1, H, W)
    if size is not None:
        x = resize(x, size)
    return Dataset(name or folder.resolve().name, x, labels, tuple(classes))


def _names(split: str, kind: str) -> list[str]:
    stem, ending = f"{_PREFIX[split]}-{kind}", f"idx{_KINDS[kind]}-ubyte"
    # Some tools turn the hyphen before "idx" into a dot when they unpack.
    return [f"{stem}{mark}{ending}{suffix}" for mark in "-." for suffix in ("", ".gz")]


def _find(folder: Path, split: str, kind: str) -> Path | None:
    candidates = (folder / name for name in _names(split, kind))
    return next((path for path in candidates if path.is_file()), None)


def _required(folder: Path, split: str, kind: str) -> Path:
    path = _find(folder, split, kind)
    if path is None:
        whole = not any(_find(folder, split, other) for other in _KINDS)
        raise (NoSplitError if whole else UserError)(
            f"The folder {folder} lacks the {split} {kind}: there is no "
            f"{_names(split, kind)[0]}, with or without .gz."
        )
    return path
