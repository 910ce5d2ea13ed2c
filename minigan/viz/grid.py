"""Images from arrays: the sample grid, and folders of single pictures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from ..errors import UserError
from ..files import atomic_write
from ..terminal import visible

CELL = 64  # pixels of a cell, about
GAP = 30  # grey level between the cells, discreet beside dark and bright pictures
CAPTION_HEIGHT = 18  # pixels


def image_grid(
    images: np.ndarray,
    *,
    value_range: tuple[float, float],
    columns: int | None = None,
    padding: int = 2,
    scale: int | None = None,
    labels: Sequence[object] | None = None,
) -> Image.Image:
    """One RGB picture of N images in rows, left to right and top to bottom.

    `images` are (N, C, H, W), with C from 1 to 3 (two channels are red and green): floats in
    `value_range`, or uint8. `value_range` (lo, hi) is shown as black and full intensity, and values
    outside are clipped; uint8 images need (0, 255). The grid has `columns` cells in a row (by
    default it is about square), and `padding` pixels between the cells and around them. `scale` is
    an integer enlargement by nearest neighbour, by default to about 64 pixels a cell. `labels` are
    N captions, one under each cell.

    Raises:
        ValueError: for another shape or range, and for NaN or infinity, naming the image.

    >>> image_grid(np.zeros((6, 1, 28, 28)), value_range=(-1, 1), columns=3, scale=1).size
    (92, 62)
    """
    pixels = _to_pixels(images, value_range)  # (N, H, W, C)
    count, height, width, _ = pixels.shape
    if scale is None:
        scale = max(1, round(CELL / max(height, width)))
    if columns is None:
        columns = int(np.ceil(np.sqrt(count)))
    if scale < 1 or columns < 1 or padding < 0:
        raise ValueError(
            f"scale and columns must be at least 1 and padding at least 0, "
            f"not scale={scale}, columns={columns}, padding={padding}"
        )
    if labels is not None and len(labels) != count:
        raise ValueError(f"{count} images need {count} labels, not {len(labels)}")

    rows = -(-count // columns)
    caption = 0 if labels is None else CAPTION_HEIGHT
    cell_height, cell_width = padding + height * scale + caption, padding + width * scale
    cells = np.full((rows * columns, cell_height, cell_width, 3), GAP, np.uint8)
    enlarged = pixels.repeat(scale, axis=1).repeat(scale, axis=2)
    cells[:count, padding : padding + height * scale, padding:] = (
        enlarged  # one channel spreads over three
    )
    sheet = cells.reshape(rows, columns, cell_height, cell_width, 3).transpose(0, 2, 1, 3, 4)
    sheet = sheet.reshape(rows * cell_height, columns * cell_width, 3)
    picture = Image.fromarray(
        np.pad(sheet, ((0, padding), (0, padding), (0, 0)), constant_values=GAP)
    )
    if labels is not None:
        draw = ImageDraw.Draw(picture)
        font = ImageFont.load_default(12)
        for i, label in enumerate(labels):
            x = (i % columns) * cell_width + padding + width * scale / 2
            y = (i // columns + 1) * cell_height - CAPTION_HEIGHT / 2
            draw.text((x, y), visible(str(label)), fill=(225, 225, 225), font=font, anchor="mm")
    return picture


def with_headings(
    picture: Image.Image, headings: Sequence[object], *, padding: int = 2
) -> Image.Image:
    """A picture of `image_grid` with a heading above each of its columns, in a strip at the top.

    There are as many headings as columns; what is too long for its column is cut. `padding` is that
    of the grid.

    >>> grid = image_grid(np.zeros((4, 1, 28, 28)), value_range=(-1, 1), columns=2, scale=2)
    >>> with_headings(grid, ["0", "1"]).size[0] == grid.size[0]
    True
    """
    taller = Image.new("RGB", (picture.width, picture.height + CAPTION_HEIGHT), (GAP,) * 3)
    taller.paste(picture, (0, CAPTION_HEIGHT))
    draw, font = ImageDraw.Draw(taller), ImageFont.load_default(12)
    cell = (picture.width - padding) / len(headings)
    for i, heading in enumerate(headings):
        text = visible(str(heading))
        while text and draw.textlength(text, font=font) > cell - padding:
            text = text[:-1]
        x = i * cell + (padding + cell) / 2
        draw.text((x, CAPTION_HEIGHT / 2), text, fill=(225, 225, 225), font=font, anchor="mm")
    return taller


def save_grid(
    path: str | Path,
    images: np.ndarray,
    *,
    value_range: tuple[float, float],
    columns: int | None = None,
    padding: int = 2,
    scale: int | None = None,
    labels: Sequence[object] | None = None,
    headings: Sequence[object] | None = None,
    like: Path | None = None,
) -> None:
    """Write a PNG of `image_grid` with the same arguments.

    `headings` are the names of its columns, and stand above them, unless the picture `like` of an
    equal grid has none: all pictures of a film have one size.

    Raises:
        ValueError: as `image_grid`.
        OSError: if the file cannot be written.

    >>> save_grid("grid.png", np.zeros((6, 1, 28, 28)), value_range=(-1, 1))
    """
    picture = image_grid(
        images,
        value_range=value_range,
        columns=len(headings) if headings else columns,
        padding=padding,
        scale=scale,
        labels=labels,
    )
    if headings and (like is None or _size(like) != picture.size):
        picture = with_headings(picture, headings, padding=padding)
    with atomic_write(path) as temporary:
        picture.save(temporary, format="PNG")


def _size(picture: Path) -> tuple[int, int] | None:
    """The width and height of a PNG; None if it is none."""
    try:
        with Image.open(picture, formats=("PNG",)) as image:
            return image.size
    except (OSError, SyntaxError):
        return None


def save_images(
    folder: str | Path, images: np.ndarray, *, value_range: tuple[float, float]
) -> list[Path]:
    """Write each of (N, C, H, W) images to a PNG of its own, 0000.png and on; their paths in order.

    One channel gives a greyscale file, more an RGB one. The folder is created if it is missing.

    Raises:
        ValueError: as `image_grid`; then nothing has been written.
        UserError: if the folder has further images, which would seem to belong to this draw.
        OSError: if a file cannot be written.

    >>> [path.name for path in save_images("drawn", np.zeros((2, 3, 8, 8)), value_range=(-1, 1))]
    ['0000.png', '0001.png']
    """
    pixels = _to_pixels(images, value_range)  # (N, H, W, C)
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    digits = max(4, len(str(len(pixels) - 1)))
    paths = [folder / f"{i:0{digits}d}.png" for i in range(len(pixels))]
    if others := {p for p in folder.glob("*.png") if p.stem.isdecimal()} - set(paths):
        raise UserError(
            f"{folder} holds images of another draw, such as {min(others).name}; remove them, or "
            "choose another --out"
        )
    for path, image in zip(paths, pixels, strict=True):
        with atomic_write(path) as temporary:
            Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image).save(
                temporary, format="PNG"
            )
    return paths


def _to_pixels(images: np.ndarray, value_range: tuple[float, float]) -> np.ndarray:
    """Values (N, C, H, W) in `value_range` as bytes (N, H, W, C)."""
    images = np.asarray(images)  # of a tensor that records gradients, an error that says what to do
    if images.ndim != 4 or images.shape[1] > 3 or 0 in images.shape:
        raise ValueError(
            f"images must have the shape (N, C, H, W) with 1 to 3 channels, not {images.shape}"
        )
    lo, hi = value_range
    if images.shape[1] == 2:
        blue = np.full_like(images[:, :1], lo)
        images = np.concatenate([images, blue], axis=1)
    if not (np.isfinite(lo) and np.isfinite(hi) and lo < hi):
        raise ValueError(f"value_range must be two finite numbers, low < high, not {value_range}")
    if images.dtype == np.uint8:
        if (lo, hi) != (0, 255):
            raise ValueError(f"uint8 images have the value_range (0, 255), not {value_range}")
        return images.transpose(0, 2, 3, 1)  # (N, H, W, C)
    if not np.issubdtype(images.dtype, np.floating):
        raise ValueError(f"images must be floats or uint8, not {images.dtype}")
    finite = np.isfinite(images).all(axis=(1, 2, 3))
    if not finite.all():
        bad = int(np.argmin(finite))
        name = "NaN" if np.isnan(images[bad]).any() else "an infinite value"
        raise ValueError(
            f"image {bad} contains {name} ({int((~finite).sum())} of {len(images)} images "
            f"are not finite), so there is nothing to show"
        )
    unit = (images.astype(np.float64) - lo) / (hi - lo)
    return np.rint(unit.clip(0, 1) * 255).astype(np.uint8).transpose(0, 2, 3, 1)  # (N, H, W, C)
