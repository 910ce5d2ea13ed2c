"""The python batches of CIFAR-10 (Krizhevsky 2009): pickled dictionaries of RGB images."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from ..content import check_content
from ..errors import UserError
from ..pickled import Holder
from . import cifar_pickle
from .dataset import Dataset
from .images import resize
from .outline import Outline
from .streams import NoSplitError, check_split

SHAPE = (3, 32, 32)
_TRAIN = [f"data_batch_{i}" for i in range(1, 6)]
_BATCHES = {"train": _TRAIN, "test": ["test_batch"]}
_META = "batches.meta"
_LARGEST = 256 << 20  # bytes of a file; the original ones have 31 MB


def is_cifar_folder(folder: Path) -> bool:
    """Whether a folder has any batch of CIFAR-10."""
    return any((folder / name).is_file() for names in _BATCHES.values() for name in names)


def read_folder(
    folder: str | Path,
    *,
    split: str = "train",
    size: int | None = None,
    report: Callable[[str], None] | None = None,
) -> Dataset:
    """The training or the test batches of a folder cifar-10-batches-py.

    x is (N, 3, H, W) uint8, resized to size x size if given; y (N,) int64. Missing training batches
    are left out, and `report` is told.

    Raises:
        NoSplitError: if there is no batch of this split.
        UserError: if a file is no such batch.
    """
    folder = Path(folder)
    paths = _paths(folder, split)
    lacking = [name for name in _BATCHES[split] if folder / name not in paths]
    if lacking and report is not None:
        report(f"{folder} lacks {', '.join(lacking)}; the data are the other batches")
    classes = _names(folder / _META)
    parts = [_batch(path, len(classes)) for path in paths]
    x = np.concatenate([images for images, _ in parts])
    y = np.concatenate([labels for _, labels in parts])
    return Dataset("cifar10", x if size is None else resize(x, size), y, classes)


def _paths(folder: Path, split: str) -> list[Path]:
    """The batches of a split that are there."""
    check_split(split)
    paths = [folder / name for name in _BATCHES[split] if (folder / name).is_file()]
    if not paths:
        raise NoSplitError(f"The folder {folder} lacks {' and '.join(_BATCHES[split])}.")
    return paths


def outline(folder: Path, *, split: str, size: int | None) -> Outline:
    """What `read_folder` would give but for the number of samples, which is at most this.

    Raises:
        NoSplitError: if there is no batch of this split.
        UserError: if the names of the classes cannot be read.
    """
    side = SHAPE[1] if size is None else size
    sizes = [path.stat().st_size for path in _paths(folder, split)]
    samples = sum(min(10_000, size // cifar_pickle.COLUMNS) for size in sizes)
    return Outline(((SHAPE[0], side, side),), len(_names(folder / _META)), samples)


def _batch(path: Path, classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Images (N, 3, 32, 32) uint8 and labels (N,) int64 of one file."""
    found = _load(path)
    data, labels = found.get("data"), found.get("labels")
    if not isinstance(data, Holder) or data.array is None:
        raise UserError(
            f"{path} is no CIFAR-10 batch: it lacks uint8 data of {cifar_pickle.COLUMNS} columns."
        )
    if not isinstance(labels, list) or len(labels) != len(data.array) or not labels:
        raise UserError(f"{path} is no CIFAR-10 batch: it lacks one label an image.")
    if any(type(label) is not int or label < 0 for label in labels):
        raise UserError(f"{path} is no CIFAR-10 batch: its labels are not numbers from 0 on.")
    if max(labels) >= classes:
        raise UserError(f"{path} has a label {max(labels)} but there are {classes} class names.")
    return data.array.reshape(-1, *SHAPE), np.array(labels, np.int64)


def _names(path: Path) -> tuple[str, ...]:
    if not path.is_file():
        return tuple(map(str, range(10)))
    names = _load(path).get("label_names")
    if not isinstance(names, list) or not all(isinstance(name, (bytes, str)) for name in names):
        raise UserError(f"{path} lacks label_names; fetch it again.")
    return tuple(_text(name) for name in names)


def _load(path: Path) -> dict[str, Any]:
    """What a file holds; Python 2 has written its keys as bytes, Python 3 as either."""
    try:
        size = path.stat().st_size
        if size > _LARGEST:
            raise UserError(
                f"{path} is no batch of CIFAR-10: it has {size:,} bytes, more than {_LARGEST:,}."
            )
        with open(path, "rb") as file:
            program = file.read(_LARGEST)
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror or error}.") from error
    check_content(path, program, "a batch of CIFAR-10")
    try:
        found = cifar_pickle.load(program)
    except ValueError as error:
        raise UserError(
            f"{path} is no batch of CIFAR-10, or damaged ({error}); fetch it again."
        ) from error
    if not isinstance(found, dict):
        raise UserError(f"{path} is no batch of CIFAR-10: it holds a {type(found).__name__}.")
    return {_text(key): value for key, value in found.items()}


def _text(value: bytes | str) -> str:
    encoded = value.encode("utf-8", "surrogatepass") if isinstance(value, str) else value
    return encoded.decode("utf-8", "backslashreplace")
