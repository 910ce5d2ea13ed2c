"""EMNIST's idx files (Cohen et al. 2017, arXiv:1702.05373): stored transposed, given upright."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from ..content import check_content
from ..errors import UserError
from . import idx
from .dataset import Dataset
from .images import resize
from .outline import Outline

_FILE = re.compile(r"emnist-(?P<name>[a-z]+)-(train|test)-(images|labels)[-.]idx[13]-ubyte(\.gz)?")
_MAPPING = 1 << 16  # bytes of the file that names the classes; EMNIST's have less than 1000


def is_emnist(place: Path) -> bool:
    """Whether a folder has any file of EMNIST, or is one."""
    if place.is_dir():
        return bool(_names(place))
    return _FILE.fullmatch(place.name) is not None and place.is_file()


def read(place: Path, *, split: str = "train", size: int | None = None) -> Dataset:
    """The training or the test part of one of EMNIST's data sets: byclass, bymerge, balanced,
    letters, digits or mnist.

    The folder has emnist-NAME-train-images-idx3-ubyte and the three files beside it, with or
    without .gz; of a folder with several NAMEs any file names one. The classes are the characters
    of emnist-NAME-mapping.txt, if that is there (aA is a letter in either case), and otherwise the
    labels' numbers.

    x is (N, 1, H, W) uint8, upright, resized to size x size if given; y (N,) int64.

    Raises:
        NoSplitError: if the part is not there.
        UserError: if a file is missing or broken, or there are several data sets to choose from.
    """
    folder, name = _chosen(place)
    images, labels = idx.checked_paths(folder, split, _stems(name))
    y, classes = _labelled(folder, name, labels)
    x = idx.read_idx(images, ndim=3).swapaxes(1, 2)[:, None]  # columns first, as MATLAB has them
    x = np.ascontiguousarray(x) if size is None else resize(x, size)
    return Dataset(f"emnist-{name}", x, y, classes)


def outline(place: Path, *, split: str, size: int | None) -> Outline:
    """What `read` would give, from the headers and the labels alone.

    Raises:
        UserError: as of `read`.
    """
    folder, name = _chosen(place)
    images, labels = idx.checked_paths(folder, split, _stems(name))
    count, width, height = idx.idx_shape(images, ndim=3)
    if size is not None:
        height = width = size
    return Outline(((1, height, width),), len(_labelled(folder, name, labels)[1]), count)


def _names(folder: Path) -> list[str]:
    """The data sets that a folder has."""
    found = (_FILE.fullmatch(path.name) for path in folder.iterdir())
    return sorted({match["name"] for match in found if match is not None})


def _chosen(place: Path) -> tuple[Path, str]:
    """The folder, and which of its data sets is meant.

    Raises:
        UserError: if that is not clear.
    """
    if not place.is_dir():
        found = _FILE.fullmatch(place.name)
        assert found is not None  # by `is_emnist`
        return place.parent, found["name"]
    names = _names(place)
    if len(names) > 1:
        example = next(path for path in sorted(place.iterdir()) if _FILE.fullmatch(path.name))
        raise UserError(
            f"{place} holds {len(names)} data sets of EMNIST: {', '.join(names)}; name a file of "
            f"the one that is meant, such as --data {example}."
        )
    return place, names[0]


def _stems(name: str) -> dict[str, str]:
    return {"train": f"emnist-{name}-train", "test": f"emnist-{name}-test"}


def _labelled(folder: Path, name: str, path: Path) -> tuple[np.ndarray, tuple[str, ...]]:
    """Labels (N,) int64 that count from 0, and the names of the classes."""
    given = idx.read_idx(path, ndim=1)
    mapping = folder / f"emnist-{name}-mapping.txt"
    if mapping.is_file():
        named = _mapping(mapping)
    else:  # letters count from 1
        named = {label: str(label) for label in range(int(name == "letters"), int(given.max()) + 1)}
    places = np.full(256, -1, np.int64)
    places[list(named)] = np.arange(len(named))
    y = places[given]
    if (y < 0).any():
        odd = int(given[np.argmin(y)])
        raise UserError(f"{path} has the label {odd}, which {mapping.name} does not name.")
    return y, tuple(named.values())


def _mapping(path: Path) -> dict[int, str]:
    """The characters of each label, in the order of the labels.

    Raises:
        UserError: if a line is not a label and the codes of characters.
    """
    with open(path, "rb") as file:
        content = file.read(_MAPPING)
    check_content(path, content, "EMNIST's mapping of labels")
    named: dict[int, str] = {}
    for line in content.splitlines():
        words = line.split()
        if not words:
            continue
        plain = all(word.isdigit() and len(word) <= 3 for word in words)
        label, *codes = map(int, words) if plain else (-1,)
        fits = 0 <= label <= 255 and label not in named and codes
        if not fits or not all(32 < code < 127 for code in codes):
            raise UserError(
                f"{path} has the line {line[:40]!a}, which is not a label and the codes of its "
                "characters; fetch it again."
            )
        named[label] = "".join(sorted(map(chr, codes), reverse=True))
    names = list(named.values())
    if not named or len(set(names)) < len(names):
        raise UserError(f"{path} does not name each class in its own way; fetch it again.")
    return dict(sorted(named.items()))
