"""Folders of image files as one array, all of one size."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from ..content import file_text
from ..errors import UserError
from . import cache
from .dataset import Dataset
from .decoding import Found, Job, check_broken, into_file, into_memory, is_grey, named
from .files import find
from .images import check_size, middle
from .outline import Outline
from .picture import BrokenPictureError, listening, read_picture
from .reading import Colour, Reading, colour, colour_name, held_out
from .streams import NoSplitError

SIZE = 64  # pixels on a side, by default
_SHOWN = 3  # pictures left out that are named


def read_images(
    folder: str | Path,
    *,
    size: int = SIZE,
    split: str = "train",
    background: str | Colour = "white",
    channels: int | None = None,
    reading: Reading | None = None,
    report: Callable[[str], None] | None = None,
) -> Dataset:
    """The images of a folder as one array, each upright, centre-cropped and resized.

    Images directly in the folder have no labels; images in sub-folders have the sub-folders' sorted
    names as classes. A folder has splits, `train` and `test`, as `find` says. Hidden files are
    ignored; what else is passed over is told to `report`, and so are images whose description is
    damaged. Transparent images are composited over `background` (a name or "#rrggbb" as Pillow
    knows them, or three numbers in 0 .. 255). The EXIF orientation is applied, the shorter side
    becomes `size` (Lanczos), and the longer one is cropped evenly. Of an animation the first frame
    is read. `reading` says what is to be done otherwise, and has a background of its own.

    x is (N, C, size, size) uint8. C is 1 if every image is grey and 3 otherwise, unless `channels`
    is given. Of 64 images or more it is read-only, and mapped from minigan's cache.

    Raises:
        NoSplitError: if the folder has no such split.
        UserError: if the folder has no image, or images beside class folders; if images are broken
            or suspiciously large, with their names; if an argument is out of range; if all images
            together are larger than the memory, where they cannot be kept in a file.
    """
    check_size(size)
    if channels not in (None, 1, 3):
        raise UserError(f"Images have 1 or 3 channels, not {channels}.")
    reading = reading or Reading(background=colour_name(background))
    folder, told = Path(folder), report or (lambda text: None)
    pictures = _Pictures(folder, split, reading)
    for text in pictures.notes:
        told(text)
    job = Job(
        pictures.paths,
        str(folder),
        reading.kept_size(size),
        colour(reading.background),
        whole=reading.crop == "none",
        channels=channels,
        skip_broken=reading.skip_broken,
    )
    slow = report is not None and len(job.paths) >= cache.FEWEST
    x, facts = _decoded(job, pictures, told, progress=slow)
    for text in facts["told"]:
        told(text)
    here, y = pictures.part(np.array(facts["left_out"], np.int64))
    wide, place = x[here], folder.resolve()
    return Dataset(
        # That of an archive without its suffix.
        file_text(place.stem if place.is_file() else place.name),
        middle(wide, size),
        y,
        pictures.classes,
        flip=reading.flip,
        wide=wide if job.size > size else None,
    )


def outline(folder: Path, *, split: str, size: int, reading: Reading) -> Outline:
    """What `read_images` would give, from the names of the files and the first image.

    Raises:
        UserError: as of `read_images`, but for the other images.
    """
    check_size(size)
    pictures = _Pictures(folder, split, reading)
    back, whole = colour(reading.background), reading.crop == "none"
    broken: dict[int, str] = {}
    with listening():
        for place, path in enumerate(pictures.paths):
            try:
                first, _ = read_picture(path, size, back, whole=whole)
                break
            except BrokenPictureError as error:  # with others, and so named with them later
                broken[place] = error.why
        else:
            job = Job(pictures.paths, str(folder), size, back, skip_broken=reading.skip_broken)
            check_broken(job, Found(broken))
    channels = (1, 3) if is_grey(first.transpose(2, 0, 1)) else (3,)
    shapes = tuple((c, size, size) for c in channels)
    count = len(range(len(pictures.paths))[pictures.rows(pictures.border)])
    kept = len(pictures.paths) >= cache.FEWEST
    return Outline(shapes, len(pictures.classes), count, mapped=kept)


class _Pictures:
    """The pictures of a folder in the order in which they are decoded, and which are of a split.

    Those that are held out come last, so that each part is a slice.
    """

    def __init__(self, folder: Path, split: str, reading: Reading) -> None:
        self.folder, self.split, self.hold_out = folder, split, reading.hold_out
        if reading.hold_out:
            _check_no_test(folder)
        found = find(folder, "train" if reading.hold_out else split)
        self.paths, self.y = found.paths, found.y
        self.classes, self.notes = found.classes, found.notes
        self.border = len(self.paths)  # pictures before those that are held out
        if reading.hold_out:
            rest, held = held_out(len(self.paths), reading.hold_out)
            self.border, order = len(rest), np.concatenate([rest, held])
            self.paths = [self.paths[i] for i in order]
            self.y = None if self.y is None else self.y[order]

    def rows(self, border: int) -> slice:
        """Which pictures are of the split, if `border` ones come before those that are held out."""
        return slice(border, None) if self.hold_out and self.split == "test" else slice(border)

    def part(self, left_out: np.ndarray) -> tuple[slice, np.ndarray | None]:
        """Which decoded pictures are of the split, and their labels, without broken ones."""
        here = self.rows(self.border - int(np.sum(left_out < self.border)))
        return here, None if self.y is None else np.delete(self.y, left_out)[here]


def _check_no_test(folder: Path) -> None:
    try:
        find(folder, "test")
    except NoSplitError:
        return
    raise UserError(f"{folder} has a test part, which is held out already; leave out --hold-out")


def _decoded(
    job: Job, pictures: _Pictures, told: Callable[[str], None], *, progress: bool
) -> tuple[np.ndarray, dict[str, Any]]:
    """All pictures of a folder, and what is to be told of them; from the cache, if it has them.

    Few pictures are not kept: to find their file would take as long as to decode them.
    """
    if len(job.paths) < cache.FEWEST:
        x, found = into_memory(job, progress=progress)
        return x, _facts(job, found)
    part = "train" if pictures.hold_out else pictures.split
    options = {
        "size": job.size,
        "background": job.background,
        "whole": job.whole,
        "channels": job.channels,
        "skip_broken": job.skip_broken,
        "hold_out": pictures.hold_out,
        "split": part,
    }
    place = cache.place_of(pictures.folder, options)
    key = cache.key_of(pictures.folder, job.paths, options)
    if (kept := cache.find(place, key)) is not None:
        told(f"{len(kept[0]):,} images, as they were decoded before, from {cache.folder()}")
        return kept

    def fill(file: Any) -> tuple[tuple[int, ...], dict[str, Any]]:
        shape, found = into_file(job, file, progress=progress)
        return shape, _facts(job, found)

    try:
        cache.write(place, key, fill)
        kept, why = cache.find(place, key), "it was removed at once"
    except OSError as error:
        why = error.strerror or str(error)
    if kept is not None:
        return kept
    told(
        f"decoded images cannot be kept in {cache.folder()} ({why}), so they stay in memory, and "
        "each start decodes them again"
    )
    x, found = into_memory(job, progress=progress)
    return x, _facts(job, found)


def _facts(job: Job, found: Found) -> dict[str, Any]:
    """What is kept beside the pixels: places of pictures left out, and what is told of them."""
    told = []
    if found.broken:
        told.append(
            f"left out {len(found.broken):,} of {len(job.paths):,} images that cannot be read: "
            f"{named(job, found.broken, _SHOWN)}"
        )
    if found.damaged:
        told.append(f"{found.damaged:,} images are read although damaged, such as {found.example}")
    return {"told": told, "left_out": list(found.broken)}
