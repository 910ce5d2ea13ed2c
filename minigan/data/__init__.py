"""Data sets by name, from a folder or from arrays, and seekable batches of them."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from ..content import HEAD, archive, printable_errors, stand_in
from ..errors import RunError, UserError, nearest
from ..hints import absent, also
from .arrays import from_arrays
from .batches import Batches
from .dataset import Dataset
from .images import check_size
from .memory import check_memory
from .mixture import Mixture
from .outline import Outline
from .reading import Crop, Reading, colour_name, held_out
from .streams import NoSplitError

__all__ = [
    "Batches",
    "Dataset",
    "Entry",
    "Mixture",
    "NoSplitError",
    "Outline",
    "Reading",
    "catalogue",
    "from_arrays",
    "lasting",
    "load",
    "outline",
]


# What is called otherwise elsewhere, and how it is done here.
_INDEX = "index the data set: dataset[:100], dataset[indices] or dataset[dataset.y == 4]"
_LOAD = 'say minigan.data.load(name or folder), such as load("mnist")'
_ELSEWHERE = {
    "DataLoader": "say Batches(dataset, 64, seed=0, output_range=(-1, 1)), and next(batches)",
    "TensorDataset": "say minigan.data.from_arrays(x, y, range=(0, 1))",
    "ArrayDataset": "say minigan.data.from_arrays(x, y, range=(0, 1))",
    "Subset": _INDEX,
    "random_split": _INDEX,
    "ImageFolder": _LOAD,
    "MNIST": _LOAD,
    "datasets": _LOAD,
    "transforms": "images come out of Batches as float32, in its output_range",
}


_ARGUMENTS = {  # of `load`
    "root": "a data set of a name is kept in minigan's cache; one of your own is load(folder)",
    "train": "say split='train' or split='test'",
    "download": "what is not there yet is downloaded once: leave it out",
    "transform": _ELSEWHERE["transforms"],
    "target_transform": "labels are dataset.y: change them there",
    "image_size": "size",
    "batch_size": _ELSEWHERE["DataLoader"],
}

if not TYPE_CHECKING:
    __getattr__ = absent(__name__, _ELSEWHERE)


@also(**_ARGUMENTS)
@printable_errors()
def load(
    name_or_path: str | Path,
    *,
    size: int | None = None,
    seed: int = 0,
    split: str = "train",
    stack: int = 1,
    background: str | tuple[int, int, int] = "white",
    crop: Crop = "centre",
    skip_broken: bool = False,
    flip: bool = False,
    hold_out: int = 0,
    report: Callable[[str], None] | None = None,
) -> Dataset:
    """A data set by its name in the catalogue, or from a folder or file: of images, as they are or
    in a zip archive; MNIST's, EMNIST's, CIFAR's or SVHN's; or .npz and .npy.

    A name wins over a folder of the same name; write ./mnist for the folder. Images become `size` x
    `size` pixels, by default 28 (glyphs), 64 (folders and archives of images), or the size in the
    files (all others). `seed` is that of what is generated: glyphs, points, and which images are
    stacked. `split` is "train" or "test", which have no sample in common. `stack` images, 1 to 3,
    become the channels of one. `report` is called with a line now and then while files are fetched
    or read.

    Of image files `background` is the colour behind transparent ones. `crop` is "centre" for the
    middle of each; "random" for a part that each batch takes from another place in an image an
    eighth larger (`Dataset.wide`); or "none" for the whole, with the background around it. Those
    that cannot be read are left out if `skip_broken`. 64 of them or more are decoded once, kept in
    minigan's cache, and mapped from there, so they may be larger than the memory.

    Batches mirror images at random if `flip`. Of data without a test part `hold_out` samples are no
    training samples; they are what `split` "test" gives. Which ones depends on their number alone.
    As they are anywhere among the others, either part of an .npy or .npz is a copy in memory.

    Raises:
        NoSplitError: if the data have no such split.
        UserError: if there is no such data set, folder or file, or it cannot be used.
        RunError: if the memory does not suffice.

    >>> load("ring").shape, load("glyphs", split="test").shape
    ((2,), (1, 28, 28))
    """
    from minigan.data import folder, stacked

    if size is not None:
        check_size(size)
    reading = Reading(
        crop=crop,
        background=colour_name(background),
        skip_broken=skip_broken,
        flip=flip,
        hold_out=hold_out,
    )
    name = str(name_or_path)
    try:
        if stack != 1:
            single = load(
                name_or_path, size=size, seed=seed, split=split, report=report, **reading.keywords()
            )
            return stacked.stack(single, stack, seed=seed, split=split)
        if (path := _pictures(name_or_path)) is not None:
            return folder.read_images(
                path, size=size or folder.SIZE, split=split, reading=reading, report=report
            )
        reading.check_arrays(name)
        if hold_out:
            _check_no_test(name_or_path)
        part = "train" if hold_out else split
        found = _arrays(name_or_path, size=size, seed=seed, split=part, report=report)
        if hold_out:
            rest, held = held_out(len(found), hold_out)
            chosen = held if split == "test" else rest
            _check_copy(len(chosen), found.x[:1].nbytes, name)
            found = found[chosen]
        return replace(found, flip=flip) if flip else found
    except MemoryError as error:
        raise RunError(
            f"The data {name} need more memory than there is; give a smaller --size, or fewer "
            "images."
        ) from error


def _pictures(name_or_path: str | Path) -> Path | None:
    """The folder or archive of pictures; None of a known name, and of data of another format.

    Raises:
        UserError: if there is no such data set, folder or file.
    """
    from minigan.data import formats

    if str(name_or_path) in {entry.name for entry in catalogue()}:
        return None
    path = _place(name_or_path)
    return path if formats.format_of(path) is None else None


def _check_no_test(name_or_path: str | Path) -> None:
    """Make sure that data that are no pictures have no test part.

    Raises:
        UserError: if they have one.
    """
    try:
        outline(name_or_path, split="test")  # every known name has one
    except NoSplitError:
        return
    raise UserError(
        f"{name_or_path} has a test part, which is held out already; leave out --hold-out"
    )


def _check_copy(count: int, each: int, name: str) -> None:
    """Make sure that a part of the samples of `each` bytes can be copied, out of a mapped file too.

    Raises:
        UserError: if the memory does not suffice.
    """
    check_memory(count * each, f"the copy of {count:,} samples of {name} that --hold-out needs")


def _arrays(
    name_or_path: str | Path,
    *,
    size: int | None,
    seed: int,
    split: str,
    report: Callable[[str], None] | None,
) -> Dataset:
    """A data set by its name, or from a folder or file of a format other than pictures."""
    from minigan.data import download, formats, glyphs, idx, points

    name = str(name_or_path)
    if name == "glyphs":
        return glyphs.glyphs(size=size or glyphs.NATIVE, seed=seed, split=split)
    if name in points.MIXTURES:
        if size is not None:
            raise UserError(f"{name} consists of points, which have no size; leave out --size.")
        return points.draw(name, points.MIXTURES[name](), seed=seed, split=split)
    if name in download.SOURCES:
        source = download.SOURCES[name]
        fetched = download.fetch(source, report=report)
        return idx.read_folder(fetched, split=split, size=size, name=name, classes=source.classes)
    path = _place(name_or_path)
    known = formats.format_of(path)
    assert known is not None, "pictures have been read by then"
    return known.read(path, split=split, size=size, report=report)


@printable_errors()
def outline(
    name_or_path: str | Path,
    *,
    size: int | None = None,
    split: str = "train",
    stack: int = 1,
    reading: Reading | None = None,
) -> Outline | None:
    """What `load` would give, as far as a folder tells without being read; None for a known name.

    Raises:
        UserError: as of `load`, as far as it is known.

    >>> outline("glyphs") is None
    True
    """
    from minigan.data import folder, formats, stacked

    if size is not None:
        check_size(size)
    reading = reading or Reading()
    path = _pictures(name_or_path)
    if path is not None:
        found = folder.outline(path, split=split, size=size or folder.SIZE, reading=reading)
    else:
        reading.check_arrays(str(name_or_path))
        if reading.hold_out:
            _check_no_test(name_or_path)
        if str(name_or_path) in {entry.name for entry in catalogue()}:
            return None
        path = _place(name_or_path)
        part = "train" if reading.hold_out else split
        known = formats.format_of(path)
        assert known is not None, "pictures have been seen by then"
        found = known.outline(path, split=part, size=size)
        if reading.hold_out:
            chosen = held_out(found.samples, reading.hold_out)[split == "test"]
            _check_copy(len(chosen), max(map(math.prod, found.shapes)), str(name_or_path))
            found = replace(found, samples=len(chosen), mapped=False)
    found = stacked.outline(found, stack)
    if not found.mapped:
        needed = found.samples * max(math.prod(shape) for shape in found.shapes)
        check_memory(needed, f"{found.samples:,} images of shape {found.shapes[-1]}")
    return found


def lasting(name_or_path: str | Path) -> str:
    """A name of the data that is valid in any folder: a known name unchanged, a path in full.

    >>> lasting("glyphs")
    'glyphs'
    """
    name = str(name_or_path)
    known = name in {entry.name for entry in catalogue()}
    return name if known else str(Path(name).expanduser().resolve())


def _place(name_or_path: str | Path) -> Path:
    """The folder of data, or the file.

    Raises:
        UserError: if there is none.
    """
    name = str(name_or_path)
    if not name.strip():
        raise UserError(
            "--data is empty; give a name from `minigan data list`, a folder (this one is .) or a "
            "file."
        )
    try:
        path = Path(name_or_path).expanduser()
        if path.is_dir() or _is_data(path):
            return path
    except (OSError, ValueError, RuntimeError) as error:  # too long, a NUL, a home of nobody
        raise UserError(f"{name[:80]!a} names no folder or file ({error}).") from error
    raise UserError(_not_found(name, path))


@dataclass(frozen=True)
class Entry:
    """A data set in the catalogue; `count` is the number of its training samples.

    >>> next(entry.shape for entry in catalogue() if entry.name == "ring")
    (2,)
    """

    name: str
    kind: str  # "built-in" or "download"
    shape: tuple[int, ...]
    count: int
    source: str
    terms: str
    cached: Path | None  # the folder of a finished download


def catalogue() -> list[Entry]:
    """The data sets that `load` knows by name; nothing is fetched or generated.

    >>> [entry.name for entry in catalogue() if entry.kind == "built-in"]
    ['glyphs', 'ring', 'grid', 'mixture1d']
    """
    from minigan.data import download, glyphs, points

    shape = (1, glyphs.NATIVE, glyphs.NATIVE)
    fonts = "digits from the DejaVu, STIX and Computer Modern fonts of matplotlib"
    entries = [
        Entry("glyphs", "built-in", shape, glyphs.COUNT["train"], fonts, "free to use", None)
    ]
    for name, mixture in points.MIXTURES.items():
        means = mixture().means
        drawn = f"{len(means)} Gaussians"
        entries.append(
            Entry(
                name, "built-in", means.shape[1:], points.COUNT["train"], drawn, "free to use", None
            )
        )
    for name, source in download.SOURCES.items():
        found = download.cached(source)
        entries.append(
            Entry(name, "download", (1, 28, 28), 60_000, source.mirrors[0], source.terms, found)
        )
    return entries


def _is_data(path: Path) -> bool:
    """Whether a file is data by its content."""
    from .formats import format_of
    from .zipped import is_zip

    return path.is_file() and (format_of(path) is not None or is_zip(path))


def _not_found(name: str, path: Path) -> str:
    from .files import FILES
    from .picture import SUFFIXES

    if path.is_file():
        with open(path, "rb") as file:
            head = file.read(HEAD)
        packed = archive(head)
        if packed is not None:
            return f"{name} is {packed}, which is not read; unpack it, and give the folder."
        if (what := stand_in(head)) is not None:
            return f"{name} is {what}."
        if path.suffix.lower() in FILES:
            return f"{name} is no {path.suffix.lower()} file, or damaged; fetch or save it again."
        if path.suffix.lower() in SUFFIXES:
            return f"{name} is one image; give the folder that it is in."
    if path.exists():
        return (
            f"{name} is a file of a kind that is not read; give the folder that it is in, or a "
            "zip of images, .npz, .npy, or SVHN's .mat."
        )
    if path.suffix.lower() in FILES:
        return f"There is no file {name}."
    known = [entry.name for entry in catalogue()]
    near = nearest(name, known)
    hint = f"did you mean {near}?" if near else "give a folder, a file or a known name."
    return f"There is no data set or folder {name}; {hint} (Known: {', '.join(known)})"
