"""Folders of image files, flat or with one sub-folder a class, of any mode and size."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..errors import UserError
from .dataset import Dataset
from .images import check_size
from .streams import NoSplitError, check_split

if TYPE_CHECKING:
    from PIL import Image

SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff"}
SIZE = 64  # pixels on a side, by default
_REPORT_EVERY = 500  # images between two reports of progress

Colour = str | tuple[int, int, int]


def read_images(
    folder: str | Path,
    *,
    size: int = SIZE,
    split: str = "train",
    background: Colour = "white",
    channels: int | None = None,
    report: Callable[[str], None] | None = None,
) -> Dataset:
    """The images of a folder as one array, each upright, centre-cropped and resized.

    Images directly in the folder have no labels; images in sub-folders have the sub-folders' sorted
    names as classes. A folder with a `train` sub-folder has splits: its `train` and its `test`.
    Hidden files and other kinds of files are ignored. Transparent images are composited over
    `background` (a name or "#rrggbb" as Pillow knows them, or three numbers in 0 .. 255). The EXIF
    orientation is applied, the shorter side becomes `size` (Lanczos), and the longer one is cropped
    evenly. Of an animation the first frame is read.

    x is (N, C, size, size) uint8. C is 1 if every image is grey and 3 otherwise, unless `channels`
    is given.

    Raises:
        NoSplitError: if the folder has no such split.
        UserError: if the folder has no image, or images beside class folders; if an image is broken
            or suspiciously large, with its name; if an argument is out of range.
    """
    check_size(size)
    if channels not in (None, 1, 3):
        raise UserError(f"Images have 1 or 3 channels, not {channels}.")
    colour = _colour(background)
    folder = Path(folder)
    paths, y, classes = _list(_split_folder(folder, split))
    x = np.empty((len(paths), 3, size, size), np.uint8)
    for i, path in enumerate(paths):
        x[i] = _read_image(path, size, colour).transpose(2, 0, 1)  # (H, W, C) to (C, H, W)
        if report is not None and ((i + 1) % _REPORT_EVERY == 0 or i + 1 == len(paths)):
            report(f"{i + 1:,} of {len(paths):,} images")
    if channels is None:
        channels = 1 if _is_grey(x) else 3
    if channels == 1:
        x = _to_grey(x)
    return Dataset(folder.resolve().name, x, y, classes)


def _split_folder(folder: Path, split: str) -> Path:
    """The folder of a split; a folder without splits is all training data."""
    check_split(split)
    if not folder.is_dir():
        raise UserError(f"There is no folder {folder}.")
    if (folder / "train").is_dir():
        if (folder / split).is_dir():
            return folder / split
    elif split == "train":
        return folder
    raise NoSplitError(f"The folder {folder} has no {split} images: there is no {folder / split}.")


def _list(folder: Path) -> tuple[list[Path], np.ndarray | None, tuple[str, ...]]:
    """The images in a fixed order, with labels and class names if there are class folders."""
    try:
        visible = sorted(p for p in folder.iterdir() if not p.name.startswith("."))
        here = [p for p in visible if _is_image_file(p)]
        below = {p.name: _walk(p) for p in visible if p.is_dir()}
    except OSError as error:
        raise UserError(f"The folder {folder} cannot be read: {error.strerror}.") from error
    below = {name: paths for name, paths in below.items() if paths}
    if here and below:
        raise UserError(
            f"The folder {folder} holds images (such as {here[0].name}) beside folders of images "
            f"(such as {next(iter(below))}); keep either, so that the classes are clear."
        )
    if here:
        return here, None, ()
    if not below:
        raise UserError(
            f"The folder {folder} holds no image ({' '.join(sorted(SUFFIXES))}); "
            "give the folder that the images or the class folders are in."
        )
    paths = [path for group in below.values() for path in group]
    y = np.repeat(np.arange(len(below), dtype=np.int64), [len(group) for group in below.values()])
    return paths, y, tuple(below)


def _walk(folder: Path) -> list[Path]:
    """The images at any depth below a class folder."""

    def refuse(error: OSError) -> None:
        raise error  # os.walk would skip a folder that it cannot read

    found = []
    for parent, folders, files in os.walk(folder, onerror=refuse):
        folders[:] = [name for name in folders if not name.startswith(".")]
        found += [Path(parent, name) for name in files if not name.startswith(".")]
    return sorted(path for path in found if _is_image_file(path))


def _is_image_file(path: Path) -> bool:
    return path.suffix.lower() in SUFFIXES and path.is_file()


def _colour(background: Colour) -> tuple[int, int, int]:
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


def _read_image(path: Path, size: int, background: tuple[int, int, int]) -> np.ndarray:
    """One image, (size, size, 3) uint8."""
    from PIL import Image, ImageOps

    try:
        with warnings.catch_warnings():
            # Pillow only warns of images up to twice its limit; here they are refused too.
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path) as image:
                image.draft(None, (2 * size, 2 * size))  # JPEG: skip detail far below a pixel
                upright = ImageOps.exif_transpose(image)
                rgb = _over(upright, background)
                fitted = ImageOps.fit(rgb, (size, size), Image.Resampling.LANCZOS)
        return np.asarray(fitted)
    except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
        raise UserError(f"The image {path} is too large to be trusted: {error}") from error
    except Exception as error:  # Pillow's decoders raise nearly anything on a broken file
        raise UserError(
            f"The image {path} cannot be read ({error}); repair it or take it out of the folder."
        ) from error


def _over(image: Image.Image, background: tuple[int, int, int]) -> Image.Image:
    """An image of any mode as RGB, composited over a background where it is transparent."""
    from PIL import Image

    if image.mode.startswith(("I", "F")):
        values = np.asarray(image)
        if image.mode == "F" or values.min() < 0 or values.max() > 0xFFFF:
            raise ValueError(f"pixels of mode {image.mode}, not of 1 to 16 bits")
        # 65535 = 255 * 257, so this maps full range to full range, rounded.
        image = Image.fromarray(((values.astype(np.uint32) + 128) // 257).astype(np.uint8))
    if not image.has_transparency_data:
        return image.convert("RGB")
    rgba = image.convert("RGBA")
    canvas = Image.new("RGBA", rgba.size, (*background, 255))
    # Before any resizing: the colour of transparent pixels is arbitrary and must not bleed.
    return Image.alpha_composite(canvas, rgba).convert("RGB")


def _is_grey(x: np.ndarray) -> bool:
    return bool(np.array_equal(x[:, 0], x[:, 1]) and np.array_equal(x[:, 0], x[:, 2]))


def _to_grey(x: np.ndarray) -> np.ndarray:
    """The luma of ITU-R BT.601, as in Pillow; equal channels keep their exact values."""
    weights = np.array([19595, 38470, 7471], np.uint32)  # of 65536
    grey = np.empty((len(x), 1, *x.shape[2:]), np.uint8)
    for target, image in zip(grey[:, 0], x, strict=True):  # one at a time: no fourfold copy
        target[:] = (np.tensordot(weights, image, axes=1) + 0x8000) >> 16
    return grey
