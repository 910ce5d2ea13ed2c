"""Animations of the pictures of a run."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from PIL import Image, UnidentifiedImageError

from ..files import atomic_write

HOLD = 2000  # milliseconds that the last frame is shown
PALETTE_FRAMES = 12  # frames from which the palette is chosen
MOST = 300  # frames, maximum: a minute at five a second
T = TypeVar("T")


def save_animation(path: str | Path, frames: Sequence[str | Path], *, fps: float) -> None:
    """Join PNG files of one size into an endless GIF whose last frame is shown for two seconds.

    All frames share one palette of 256 colours, so that no colour flickers; it is chosen from up to
    twelve of them, evenly spaced. Equal neighbours become one frame, which is shown for as long as
    both. Of more than 300 frames 300 are taken, evenly spaced, the first and the last included.
    `fps` is the number of frames a second, above 0 and up to 50; a GIF counts in hundredths of a
    second.

    Raises:
        ValueError: if there is no frame, fps is out of range, a frame is no picture, or the sizes
            differ.
        OSError: if a frame cannot be opened or the GIF not written.

    >>> from minigan.viz.grid import save_images
    >>> frames = save_images("frames", np.zeros((2, 1, 8, 8)), value_range=(-1, 1))
    >>> save_animation("film.gif", frames, fps=5)
    """
    if not frames:
        raise ValueError("an animation needs at least one frame")
    if not 0 < fps <= 50:
        raise ValueError(f"fps must be above 0 and at most 50, not {fps}")
    names = _spread(frames, MOST)
    sizes = [_size(name) for name in names]  # before the memory for their pixels is taken
    for name, size in zip(names, sizes, strict=True):
        if size != sizes[0]:
            raise ValueError(
                f"frames must have one size: {name} is {size} pixels, {names[0]} is {sizes[0]}"
            )
    palette = _shared_palette([_read(name) for name in _spread(names, PALETTE_FRAMES)])
    plain = Image.Dither.NONE
    # A byte a pixel, since all frames are in memory at once.
    indexed = [_read(name).quantize(palette=palette, dither=plain) for name in names]
    duration = [_duration(fps)] * len(indexed)
    duration[-1] = max(HOLD, duration[-1])
    with atomic_write(path) as temporary:
        _write(temporary, indexed, palette, duration)


def animated(pictures: Sequence[Image.Image], *, fps: float) -> bytes:
    """RGB pictures of one size as the bytes of an endless GIF, in one palette of 256 colours.

    `fps` is the number of frames a second, above 0 and up to 50.

    >>> from minigan.viz.grid import image_grid
    >>> pictures = [image_grid(np.full((1, 1, 8, 8), v), value_range=(-1, 1)) for v in (0.0, 1.0)]
    >>> animated(pictures, fps=5)[:6]
    b'GIF89a'
    """
    palette = _shared_palette(_spread(pictures, PALETTE_FRAMES))
    plain = Image.Dither.NONE
    indexed = [picture.quantize(palette=palette, dither=plain) for picture in pictures]
    content = io.BytesIO()
    _write(content, indexed, palette, [_duration(fps)] * len(indexed))
    return content.getvalue()


def _duration(fps: float) -> int:
    """Milliseconds that a frame is shown; a GIF counts in hundredths of a second."""
    return 10 * max(2, round(100 / fps))


def _write(
    file: Path | io.BytesIO,
    indexed: Sequence[Image.Image],
    palette: Image.Image,
    duration: list[int],
) -> None:
    indexed[0].save(
        file,
        format="GIF",
        save_all=True,
        append_images=indexed[1:],
        duration=duration,
        loop=0,
        optimize=False,
        palette=bytes(palette.getpalette() or ()),  # else every frame repeats it
    )


def _read(name: str | Path) -> Image.Image:
    with _opened(name) as image:
        return image.convert("RGB")


def _size(name: str | Path) -> str:
    with _opened(name) as image:
        return f"{image.width}x{image.height}"


@contextmanager
def _opened(name: str | Path) -> Iterator[Image.Image]:
    """A PNG, of which only the header is read until its pixels are asked for.

    Raises:
        ValueError: if it is none, in its header or in its pixels.
    """
    with open(name, "rb") as file:
        try:
            with Image.open(file, formats=("PNG",)) as image:
                yield image
        except UnidentifiedImageError:
            raise ValueError(f"{name} is not a PNG") from None
        except (OSError, SyntaxError, Image.DecompressionBombError) as error:
            raise ValueError(f"{name} is not a whole PNG: {error}") from error


def _spread(frames: Sequence[T], most: int) -> list[T]:
    """At most `most` of the frames, evenly spaced, the first and the last included."""
    count, last = min(most, len(frames)), len(frames) - 1
    return [frames[i * last // max(1, count - 1)] for i in range(count)]


def _shared_palette(pictures: list[Image.Image]) -> Image.Image:
    width, height = pictures[0].size
    strip = Image.new("RGB", (width, height * len(pictures)))
    for i, picture in enumerate(pictures):
        strip.paste(picture, (0, i * height))
    return strip.quantize(colors=256, method=Image.Quantize.MEDIANCUT)
