"""CIFAR-10 and CIFAR-100 (Krizhevsky 2009): RGB images in pickled dictionaries or plain bytes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..content import HEAD, check_content
from ..errors import UserError
from ..pickled import Holder
from . import cifar_pickle
from .dataset import Dataset
from .images import resize
from .memory import check_memory
from .outline import Outline
from .streams import NoSplitError, check_split

SHAPE = (3, 32, 32)
_LARGEST = 256 << 20  # bytes of a file; the original ones have 31 MB, and 155 MB
_NAMES = 1 << 16  # bytes of a text of class names; the original ones have less than 1000


@dataclass(frozen=True)
class _Kind:
    """One of the four forms that the data come in."""

    name: str
    batches: dict[str, list[str]]  # the files of a split
    meta: str  # the file with the names of the classes
    classes: int
    labels: str  # where the labels are in a pickle
    names: str  # where the names are in the pickle `meta`
    label_bytes: int  # before each image of a plain file; the last one is the label. 0: pickled


_FIVE = [f"data_batch_{i}" for i in range(1, 6)]
_TEN = {"train": _FIVE, "test": ["test_batch"]}
_HUNDRED = {"train": ["train"], "test": ["test"]}


def _plain(batches: dict[str, list[str]]) -> dict[str, list[str]]:
    return {split: [f"{name}.bin" for name in names] for split, names in batches.items()}


# Of CIFAR-100 the fine labels are the classes; the coarse ones are passed over.
_KINDS = (
    _Kind("cifar10", _TEN, "batches.meta", 10, "labels", "label_names", 0),
    _Kind("cifar10", _plain(_TEN), "batches.meta.txt", 10, "", "", 1),
    _Kind("cifar100", _HUNDRED, "meta", 100, "fine_labels", "fine_label_names", 0),
    _Kind("cifar100", _plain(_HUNDRED), "fine_label_names.txt", 100, "", "", 2),
)


def _kind(folder: Path) -> _Kind | None:
    """The form of the batches in a folder, if there are any."""
    for kind in _KINDS:
        there = [folder / name for names in kind.batches.values() for name in names]
        there = [path for path in there if path.is_file()]
        # The names of CIFAR-100's files are such as other files have too.
        if there and (kind.classes == 10 or (folder / kind.meta).is_file() or _fits(there, kind)):
            return kind
    return None


def _fits(paths: list[Path], kind: _Kind) -> bool:
    if kind.label_bytes:
        row = kind.label_bytes + cifar_pickle.COLUMNS
        return all(path.stat().st_size % row == 0 for path in paths)
    for path in paths:
        with open(path, "rb") as file:
            if file.read(1) != b"\x80":  # of a pickle
                return False
    return True


def is_cifar_folder(folder: Path) -> bool:
    """Whether a folder has any batch of CIFAR-10 or CIFAR-100, pickled or plain."""
    return _kind(folder) is not None


def read_folder(
    folder: str | Path,
    *,
    split: str = "train",
    size: int | None = None,
    report: Callable[[str], None] | None = None,
) -> Dataset:
    """The training or the test batches of a folder cifar-10-batches-py, cifar-10-batches-bin,
    cifar-100-python or cifar-100-binary.

    x is (N, 3, H, W) uint8, resized to size x size if given; y (N,) int64, of CIFAR-100 the fine
    labels. Missing training batches are left out, and `report` is told.

    Raises:
        NoSplitError: if there is no batch of this split.
        UserError: if a file is no such batch.
    """
    folder = Path(folder)
    kind, paths = _paths(folder, split)
    lacking = [name for name in kind.batches[split] if folder / name not in paths]
    if lacking and report is not None:
        report(f"{folder} lacks {', '.join(lacking)}; the data are the other batches")
    classes = _names(folder / kind.meta, kind)
    batch = _rows if kind.label_bytes else _batch
    parts = [batch(path, len(classes), kind) for path in paths]
    x = np.concatenate([images for images, _ in parts])
    y = np.concatenate([labels for _, labels in parts])
    return Dataset(kind.name, x if size is None else resize(x, size), y, classes)


def _paths(folder: Path, split: str) -> tuple[_Kind, list[Path]]:
    """The form of the data, and the batches of a split that are there."""
    check_split(split)
    kind = _kind(folder) or _KINDS[0]
    paths = [folder / name for name in kind.batches[split] if (folder / name).is_file()]
    if not paths:
        raise NoSplitError(f"The folder {folder} lacks {' and '.join(kind.batches[split])}.")
    return kind, paths


def outline(folder: Path, *, split: str, size: int | None) -> Outline:
    """What `read_folder` would give but for the number of samples, which is at most this.

    Raises:
        NoSplitError: if there is no batch of this split.
        UserError: if the names of the classes cannot be read.
    """
    side = SHAPE[1] if size is None else size
    kind, paths = _paths(folder, split)
    most = 10_000 if kind.classes == 10 else 50_000  # in a batch
    row = cifar_pickle.COLUMNS + kind.label_bytes
    samples = sum(min(most, path.stat().st_size // row) for path in paths)
    return Outline(((SHAPE[0], side, side),), len(_names(folder / kind.meta, kind)), samples)


def _batch(path: Path, classes: int, kind: _Kind) -> tuple[np.ndarray, np.ndarray]:
    """Images (N, 3, 32, 32) uint8 and labels (N,) int64 of one pickled file."""
    found = _load(path, kind)
    data, labels = found.get("data"), found.get(kind.labels)
    what = f"{path} is no {_called(kind)} batch"
    if not isinstance(data, Holder) or data.array is None:
        raise UserError(f"{what}: it lacks uint8 data of {cifar_pickle.COLUMNS} columns.")
    if not isinstance(labels, list) or len(labels) != len(data.array) or not labels:
        raise UserError(f"{what}: it lacks one label an image.")
    if any(type(label) is not int or label < 0 for label in labels):
        raise UserError(f"{what}: its labels are not numbers from 0 on.")
    if max(labels) >= classes:
        raise UserError(f"{path} has a label {max(labels)} but there are {classes} class names.")
    return data.array.reshape(-1, *SHAPE), np.array(labels, np.int64)


def _rows(path: Path, classes: int, kind: _Kind) -> tuple[np.ndarray, np.ndarray]:
    """Images (N, 3, 32, 32) uint8 and labels (N,) int64 of one plain file: rows of bytes."""
    row = kind.label_bytes + cifar_pickle.COLUMNS
    try:
        size = path.stat().st_size
        with open(path, "rb") as file:
            check_content(path, file.read(HEAD), f"a batch of {_called(kind)}")
            if size % row:
                raise UserError(
                    f"{path} is no {_called(kind)} batch: its {size:,} bytes are no rows of "
                    f"{row:,}; fetch it again."
                )
            check_memory(size, f"The images of {path}")
            file.seek(0)
            rows = np.fromfile(file, np.uint8).reshape(-1, row)
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror or error}.") from error
    labels = rows[:, kind.label_bytes - 1].astype(np.int64)
    if labels.max() >= classes:
        raise UserError(f"{path} has a label {labels.max()} but there are {classes} class names.")
    return rows[:, kind.label_bytes :].reshape(-1, *SHAPE), labels


def _called(kind: _Kind) -> str:
    return f"CIFAR-{kind.classes}"


def _names(path: Path, kind: _Kind) -> tuple[str, ...]:
    if not path.is_file():
        return tuple(map(str, range(kind.classes)))
    if kind.label_bytes:
        return _lines(path, kind)
    names = _load(path, kind).get(kind.names)
    if not isinstance(names, list) or not all(isinstance(name, (bytes, str)) for name in names):
        raise UserError(f"{path} lacks {kind.names}; fetch it again.")
    return tuple(_text(name) for name in names)


def _lines(path: Path, kind: _Kind) -> tuple[str, ...]:
    """The names of the classes, one a line; there may be empty lines after them."""
    try:
        with open(path, "rb") as file:
            content = file.read(_NAMES)
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror or error}.") from error
    check_content(path, content, "a text of class names")
    names = tuple(_text(line.strip()) for line in content.splitlines() if line.strip())
    if len(names) != kind.classes:
        raise UserError(
            f"{path} has {len(names)} names, but {_called(kind)} has {kind.classes} classes; "
            "fetch it again."
        )
    return names


def _load(path: Path, kind: _Kind) -> dict[str, Any]:
    """What a file holds; Python 2 has written its keys as bytes, Python 3 as either."""
    what = f"batch of {_called(kind)}"
    try:
        size = path.stat().st_size
        if size > _LARGEST:
            raise UserError(f"{path} is no {what}: it has {size:,} bytes, more than {_LARGEST:,}.")
        with open(path, "rb") as file:
            program = file.read(_LARGEST)
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror or error}.") from error
    check_content(path, program, f"a {what}")
    try:
        found = cifar_pickle.load(program)
    except ValueError as error:
        raise UserError(f"{path} is no {what}, or damaged ({error}); fetch it again.") from error
    if not isinstance(found, dict):
        raise UserError(f"{path} is no {what}: it holds a {type(found).__name__}.")
    return {_text(key): value for key, value in found.items()}


def _text(value: bytes | str) -> str:
    encoded = value.encode("utf-8", "surrogatepass") if isinstance(value, str) else value
    return encoded.decode("utf-8", "backslashreplace")
