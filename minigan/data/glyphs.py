"""Digits drawn from fonts, with their true rotation, slant and stroke thickness.

A glyph is stored as its signed distance field (Green 2007, "Improved alpha-tested magnification"):
the distance of each place from the outline, positive inside. To thicken a stroke is then an
addition, to rotate and slant it a resampling, and to draw it one clip. So the three factors vary
continuously, and twelve thousand images take about a second.
"""

from __future__ import annotations

import importlib.util
from functools import cache
from pathlib import Path

import numpy as np

from ..errors import UserError
from .dataset import Dataset
from .memory import check_memory
from .streams import Purpose, split_index, stream

COUNT = {"train": 12_000, "test": 2_000}  # images in each split
NATIVE = 28  # pixels on a side; thickness is measured in pixels of this size

ROTATION = (-20.0, 20.0)  # degrees, positive is anticlockwise
SLANT = (-0.35, 0.35)  # tangent of the slant, positive leans to the right
THICKNESS = (1.8, 4.0)  # mean stroke width in pixels of a 28x28 image

# Upright fonts with clear digits; the thickness factor sets how bold they are. Oblique fonts would
# have a slant that the factors do not show, the zeros of DejaVu Sans Mono have a dot, and thinned
# bold serif fonts lose their hairlines.
FONTS = (
    "DejaVuSans",
    "DejaVuSans-Bold",
    "DejaVuSerif",
    "STIXGeneral",
    "cmr10",
    "cmss10",
    "cmtt10",
)

_HEIGHT = 18.0  # of a digit before its strokes are thickened, in pixels of 28
_FINE = 4  # pixels of the font drawing to one pixel of 28
_COARSE = 2  # samples of the distance field to one pixel of 28
_CHUNK = 1000  # images of 28 pixels in memory at once, or fewer larger ones


