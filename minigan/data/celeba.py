"""CelebA's aligned faces (Liu et al. 2015), 178 x 218 pixels each, and the list of their parts."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from ..errors import UserError
from .streams import NoSplitError
from .zipped import File, Member

FOLDER = "img_align_celeba"  # or img_align_celeba_png
LISTS = ("list_eval_partition.txt", "list_eval_partition.csv")
_PICTURE = re.compile(r"\d{6}\.(jpg|png)")
_PARTS = {"train": b"0", "test": b"2"}  # 1 is for validation
_LARGEST = 64 << 20  # bytes of the list; that of 202,599 pictures has 3 MB
_NOTE = (
    "CelebA: the usual square is read, the centre 178 x 178 of 178 x 218 pixels (rows 20 to 197), "
    "unless by --crop none; there are no labels"
)


def is_celeba(place: Path, pictures: Sequence[File]) -> bool:
    """Whether these pictures, found in `place`, are named as CelebA's, in its folder."""
    if not pictures or _PICTURE.fullmatch(pictures[0].name) is None:
        return False
    first = pictures[0]
    around = first.parts[:-1] if isinstance(first, Member) else first.resolve().parts[-4:-1]
    known = any(part.startswith(FOLDER) for part in (place.resolve().name, *around))
    return known and all(_PICTURE.fullmatch(picture.name) for picture in pictures)


def part(
    place: Path, pictures: Sequence[File], split: str, inside: Sequence[Member]
) -> tuple[list[File], list[str]]:
    """The pictures of a split, and what is to be told.

    list_eval_partition.txt says which they are: it is in the folder, in the archive (of whose
    files `inside` are all), beside them, or in Eval there. Without it all are training data.

    Raises:
        NoSplitError: if there are none, or no list.
        UserError: if the list is damaged.
    """
    source = _list(place, inside)
    if source is None:
        if split != "train":
            raise NoSplitError(
                f"{place} is all of CelebA as training data: {LISTS[0]}, which says what its test "
                "part is, is not beside it."
            )
        return list(pictures), [_NOTE]
    parts = _parts(source)
    wanted = _PARTS[split]
    found = [picture for picture in pictures if parts.get(picture.name.encode()) == wanted]
    if not found:
        raise NoSplitError(f"{place} has no {split} images, as {source} says.")
    unknown = sum(picture.name.encode() not in parts for picture in pictures)
    notes = [_NOTE, f"{len(found):,} of {len(pictures):,} images are the {split} part by {source}"]
    if unknown:
        notes.append(f"passed over {unknown:,} images that are not in {source}")
    return found, notes


def _list(place: Path, inside: Sequence[Member]) -> File | None:
    """The file that says which part a picture is in, if it is there."""
    for member in inside:
        if member.name in LISTS:
            return member
    here = place.resolve()
    around = [here, *here.parents[:2]] if here.is_dir() else here.parents[:2]
    candidates = (f / eval_ / name for f in around for eval_ in ("", "Eval") for name in LISTS)
    return next((path for path in candidates if path.is_file()), None)


def _parts(source: File) -> dict[bytes, bytes]:
    """The number of the part of each picture.

    Raises:
        UserError: if the list cannot be read, or a line is not a name and a number.
    """
    try:
        with source.open("rb") as file:
            content = file.read(_LARGEST)
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        raise UserError(f"{source} cannot be read: {why}.") from error
    lines = content.replace(b",", b" ").splitlines()
    if lines and lines[0].split() == [b"image_id", b"partition"]:
        del lines[0]  # of the list in CSV
    parts = {}
    for line in lines:
        words = line.split()
        if not words:
            continue
        if len(words) != 2 or words[1] not in (b"0", b"1", b"2"):
            raise UserError(
                f"{source} has the line {line[:40]!a}, which is not a picture and its part, 0, 1 "
                "or 2; fetch it again."
            )
        parts[words[0]] = words[1]
    return parts
