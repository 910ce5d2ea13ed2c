"""Pictures and arrays as the bytes of a file, in the format that its suffix names."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image

from .animation import animated

# Suffix -> Pillow's name of the format, and how it is written: as near to the pixels as it can be.
PICTURES: dict[str, tuple[str, dict[str, Any]]] = {
    ".png": ("PNG", {}),
    ".jpg": ("JPEG", {"quality": 95, "subsampling": 0}),
    ".jpeg": ("JPEG", {"quality": 95, "subsampling": 0}),
    ".webp": ("WEBP", {"lossless": True}),
}
ANIMATION, ARRAYS = ".gif", ".npz"
SUFFIXES = (*PICTURES, ANIMATION, ARRAYS)


def picture_bytes(picture: Image.Image, suffix: str) -> bytes:
    """A picture in one of the formats of PICTURES; a PNG if there is no suffix."""
    name, options = PICTURES[suffix or ".png"]
    content = io.BytesIO()
    picture.save(content, format=name, **options)
    return content.getvalue()


def animation_bytes(frames: Sequence[Image.Image], *, fps: float) -> bytes:
    """A GIF that shows `frames`, pictures of one size, forth and back, `fps` a second."""
    return animated([*frames, *frames[-2:0:-1]], fps=fps)


def array_bytes(arrays: Mapping[str, np.ndarray]) -> bytes:
    """Arrays by name, as `numpy.load` reads them; the same arrays give the same bytes."""
    content = io.BytesIO()
    np.savez(content, **dict(arrays))  # type: ignore[arg-type]
    return content.getvalue()
