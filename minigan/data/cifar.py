"""The python batches of CIFAR-10 (Krizhevsky 2009): pickled dictionaries of RGB images."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import UserError
from .dataset import Dataset
from .images import resize
from .streams import NoSplitError, check_split

SHAPE = (3, 32, 32)
_TRAIN = [f"data_batch_{i}" for i in range(1, 6)]
_BATCHES = {"train": _TRAIN, "test": ["test_batch"]}
_META = "batches.meta"
# All that a pickled array needs. Other functions that a pickle names could do anything.
_ALLOWED = {
    ("numpy.core.multiarray", "_reconstruct"),
    ("numpy._core.multiarray", "_reconstruct"),
    ("numpy", "ndarray"),
    ("numpy", "dtype"),
}


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _ALLOWED:
            raise pickle.UnpicklingError(f"it wants to call {module}.{name}")
        if name == "_reconstruct":
            module = "numpy._core.multiarray"  # the older name warns
        return super().find_class(module, name)


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
    check_split(split)
    folder = Path(folder)
    paths = [folder / name for name in _BATCHES[split] if (folder / name).is_file()]
    if not paths:
        raise NoSplitError(f"The folder {folder} lacks {' and '.join(_BATCHES[split])}.")
    lacking = [name for name in _BATCHES[split] if folder / name not in paths]
    if lacking and report is not None:
        report(f"{folder} lacks {', '.join(lacking)}; the data are the other batches")
    parts = [_batch(path) for path in paths]
    x = np.concatenate([images for images, _ in parts])
    y = np.concatenate([labels for _, labels in parts])
    classes = _names(folder / _META)
    if int(y.max()) >= len(classes):
        raise UserError(f"{folder} has a label {int(y.max())} but {len(classes)} class names.")
    return Dataset("cifar10", x if size is None else resize(x, size), y, classes)


def _batch(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Images (N, 3, 32, 32) uint8 and labels (N,) int64 of one file."""
    found = _load(path)
    data, labels = found.get(b"data"), found.get(b"labels")
    pixels = int(np.prod(SHAPE))
    if not isinstance(data, np.ndarray) or data.dtype != np.uint8 or data.shape[1:] != (pixels,):
        raise UserError(f"{path} is no CIFAR-10 batch: it lacks uint8 data of {pixels} columns.")
    if not isinstance(labels, list) or len(labels) != len(data) or not len(data):
        raise UserError(f"{path} is no CIFAR-10 batch: it lacks one label an image.")
    y = np.array(labels)
    if y.dtype != np.int64 or y.min() < 0:
        raise UserError(f"{path} is no CIFAR-10 batch: its labels are not numbers from 0 on.")
    return data.reshape(-1, *SHAPE), y


def _names(path: Path) -> tuple[str, ...]:
    if not path.is_file():
        return tuple(map(str, range(10)))
    names = _load(path).get(b"label_names")
    if not isinstance(names, list) or not all(isinstance(name, bytes) for name in names):
        raise UserError(f"{path} lacks label_names; fetch it again.")
    return tuple(name.decode("utf-8", "replace") for name in names)


def _load(path: Path) -> dict[bytes, Any]:
    try:
        with open(path, "rb") as file:
            found = _Unpickler(file, encoding="bytes").load()
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror or error}.") from error
    except Exception as error:  # a broken pickle raises almost anything
        raise UserError(
            f"{path} is no batch of CIFAR-10, or damaged ({error}); fetch it again."
        ) from error
    if not isinstance(found, dict):
        raise UserError(f"{path} is no batch of CIFAR-10: it holds a {type(found).__name__}.")
    return found
