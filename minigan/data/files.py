"""Which files of a folder or archive are images, in which classes; and what is passed over."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from ..content import file_text
from ..errors import UserError
from . import celeba
from .picture import SUFFIXES
from .streams import NoSplitError, check_split
from .zipped import File, Member, is_zip, members

_SPLITS = {"train", "test", "val", "valid", "validation", "dev"}
_LSUN = re.compile("(?P<name>.+)_(?P<part>train|val)(_lmdb)?")  # as its own script exports it
_KINDS = 6  # of files passed over that are named
FILES = (".npz", ".npy", ".mat", ".zip")  # suffixes of single files that are data
_DEPTH, _FOLDERS = 3, 1000  # below a folder without images, where other formats are looked for


@dataclass
class Found:
    """The images of a split in a fixed order, with labels and class names if there are any.

    `notes` say what was passed over.
    """

    paths: list[File]
    y: np.ndarray | None
    classes: tuple[str, ...]
    notes: list[str]


class Tree(Protocol):
    """The images in a folder, those at any depth below its folders, and the rest by kind."""

    path: Path  # for messages
    here: list[File]
    below: dict[str, list[File]]  # by the name of the folder; those with images only
    rest: Counter[str]
    packed: list[Member]  # all files of the archive that it is in, if it is in one

    def has(self, name: str) -> bool:
        """Whether there is a folder of this name, with or without images."""

    def sub(self, name: str) -> Tree:
        """The folder of this name."""


class _Folder:
    """A folder on the disk."""

    def __init__(self, folder: Path) -> None:
        self.path, self.rest, self.packed = folder, Counter[str](), list[Member]()
        try:
            visible = _visible(folder)
            self.here: list[File] = self.images(folder, (e for e in visible if not e.is_dir()))
            below = {e.name: self.walk(folder / e.name) for e in visible if e.is_dir()}
        except OSError as error:
            raise UserError(f"The folder {folder} cannot be read: {error.strerror}.") from error
        self.below = {name: paths for name, paths in below.items() if paths}

    def has(self, name: str) -> bool:
        return (self.path / name).is_dir()

    def sub(self, name: str) -> _Folder:
        return _Folder(self.path / name)

    def images(self, folder: Path, entries: Iterable[os.DirEntry[str]]) -> list[File]:
        found: list[File] = []
        for entry in entries:  # which know their kind: a call for each of 200,000 takes seconds
            suffix = os.path.splitext(entry.name)[1].lower()
            if not entry.is_file():
                self.rest["broken link" if entry.is_symlink() else "special file"] += 1
            elif suffix in SUFFIXES:
                found.append(folder / entry.name)
            else:
                self.rest[_kind(suffix)] += 1
        return found

    def walk(self, folder: Path) -> list[File]:
        """The images in a folder at any depth, in the order of their names, part by part."""
        found: list[File] = []
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


class _Archive:
    """A folder in a zip archive of the files `packed`; it holds `entries`, `depth` folders deep."""

    def __init__(
        self, path: Path, packed: list[Member], entries: list[Member], depth: int = 0
    ) -> None:
        self.path, self.rest, self.packed = path, Counter[str](), packed
        self.entries, self.depth = entries, depth
        self.here: list[File] = []
        self.below: dict[str, list[File]] = {}
        for member in entries:
            parts, suffix = member.parts[depth:], member.suffix.lower()
            if suffix not in SUFFIXES:
                self.rest[_kind(suffix)] += 1
            elif len(parts) == 1:
                self.here.append(member)
            else:
                self.below.setdefault(parts[0], []).append(member)

    def has(self, name: str) -> bool:
        return any(m.parts[self.depth : -1][:1] == (name,) for m in self.entries)

    def sub(self, name: str) -> _Archive:
        inside = [m for m in self.entries if m.parts[self.depth : -1][:1] == (name,)]
        return _Archive(self.path / name, self.packed, inside, self.depth + 1)


def _kind(suffix: str) -> str:
    return file_text(suffix.removesuffix(".")) or "without suffix"


def tree(place: Path) -> Tree:
    """The images of a folder, or of a zip archive, where one folder around all is looked through.

    Raises:
        UserError: if it is none, or cannot be read.
    """
    if place.is_dir():
        return _Folder(place)
    if not place.is_file():
        raise UserError(f"There is no folder {place}.")
    entries, rest = members(place)
    top = _Archive(place, entries, entries)
    if not top.here and len(top.below) == 1:
        rest += top.rest  # of what is beside that folder too
        top = top.sub(next(iter(top.below)))
        top.rest.clear()
    top.rest += rest
    return top


def find(place: Path, split: str) -> Found:
    """The images of a split of a folder, or of a zip archive.

    Images directly in the folder have no labels; images in sub-folders have the sub-folders' sorted
    names as classes, unless there is only one. A folder has splits if it has a sub-folder `train`
    and no others with images, or `train` and another split such as `test`; a `train` beside other
    folders is a class. Folders NAME_train and NAME_val, as LSUN is exported, are the classes NAME,
    and NAME_val is the test part.

    Raises:
        NoSplitError: if the folder has no such split.
        UserError: if it cannot be read, or has no image, or images beside class folders.
    """
    check_split(split)
    top, notes = tree(place), list[str]()
    pictures = [*top.here, *(path for paths in top.below.values() for path in paths)]
    if len(top.below) < 2 and celeba.is_celeba(place, pictures):
        paths, notes = celeba.part(place, pictures, split, top.packed)
        return Found(paths, None, (), notes)
    others = set(top.below) - _SPLITS
    trained: Iterable[str] | None = None  # class folders of the training part, of another one
    if top.has("train") and (not others or len(_SPLITS & set(top.below)) > 1):
        if not top.has(split):
            raise NoSplitError(f"{_called(top)} has no {split} images: {_lacks(top, split)}.")
        unread = sorted(file_text(name) for name in set(top.below) - {"train", "test"})
        if unread:
            notes.append(f"passed over the folders {', '.join(unread)}: neither train nor test")
        trained = top.sub("train").below if split == "test" else None
        top = top.sub(split)
    elif parts := _lsun(top):
        notes.append("the folders NAME_val are the test part, as LSUN has it")
        trained = parts["train"]
        top.below = parts[{"train": "train", "test": "val"}[split]]
    elif split != "train":
        raise NoSplitError(f"{_called(top)} has no {split} images: {_lacks(top, split)}.")
    elif "train" in top.below:
        notes.append("the folder train is taken for a class, as there are others beside it")
    if top.rest:
        notes.append(f"passed over {_counted(top.rest)}")
    return _classes(top, notes, [*(top.below if trained is None else trained)])


def _lsun(top: Tree) -> Mapping[str, dict[str, list[File]]] | None:
    """The images by part and class, if all folders are NAME_train or NAME_val, and a NAME has both.

    Without a pair the folders may well be classes: of trains, say.
    """
    parts: dict[str, dict[str, list[File]]] = {"train": {}, "val": {}}
    for folder, paths in top.below.items():
        found = _LSUN.fullmatch(folder)
        if found is None or top.here:
            return None
        parts[found["part"]][found["name"]] = paths
    if not parts["train"].keys() & parts["val"].keys():
        return None
    return {part: dict(sorted(classes.items())) for part, classes in parts.items()}


def _called(top: Tree) -> str:
    return f"The {'archive' if top.packed else 'folder'} {top.path}"


def _lacks(top: Tree, split: str) -> str:
    return "it has classes" if top.has(split) else f"there is no {top.path / split}"


def _classes(top: Tree, notes: list[str], trained: list[str]) -> Found:
    """The images and their classes, if the training part has the class folders `trained`."""
    if top.here and top.below:
        raise UserError(
            f"{_called(top)} holds images (such as {top.here[0].name}) beside folders of "
            f"images (such as {file_text(next(iter(top.below)))}); keep either, so that the "
            "classes are clear."
        )
    if top.here:
        return Found(top.here, None, (), notes)
    if not top.below:
        raise UserError(_nothing(top))
    groups = list(top.below.values())
    paths = [path for group in groups for path in group]
    if len(trained) < 2:
        if trained:
            name = file_text(trained[0])
            notes.append(
                f"the only folder {name} is no class, so there are no labels; if its own folders "
                f"are the classes, give {name} itself"
            )
        return Found(paths, None, (), notes)
    counts = [len(group) for group in groups]
    y = np.repeat(np.arange(len(counts), dtype=np.int64), counts)
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


def _nothing(top: Tree) -> str:
    """The sentence for a folder without images: what is there, and where data might be."""
    if top.packed:
        return (
            f"{_called(top)} holds no image, only {_counted(top.rest)}; unpack it and give the "
            "folder, if these are data."
        )
    near = _data_below(top.path)
    if near is not None:
        return f"The folder {top.path} holds no image, but {near}."
    there = f", only {_counted(top.rest)}" if top.rest.total() else ""
    if top.rest[".mdb"]:
        there += ": LSUN's database becomes pictures by LSUN's own data.py export"
    return (
        f"The folder {top.path} holds no image ({' '.join(sorted(SUFFIXES))}){there}; give the "
        "folder or zip of the images or the class folders, or the folder of the files of MNIST, "
        "EMNIST, CIFAR or SVHN."
    )


def _data_below(folder: Path) -> str | None:
    """Where the first folder or file of another format is below this one, and what it is."""
    from .formats import format_of

    for number, (parent, folders, files) in enumerate(os.walk(folder)):
        path = Path(parent)
        depth = len(path.relative_to(folder).parts)
        if number == _FOLDERS:
            return None
        folders[:] = sorted(folders) if depth < _DEPTH else []
        with suppress(OSError):  # what cannot be read is not what is looked for
            if (known := format_of(path)) is not None:
                return f"there are {known.what} in {path}; give that folder"
            for file in sorted(path / name for name in files):
                if file.suffix.lower() in FILES and file.is_file():
                    if (known := format_of(file)) is not None:
                        return f"there are {known.what} in {file}; give that file"
                    if is_zip(file):
                        return f"there is the zip archive {file}; give that file"
    return None
