"""Pictures of a run as they go into its report: smaller than the files, and looking the same."""

from __future__ import annotations

import functools
import io
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, features

from ..errors import UserError

EXACT_BYTES = 120_000  # of a picture, up to which it is kept exactly
QUALITY = {"WEBP": 82, "JPEG": 88}  # of what is not kept exactly, as each counts it


class Embedded(NamedTuple):
    """An encoded picture: its media type, its bytes, and the size at which it is shown.

    A picture whose pixels were enlarged is encoded before that, and `pixelated` when shown.
    """

    media_type: str
    content: bytes
    width: int
    height: int
    pixelated: bool


def embedded(path: Path, *, exactly: bool = True) -> Embedded:
    """The picture in a file, exactly if it is not too large then, or so that one hardly sees it.

    Raises:
        FileNotFoundError: if it is not there.
        UserError: if it cannot be read.
        ValueError: if it is no picture that can be shown.
    """
    try:
        status = path.stat()
        return _embedded(path, exactly, status.st_mtime_ns, status.st_size)
    except FileNotFoundError:
        raise
    except OSError as error:  # a caller that writes would take it for a fault of its own file
        raise UserError(f"{path} cannot be read ({error.strerror or error})") from error


def spread(pictures: Sequence[Path], most_bytes: int) -> list[int]:
    """Which of the pictures to show so that together they stay below `most_bytes`: their indices,
    evenly spaced, with the first and the last.
    """
    sizes = []
    for path in pictures:
        try:
            sizes.append(len(embedded(path, exactly=False).content))
        except (ValueError, FileNotFoundError):  # the report says so in its place, or leaves it out
            sizes.append(0)
    count = len(sizes)
    while count > 2 and sum(sizes[i] for i in evenly(len(sizes), count)) > most_bytes:
        count -= 1
    return evenly(len(sizes), count)


def evenly(total: int, count: int) -> list[int]:
    """`count` of the numbers below `total`, or all, evenly spaced, with the first and the last."""
    count = min(count, total)
    return [i * (total - 1) // max(1, count - 1) for i in range(count)]


@functools.lru_cache(maxsize=128)  # a report is written often, and shows most pictures again
def _embedded(path: Path, exactly: bool, changed: int, size: int) -> Embedded:
    file = io.BytesIO(path.read_bytes())
    try:
        with Image.open(file, formats=("PNG",)) as image:
            picture = image.convert("RGB")
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise ValueError(f"{path.name} is not a whole PNG, so it is not shown") from error
    width, height = picture.size
    pixels = np.asarray(picture)
    scale = next((n for n in (4, 3, 2) if _is_enlarged(pixels, n)), 1)
    pixels = pixels[::scale, ::scale]
    if exactly:
        content = _png(pixels)
        if len(content) <= EXACT_BYTES:
            return Embedded("image/png", content, width, height, scale > 1)
    form = "WEBP" if features.check("webp") else "JPEG"
    stream = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(
        stream, form, quality=QUALITY[form], method=2
    )
    lossy = stream.getvalue()
    return Embedded(f"image/{form.lower()}", lossy, width, height, scale > 1)


def _is_enlarged(pixels: np.ndarray, n: int) -> bool:
    """Whether all squares of n x n pixels have one colour each."""
    height, width, _ = pixels.shape
    if height % n or width % n:
        return False
    small = pixels[::n, ::n]
    return bool((small.repeat(n, axis=0).repeat(n, axis=1) == pixels).all())


def _png(pixels: np.ndarray) -> bytes:
    """A PNG, with one byte a pixel where there are no more than 256 colours."""
    image = Image.fromarray(np.ascontiguousarray(pixels))
    if (pixels == pixels[..., :1]).all():
        image = image.convert("L")
    elif image.getcolors(256) is not None:
        image = image.convert("P", palette=Image.Palette.ADAPTIVE, colors=256)
    stream = io.BytesIO()
    image.save(stream, "PNG", optimize=True)
    return stream.getvalue()
