"""Animations of the pictures of a run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from ..files import atomic_write

HOLD = 2000  # milliseconds that the last frame is shown
PALETTE_FRAMES = 12  # frames from which the palette is chosen
MOST = 300  # frames, maximum: a minute at five a second


def save_animation(path: str | Path, frames: Sequence[str | Path], *, fps: float) -> None:
    """Join PNG files of one size into an endless GIF whose last frame is shown for two seconds.

    All frames share one palette of 256 colours, so that no colour flickers; it is chosen from up to
    twelve of them, evenly spaced. Equal neighbours become one frame, which is shown for as long as
    both. Of more than 300 frames 300 are taken, evenly spaced, the first and the last included.
    `fps` is the number of frames a second, above 0 and up to 50; a GIF counts in hundredths of a
    second.

    Raises:
        ValueError: if there is no frame, fps is out of range, or the sizes differ.
        OSError: if a frame cannot be read or the GIF not written.
    """
    if not frames:
        raise ValueError("an animation needs at least one frame")
    if not 0 < fps <= 50:
        raise ValueError(f"fps must be above 0 and at most 50, not {fps}")
    names = _spread(frames, MOST)
    first = _read(names[0])
    palette = _shared_palette([_read(name) for name in _spread(names, PALETTE_FRAMES)])
    indexed = []  # a byte a pixel, since all frames are in memory at once
    for name in names:
        picture = _read(name)
        if picture.size != first.size:
            raise ValueError(
                f"frames must have one size: {name} is {_size(picture)} pixels, "
                f"{names[0]} is {_size(first)}"
            )
        indexed.append(picture.quantize(palette=palette, dither=Image.Dither.NONE))
    duration = [10 * max(2, round(100 / fps))] * len(indexed)
    duration[-1] = max(HOLD, duration[-1])
    with atomic_write(path) as temporary:
        indexed[0].save(
            temporary,
            format="GIF",
            save_all=True,
            append_images=indexed[1:],
            duration=duration,
            loop=0,
            optimize=False,
            palette=bytes(palette.getpalette() or ()),  # else every frame repeats it
        )


def _read(name: str | Path) -> Image.Image:
    with Image.open(name) as image:
        return image.convert("RGB")


def _spread(frames: Sequence[str | Path], most: int) -> list[str | Path]:
    """At most `most` of the frames, evenly spaced, the first and the last included."""
    count, last = min(most, len(frames)), len(frames) - 1
    return [frames[i * last // max(1, count - 1)] for i in range(count)]


def _shared_palette(pictures: list[Image.Image]) -> Image.Image:
    width, height = pictures[0].size
    strip = Image.new("RGB", (width, height * len(pictures)))
    for i, picture in enumerate(pictures):
        strip.paste(picture, (0, i * height))
    return strip.quantize(colors=256, method=Image.Quantize.MEDIANCUT)


def _size(image: Image.Image) -> str:
    return f"{image.width}x{image.height}"
