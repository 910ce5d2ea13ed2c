"""One image file as RGB: any mode and size that Pillow reads, within limits."""

from __future__ import annotations

import io
import logging
import os
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from ..content import HEAD, mistaken_for, one_line
from ..errors import UserError
from .reading import Colour
from .zipped import File

if TYPE_CHECKING:
    from PIL import Image

# Without a handler Python would print what Pillow logs before it raises.
logging.getLogger("PIL").addHandler(logging.NullHandler())

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
_LARGEST_FILE = 256 << 20  # bytes; they are in memory beside the image
_STRIP = 1 << 20  # pixels that are converted at once, where it takes several copies


_HEARD = threading.local()  # `complaints` of the picture that a thread reads
_STDERR = threading.Lock()  # held while descriptor 2 is not the process's own


class BrokenPictureError(UserError):
    """A picture file that cannot be read; `why` says it without the name.

    >>> issubclass(BrokenPictureError, mg.UserError)
    True
    """

    def __init__(self, message: str, why: str = "") -> None:
        super().__init__(message)
        self.why = why

    @classmethod
    def of(cls, path: File, why: str) -> Self:
        """The error of one picture."""
        return cls(
            f"The image {path} cannot be read ({why}); repair it, take it out of the folder, or "
            "leave it out by --skip-broken.",
            why,
        )


@contextmanager
def listening() -> Iterator[None]:
    """What `read_picture` needs around it, once for all threads: to hear what Pillow warns of.

    The filters of warnings belong to the process, so no thread can set them for itself.
    """
    from PIL import Image

    with warnings.catch_warnings():
        before = warnings.showwarning

        def hear(message: Any, *rest: Any, **more: Any) -> None:
            complaints = getattr(_HEARD, "complaints", None)
            if complaints is None:  # of a thread that reads no picture
                before(message, *rest, **more)
            else:
                complaints.append(message)

        warnings.simplefilter("always")
        # Pillow only warns of images up to twice its limit; here they are refused too.
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        warnings.showwarning = hear
        yield


def read_picture(
    path: File,
    size: int,
    background: Colour,
    *,
    whole: bool = False,
) -> tuple[np.ndarray, str | None]:
    """An image upright and resized, (size, size, 3) uint8; and what was wrong with its description,
    such as EXIF data that cannot be read, if anything.

    Its middle is taken, as large a square as it has. With `whole` nothing is cropped: it is scaled
    to fit, and padded with the background. `listening` must be around it; several threads may call
    it at once.

    Raises:
        BrokenPictureError: if it cannot be read, or has more pixels than the limit of its format.
    """
    from PIL import Image, ImageOps

    complaints: list[Any] = []
    _HEARD.complaints = complaints
    try:
        # From memory, where no reader asks for more bytes than the file has.
        with Image.open(io.BytesIO(_content(path)), formats=FORMATS) as image:
            _check_pixels(image)
            image.draft(None, (2 * size, 2 * size))  # JPEG: skip detail far below a pixel
            with _silent() if image.format == "TIFF" else nullcontext():
                image.load()
            damage = _turn_upright(image)
            rgb = _rgb(image, background)
        if whole:
            fitted = _padded(rgb, size, background)
        else:
            fitted = ImageOps.fit(rgb, (size, size), Image.Resampling.LANCZOS)
    except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
        raise BrokenPictureError.of(path, f"it is too large to be trusted: {error}") from error
    except MemoryError:
        raise
    except Exception as error:  # Pillow's decoders raise nearly anything on a broken file
        raise BrokenPictureError.of(path, _reason(path, error)) from error
    finally:
        _HEARD.complaints = None
    if complaints and damage is None:
        damage = one_line(complaints[0])
    return np.asarray(fitted), damage


def _padded(rgb: Image.Image, size: int, background: Colour) -> Image.Image:
    """The whole image in the middle of a square."""
    from PIL import Image

    longer = max(rgb.size)
    width, height = (max(1, round(side * size / longer)) for side in rgb.size)
    canvas = Image.new("RGB", (size, size), background)
    scaled = rgb.resize((width, height), Image.Resampling.LANCZOS)
    canvas.paste(scaled, ((size - width) // 2, (size - height) // 2))
    return canvas


def _reason(path: File, error: Exception) -> str:
    """Why an image cannot be read: what its file is instead, or what the decoder says."""
    from PIL import UnidentifiedImageError

    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    if not isinstance(error, UnidentifiedImageError):
        return one_line(error)
    with path.open("rb") as file:
        what = mistaken_for(file.read(HEAD))
    return "no image of a known format" if what is None else f"it is {what}"


def _content(path: File) -> bytes:
    """The bytes of a file.

    Raises:
        ValueError: if there are too many.
    """
    with path.open("rb") as file:
        content = file.read(_LARGEST_FILE + 1)
    if len(content) > _LARGEST_FILE:
        raise ValueError(f"a file of more than {_LARGEST_FILE:,} bytes")
    return content


@contextmanager
def _silent() -> Iterator[None]:
    """Keep libtiff from writing to the process's stderr; Pillow raises what it says."""
    with _STDERR:
        try:
            kept = os.dup(2)
        except OSError:  # there is none
            yield
            return
        try:
            with open(os.devnull, "wb") as nothing:
                os.dup2(nothing.fileno(), 2)
            yield
        finally:
            os.dup2(kept, 2)
            os.close(kept)


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
