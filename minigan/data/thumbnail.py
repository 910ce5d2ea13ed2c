"""A few samples as HTML, for the notebook: small pictures, or a scatter plot."""

from __future__ import annotations

import base64
import io

import numpy as np

COLUMNS, ROWS = 12, 2  # of the sheet
SIDE = 48  # pixels of a thumbnail, about
POINTS = 400  # in a scatter plot


def images(x: np.ndarray) -> str:
    """Evenly spaced ones of x (N, C, H, W) uint8 on one sheet, as an <img>; "" of many channels."""
    from PIL import Image

    if x.shape[1] > 3:
        return ""
    chosen = x[_spread(len(x), COLUMNS * ROWS)].transpose(0, 2, 3, 1)  # (n, H, W, C)
    n, height, width, channels = chosen.shape
    columns = min(n, COLUMNS)
    rows = -(-n // columns)
    sheet = np.full((rows * columns, height + 1, width + 1, 3), 128, np.uint8)
    sheet[:n, :-1, :-1, : channels if channels > 1 else 3] = chosen
    if channels == 2:
        sheet[:n, :-1, :-1, 2] = 0
    sheet = sheet.reshape(rows, columns, height + 1, width + 1, 3).swapaxes(1, 2)
    sheet = sheet.reshape(rows * (height + 1), columns * (width + 1), 3)
    content = io.BytesIO()
    Image.fromarray(sheet).save(content, format="PNG")
    shown = columns * max(SIDE, width)
    return (
        f'<img alt="{n} samples" style="width:{shown}px;max-width:100%;image-rendering:pixelated" '
        f'src="data:image/png;base64,{base64.b64encode(content.getvalue()).decode()}">'
    )


def points(x: np.ndarray) -> str:
    """Evenly spaced ones of x (N, D) in their first two coordinates, as an <svg>; "" of a line."""
    if x.shape[1] < 2:
        return ""
    chosen = x[_spread(len(x), POINTS), :2].astype(np.float64)
    low, high = chosen.min(axis=0), chosen.max(axis=0)
    unit = (chosen - low) / max(float((high - low).max()), 1e-12)
    places = np.rint([5, 195] + unit * [190, -190]).astype(int)
    dots = "".join(f'<circle cx="{a}" cy="{b}" r="1.5"/>' for a, b in places)
    return (
        f'<svg role="img" aria-label="{len(chosen)} points" width="200" height="200" '
        f'fill="currentColor" fill-opacity="0.5">{dots}</svg>'
    )


def _spread(count: int, wanted: int) -> np.ndarray:
    """Evenly spaced indices below `count`: `wanted`, or as many as there are."""
    return np.arange(min(count, wanted)) * count // min(count, wanted)
