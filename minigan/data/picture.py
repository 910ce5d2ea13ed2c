"""One image file as RGB: any mode and size that Pillow reads, within limits."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..errors import UserError
from .content import HEAD, check_content, one_line

if TYPE_CHECKING:
    from PIL import Image

Colour = tuple[int, int, int]

# By suffix, and by content: Pillow would open EPS under any name, and start Ghostscript for it.
SUFFIXES = {
    *(".png", ".apng", ".jpg", ".jpeg", ".jpe", ".jfif", ".bmp", ".dib", ".gif", ".webp"),
    *(".tif", ".tiff", ".ppm", ".pgm", ".pbm", ".pnm", ".avif", ".jp2", ".j2k", ".qoi"),
}
FORMATS = (
    "PNG",
    "JPEG",
    "BMP",
    "DIB",
    "GIF",
    "WEBP",
    "TIFF",
    "PPM",
    "AVIF",
    "JPEG2000",
    "QOI",
)
LARGEST = 89_478_485  # pixels of an image: Pillow's own limit
# Decoders that hold several copies of an image: with these limits none takes a gigabyte.
_LARGEST = {"WEBP": 1 << 25, "AVIF": 1 << 25, "JPEG2000": 1 << 24}
_STRIP = 1 << 20  # pixels that are converted at once, where it takes several copies


def read_picture(path: Path, size: int, background: Colour) -> tuple[np.ndarray, str | None]:
    """An image upright, centre-cropped and resized, (size, size, 3) uint8; and what was wrong with
    its description, such as EXIF data that cannot be read, if anything.

    Raises:
        UserError: if it cannot be read, or has more pixels than the limit of its format.
    """
    from PIL import Image, ImageOps, UnidentifiedImageError

    try:
        with warnings.catch_warnings(record=True) as complaints:
            warnings.simplefilter("always")
            # Pillow only warns of images up to twice its limit; here they are refused too.
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path, formats=FORMATS) as image:
                _check_pixels(image)
                image.draft(None, (2 * size, 2 * size))  # JPEG: skip detail far below a pixel
                image.load()
                damage = _turn_upright(image)
                rgb = _rgb(image, background)
            fitted = ImageOps.fit(rgb, (size, size), Image.Resampling.LANCZOS)
    except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
        raise UserError(f"The image {path} is too large to be trusted: {error}") from error
    except MemoryError:
        raise
    except Exception as error:  # Pillow's decoders raise nearly anything on a broken file
        _check_file(path)
        unknown = isinstance(error, UnidentifiedImageError)
        reason = "no image of a known format" if unknown else one_line(error)
        raise UserError(
            f"The image {path} cannot be read ({reason}); repair it or take it out of the folder."
        ) from error
    if complaints and damage is None:
        damage = one_line(complaints[0].message)
    return np.asarray(fitted), damage


def _check_file(path: Path) -> None:
    """Make sure that a file can be opened and is no pointer, page or archive."""
    try:
        with open(path, "rb") as file:
            head = file.read(HEAD)
    except OSError as error:
        raise UserError(f"The image {path} cannot be read ({error.strerror or error}).") from error
    check_content(path, head, "an image")


def _check_pixels(image: Image.Image) -> None:
    width, height = image.size
    limit = _LARGEST.get(image.format or "", LARGEST)
    if width * height > limit:
        raise ValueError(f"{width} x {height} pixels, more than the {limit:,} that are read")
    if width * height == 0:
        raise ValueError("it has no pixel")


def _turn_upright(image: Image.Image) -> str | None:
    """Apply the EXIF orientation; an image whose EXIF data are damaged stays as it is stored."""
    from PIL import ImageOps

    try:
        ImageOps.exif_transpose(image, in_place=True)
    except MemoryError:
        raise
    except Exception as error:  # the parser of EXIF data raises nearly anything
        return f"EXIF data: {one_line(error)}"
    return None


def _rgb(image: Image.Image, background: Colour) -> Image.Image:
    """An image of any mode as RGB, composited over a background where it is transparent."""
    from PIL import Image

    if image.mode.startswith(("I", "F")):
        return _strips(image, "L", _scaling(image)).convert("RGB")
    if not image.has_transparency_data:
        return image if image.mode == "RGB" else image.convert("RGB")

    def over(strip: Image.Image) -> Image.Image:
        canvas = Image.new("RGBA", strip.size, (*background, 255))
        # Before any resizing: the colour of transparent pixels is arbitrary and must not bleed.
        return Image.alpha_composite(canvas, strip.convert("RGBA")).convert("RGB")

    return _strips(image, "RGB", over)


def _strips(
    image: Image.Image, mode: str, change: Callable[[Image.Image], Image.Image]
) -> Image.Image:
    """`change` of an image, strip by strip: no second copy of a large one is ever there."""
    from PIL import Image

    width, height = image.size
    rows = max(1, _STRIP // width)
    changed = Image.new(mode, image.size)
    for top in range(0, height, rows):
        bottom = min(height, top + rows)
        changed.paste(change(image.crop((0, top, width, bottom))), (0, top))
    return changed


def _scaling(image: Image.Image) -> Callable[[Image.Image], Image.Image]:
    """The conversion to 8 bits of an image with deeper pixels, whose range its file tells.

    Raises:
        ValueError: if the range is unknown, as of integers of 32 bits and of real numbers.
    """
    from PIL import Image

    tags = getattr(image, "tag_v2", {})  # of TIFF
    bits = tags.get(258, (16,))[0] if image.mode.startswith("I;16") else 16
    # Pillow scales the deeper kinds of PPM and PNG to 16 bits, though their mode is I.
    if not image.mode.startswith("I;16") and image.format not in ("PPM", "PNG"):
        raise ValueError(
            f"pixels of mode {image.mode}, whose range is unknown; convert it to 8 or 16 bits"
        )
    top, inverted = (1 << bits) - 1, tags.get(262) == 0  # white is zero

    def scaled(strip: Image.Image) -> Image.Image:
        values = np.asarray(strip).astype(np.uint32)
        if values.max() > top:
            raise ValueError(f"pixels of mode {image.mode}, not of 1 to {bits} bits")
        values = (values * 255 + top // 2) // top  # full range to full range, rounded
        return Image.fromarray((255 - values if inverted else values).astype(np.uint8))

    return scaled
