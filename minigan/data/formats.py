"""The formats of data that are files: how each is told, by names and content, and read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import cifar, emnist, idx, numpy_files, svhn
from .dataset import Dataset
from .outline import Outline

Report = Callable[[str], None] | None


@dataclass(frozen=True)
class Format:
    """A format other than pictures; each function takes the folder or file that it is in."""

    what: str  # in messages
    is_of: Callable[[Path], bool]
    read: Callable[..., Dataset]  # of a path, split=, size= and report=
    outline: Callable[..., Outline]  # of a path, split= and size=


def _silent(read: Callable[..., Dataset]) -> Callable[..., Dataset]:
    """A reader that has nothing to report."""

    def reads(path: Path, *, report: Report, **options: Any) -> Dataset:
        return read(path, **options)

    return reads


FORMATS = (
    Format("idx files", idx.is_idx_folder, _silent(idx.read_folder), idx.outline),
    Format("EMNIST's idx files", emnist.is_emnist, _silent(emnist.read), emnist.outline),
    Format("CIFAR's batches", cifar.is_cifar_folder, cifar.read_folder, cifar.outline),
    Format("files of SVHN", svhn.is_svhn, svhn.read, svhn.outline),
    Format("NumPy's arrays", numpy_files.is_numpy_file, numpy_files.read_file, numpy_files.outline),
)


def format_of(place: Path) -> Format | None:
    """The format of what is in a folder or file; None of pictures, and of what is unknown.

    Raises:
        OSError: if it cannot be read.
    """
    return next((known for known in FORMATS if known.is_of(place)), None)
