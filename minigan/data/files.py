"""Which files of a folder are images, in which classes; and what is passed over, in words."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..content import file_text
from ..errors import UserError
from .picture import SUFFIXES
from .streams import NoSplitError, check_split

_SPLITS = {"train", "test", "val", "valid", "validation", "dev"}
_KINDS = 6  # of files passed over that are named
_DEPTH, _FOLDERS = 3, 1000  # below a folder without images, where other formats are looked for


@dataclass
class Found:
    """The images of a split in a fixed order, with labels and class names if there are any.

    `notes` say what was passed over.
    """

    paths: list[Path]
    y: np.ndarray | None
    classes: tuple[str, ...]
    notes: list[str]


class _Folder:
    """The images in a folder, those at any depth below its folders, and the rest by kind."""

    def __init__(self, folder: Path) -> None:
        self.path, self.rest = folder, Counter[str]()
        try:
            visible = _visible(folder)
            self.here = self.images(folder, (e for e in visible if not e.is_dir()))
            below = {e.name: self.walk(folder / e.name) for e in visible if e.is_dir()}
        except OSError as error:
            raise UserError(f"The folder {folder} cannot be read: {error.strerror}.") from error
        self.below = {name: paths for name, paths in below.items() if paths}

    def images(self, folder: Path, entries: Iterable[os.DirEntry[str]]) -> list[Path]:
        found = []
        for entry in entries:  # which know their kind: a call for each of 200,000 takes seconds
            suffix = os.path.splitext(entry.name)[1].lower()
            if not entry.is_file():
                self.rest["broken link" if entry.is_symlink() else "special file"] += 1
            elif suffix in SUFFIXES:
                found.append(folder / entry.name)
            else:
                self.rest[file_text(suffix.removesuffix(".")) or "without suffix"] += 1
        return found

    def walk(self, folder: Path) -> list[Path]:
        """The images in a folder at any depth, in the order of their names, part by part."""
        found = []
        for entry in _visible(folder):
            if not entry.is_dir():
                found += self.images(folder, [entry])
            elif entry.is_symlink():  # they are not followed, as they could lead in a circle
                self.rest["linked folder"] += 1
            else:
                found += self.walk(folder / entry.name)
        return found


def _visible(folder: Path) -> list[os.DirEntry[str]]:
    with os.scandir(folder) as entries:
        return sorted((e for e in entries if not e.name.startswith(".")), key=lambda e: e.name)


def find(folder: Path, split: str) -> Found:
    """The images of a split of a folder.

    Images directly in the folder have no labels; images in sub-folders have the sub-folders' sorted
    names as classes. A folder has splits if it has a sub-folder `train` and no others with images,
    or `train` and another split such as `test`; a `train` beside other folders is a class.

    Raises:
        NoSplitError: if the folder has no such split.
        UserError: if it cannot be read, or has no image, or images beside class folders.
    """
    check_split(split)
    if not folder.is_dir():
        raise UserError(f"There is no folder {folder}.")
    top, notes = _Folder(folder), []
    others = set(top.below) - _SPLITS
    if (folder / "train").is_dir() and (not others or len(_SPLITS & set(top.below)) > 1):
        if not (folder / split).is_dir():
            raise NoSplitError(
                f"The folder {folder} has no {split} images: {_lacks(folder, split)}."
            )
        unread = sorted(file_text(name) for name in set(top.below) - {"train", "test"})
        if unread:
            notes.append(f"passed over the folders {', '.join(unread)}: neither train nor test")
        top = _Folder(folder / split)
    elif split != "train":
        raise NoSplitError(f"The folder {folder} has no {split} images: {_lacks(folder, split)}.")
    elif "train" in top.below:
        notes.append("the folder train is taken for a class, as there are others beside it")
    if top.rest:
        notes.append(f"passed over {_counted(top.rest)}")
    return _classes(top, notes)


def _lacks(folder: Path, split: str) -> str:
    return f"there is no {folder / split}" if not (folder / split).is_dir() else "it has classes"


def _classes(top: _Folder, notes: list[str]) -> Found:
    if top.here and top.below:
        raise UserError(
            f"The folder {top.path} holds images (such as {top.here[0].name}) beside folders of "
            f"images (such as {file_text(next(iter(top.below)))}); keep either, so that the "
            "classes are clear."
        )
    if top.here:
        return Found(top.here, None, (), notes)
    if not top.below:
        raise UserError(_nothing(top))
    counts = [len(group) for group in top.below.values()]
    y = np.repeat(np.arange(len(counts), dtype=np.int64), counts)
    paths = [path for group in top.below.values() for path in group]
    return Found(paths, y, _distinct(top.below), notes)


def _distinct(names: Iterable[str]) -> tuple[str, ...]:
    """The names as text; two that only differ in what is no text are told apart by a number."""
    texts: list[str] = []
    for name in names:
        text, number = file_text(name), 2
        while text in texts:
            text, number = f"{file_text(name)} ({number})", number + 1
        texts.append(text)
    return tuple(texts)


def _counted(kinds: Counter[str]) -> str:
    named = [f"{count:,} {kind}" for kind, count in kinds.most_common(_KINDS)]
    more = len(kinds) - len(named)
    total = kinds.total()
    return f"{total:,} file{'s' * (total != 1)} ({', '.join(named)}{', ...' * (more > 0)})"


def _nothing(top: _Folder) -> str:
    """The sentence for a folder without images: what is there, and where data might be."""
    near = _data_below(top.path)
    if near is not None:
        return f"The folder {top.path} holds no image, but {near}."
    there = f", only {_counted(top.rest)}" if top.rest.total() else ""
    return (
        f"The folder {top.path} holds no image ({' '.join(sorted(SUFFIXES))}){there}; give the "
        "folder that the images or the class folders are in, the idx files with MNIST's names, or "
        "the python batches of CIFAR-10."
    )


def _data_below(folder: Path) -> str | None:
    """Where the first folder of another format is below this one, and what it is."""
    from .cifar import is_cifar_folder
    from .idx import is_idx_folder

    for number, (parent, folders, _) in enumerate(os.walk(folder)):
        path = Path(parent)
        depth = len(path.relative_to(folder).parts)
        if number == _FOLDERS:
            return None
        folders[:] = sorted(folders) if depth < _DEPTH else []
        for is_of, what in ((is_idx_folder, "idx files"), (is_cifar_folder, "CIFAR-10 batches")):
            if is_of(path):
                return f"there are {what} in {path}; give that folder"
    return None