def glyphs(
    *, size: int = NATIVE, seed: int = 0, split: str = "train", count: int | None = None
) -> Dataset:
    """A balanced data set of digits, white on black.

    x is (count, 1, size, size) uint8, y (count,) int64. The factors are uniform and independent of
    each other, of the class and of the font: rotation in degrees (anticlockwise), slant (tangent,
    positive to the right), thickness (mean stroke width over the font's ten digits, in pixels of a
    28x28 image). By default there are 12,000 images for training and 2,000 others for testing.

    Raises:
        UserError: for an unknown split, a seed out of range, or a size outside 8 .. 512.
    """
    if not 8 <= size <= 512:
        raise UserError(f"Glyphs of {size}x{size} pixels cannot be drawn; give 8 to 512.")
    rng = stream(seed, split_index(split), Purpose.GLYPHS)
    n = COUNT[split] if count is None else count
    y = rng.permutation(np.arange(n) % 10)
    font = rng.integers(len(FONTS), size=n)
    rotation, slant, thickness = (
        rng.uniform(*limits, size=n).astype(np.float32) for limits in (ROTATION, SLANT, THICKNESS)
    )
    fields, widths = _distance_fields()
    check_memory(n * size**2, f"{n:,} glyphs of {size}x{size} pixels")
    x = np.empty((n, 1, size, size), np.uint8)
    chunk = max(1, _CHUNK * NATIVE**2 // size**2)
    for start in range(0, n, chunk):
        part = slice(start, start + chunk)
        which = font[part] * 10 + y[part]
        grow = (thickness[part] - widths[font[part]]) / 2  # each side of a stroke moves by half
        x[part, 0] = _draw(fields, which, grow, rotation[part], slant[part], size)
    factors = {"rotation": rotation, "slant": slant, "thickness": thickness}
    return Dataset("glyphs", x, y, tuple("0123456789"), factors)


def _draw(
    fields: np.ndarray,
    which: np.ndarray,
    grow: np.ndarray,
    rotation: np.ndarray,
    slant: np.ndarray,
    size: int,
) -> np.ndarray:
    """Distance fields resampled, and their distances as coverage: (n, size, size) uint8."""
    scale = size / NATIVE
    centre = ((np.arange(size) + 0.5) / scale - NATIVE / 2).astype(np.float32)
    v, u = centre[:, None], centre  # rows down, columns right, pixels of 28 around the middle
    angle = np.deg2rad(rotation).astype(np.float32)[:, None, None]
    cos, sin = np.cos(angle), np.sin(angle)
    # Backwards, from a pixel to the place in the upright glyph: undo the turn, then the slant.
    row = sin * u + cos * v
    column = cos * u - sin * v + slant[:, None, None] * row
    distance = _bilinear(fields, which, row, column) + grow[:, None, None]
    coverage = np.clip(distance * scale + 0.5, 0, 1)  # an edge is one pixel of the image wide
    return np.rint(coverage * 255).astype(np.uint8)


def _bilinear(
    fields: np.ndarray, which: np.ndarray, row: np.ndarray, column: np.ndarray
) -> np.ndarray:
    """Values of the chosen fields at places around their middle; outside, the border continues."""
    side = fields.shape[1]
    last = np.float32(side - 1)
    r = np.clip(row * _COARSE + last / 2, 0, last - np.float32(1e-3))
    c = np.clip(column * _COARSE + last / 2, 0, last - np.float32(1e-3))
    r0, c0 = r.astype(np.int32), c.astype(np.int32)
    r, c = r - r0, c - c0
    flat = fields.reshape(-1)
    first = which[:, None, None].astype(np.int32) * (side * side) + r0 * side + c0
    top = flat[first] * (1 - c) + flat[first + 1] * c
    bottom = flat[first + side] * (1 - c) + flat[first + side + 1] * c
    return top * (1 - r) + bottom * r


@cache
def _distance_fields() -> tuple[np.ndarray, np.ndarray]:
    """The fields of all glyphs (fonts * 10, S, S) and the fonts' stroke widths (fonts,).

    Both are in pixels of 28; distances are positive inside the outline.
    """
    fields = np.stack(
        [_distance_field(_outline(f, digit)) for f in FONTS for digit in "0123456789"]
    )
    inside = fields.reshape(len(FONTS), -1)
    # Across a stroke of width w the mean depth is w / 4.
    widths = 4 * inside.mean(axis=1, where=inside > 0)
    return fields, widths


def _outline(font: str, digit: str) -> np.ndarray:
    """One digit, centred, at its standard height: (28 * _FINE, 28 * _FINE) in 0 .. 1."""
    from PIL import Image, ImageDraw, ImageFont

    path = _font_folder() / f"{font}.ttf"
    basic = ImageFont.Layout.BASIC  # the same with and without the Raqm library
    probe = ImageFont.truetype(path, 1000, layout_engine=basic)
    top, bottom = probe.getbbox("0")[1::2]
    points = 1000 * _HEIGHT * _FINE / (bottom - top)
    side = NATIVE * _FINE
    image = Image.new("L", (side, side))
    sized = ImageFont.truetype(path, points, layout_engine=basic)
    left, top, right, bottom = sized.getbbox(digit)
    corner = ((side - left - right) / 2, (side - top - bottom) / 2)
    ImageDraw.Draw(image).text(corner, digit, fill=255, font=sized)
    return np.asarray(image, np.float32) / 255


def _distance_field(ink: np.ndarray) -> np.ndarray:
    """The signed distance of each sample from the outline: (S, S) float32 in pixels of 28."""
    edge = np.concatenate([_crossings(ink), _crossings(ink.T)[:, ::-1]]) / _FINE  # (P, 2) row, col
    side = NATIVE * _COARSE
    place = ((np.arange(side) + 0.5) / _COARSE).astype(np.float32)
    across = (place[:, None] - edge[:, 0].astype(np.float32)) ** 2  # (S, P)
    along = (place[:, None] - edge[:, 1].astype(np.float32)) ** 2
    field = np.empty((side, side), np.float32)
    for i in range(side):
        field[i] = np.sqrt((across[i] + along).min(axis=1))
    # A sample is at the centre of (_FINE / _COARSE)^2 pixels of the drawing.
    block = _FINE // _COARSE
    inside = ink.reshape(side, block, side, block).mean(axis=(1, 3)) > 0.5
    return np.where(inside, field, -field)


def _crossings(ink: np.ndarray) -> np.ndarray:
    """The places where the ink crosses 1/2 between neighbours in a row: (P, 2) row, column."""
    left, right = ink[:, :-1], ink[:, 1:]
    row, column = np.nonzero((left > 0.5) != (right > 0.5))
    a, b = left[row, column], right[row, column]
    return np.stack([row + 0.5, column + 0.5 + (0.5 - a) / (b - a)], axis=1)


def _font_folder() -> Path:
    """The folder of the fonts that matplotlib ships, found without importing it."""
    found = importlib.util.find_spec("matplotlib")
    if found is None or found.origin is None:
        raise UserError("The glyphs are drawn from matplotlib's fonts; install matplotlib.")
    return Path(found.origin).parent / "mpl-data" / "fonts" / "ttf"
