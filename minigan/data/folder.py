"""Folders of image files as one array, all of one size."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from ..content import file_text
from ..errors import UserError
from .dataset import Dataset
from .files import find
from .images import check_size
from .memory import check_memory
from .outline import Outline
from .picture import Colour, read_picture

SIZE = 64  # pixels on a side, by default
_REPORT_EVERY = 500  # images between two reports of progress


def read_images(
    folder: str | Path,
    *,
    size: int = SIZE,
    split: str = "train",
    background: str | Colour = "white",
    channels: int | None = None,
    report: Callable[[str], None] | None = None,
) -> Dataset:
    """The images of a folder as one array, each upright, centre-cropped and resized.

    Images directly in the folder have no labels; images in sub-folders have the sub-folders' sorted
    names as classes. A folder has splits, `train` and `test`, as `find` says. Hidden files are
    ignored; what else is passed over is told to `report`, and so are images whose description is
    damaged. Transparent images are composited over `background` (a name or "#rrggbb" as Pillow
    knows them, or three numbers in 0 .. 255). The EXIF orientation is applied, the shorter side
    becomes `size` (Lanczos), and the longer one is cropped evenly. Of an animation the first frame
    is read.

    x is (N, C, size, size) uint8. C is 1 if every image is grey and 3 otherwise, unless `channels`
    is given.

    Raises:
        NoSplitError: if the folder has no such split.
        UserError: if the folder has no image, or images beside class folders; if an image is broken
            or suspiciously large, with its name; if an argument is out of range; if all images
            together are larger than the memory.
    """
    check_size(size)
    if channels not in (None, 1, 3):
        raise UserError(f"Images have 1 or 3 channels, not {channels}.")
    colour = _colour(background)
    folder, told = Path(folder), report or (lambda text: None)
    found = find(folder, split)
    for text in found.notes:
        told(text)
    count = len(found.paths)
    check_memory(count * 3 * size**2, f"{count:,} images of {size}x{size} pixels")
    x = np.empty((count, 3, size, size), np.uint8)
    damaged: list[str] = []
    for i, path in enumerate(found.paths):
        pixels, damage = read_picture(path, size, colour)
        x[i] = pixels.transpose(2, 0, 1)  # (H, W, C) to (C, H, W)
        if damage is not None:
            damaged.append(f"{path}: {damage}")
        if (i + 1) % _REPORT_EVERY == 0 or i + 1 == count:
            told(f"{i + 1:,} of {count:,} images")
    if damaged:
        told(f"{len(damaged):,} images are read although damaged, such as {damaged[0]}")
    if channels is None:
        channels = 1 if _is_grey(x) else 3
    if channels == 1:
        x = _to_grey(x)
    return Dataset(file_text(folder.resolve().name), x, found.y, found.classes)


def outline(folder: Path, *, split: str, size: int, background: str | Colour) -> Outline:
    """What `read_images` would give, from the names of the files and the first image.

    Raises:
        UserError: as of `read_images`, but for the other images.
    """
    check_size(size)
    found = find(folder, split)
    first, _ = read_picture(found.paths[0], size, _colour(background))
    channels = (1, 3) if _is_grey(first.transpose(2, 0, 1)[None]) else (3,)
    shapes = tuple((c, size, size) for c in channels)
    return Outline(shapes, len(found.classes), len(found.paths))


def _colour(background: str | Colour) -> Colour:
    from PIL import ImageColor

    try:
        if isinstance(background, str):
            return ImageColor.getrgb(background)[:3]
        red, green, blue = (int(np.uint8(value)) for value in background)
    except (ValueError, TypeError, OverflowError) as error:
        raise UserError(
            f"The background {background!r} is no colour; give a name or #rrggbb."
        ) from error
    return red, green, blue


def _is_grey(x: np.ndarray) -> bool:
    return bool(np.array_equal(x[:, 0], x[:, 1]) and np.array_equal(x[:, 0], x[:, 2]))


def _to_grey(x: np.ndarray) -> np.ndarray:
    """The luma of ITU-R BT.601, as in Pillow; equal channels keep their exact values."""
    weights = np.array([19595, 38470, 7471], np.uint32)  # of 65536
    grey = np.empty((len(x), 1, *x.shape[2:]), np.uint8)
    for target, image in zip(grey[:, 0], x, strict=True):  # one at a time: no fourfold copy
        target[:] = (np.tensordot(weights, image, axes=1) + 0x8000) >> 16
    return grey
