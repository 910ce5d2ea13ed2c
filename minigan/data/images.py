"""Common parts of the image loaders: checking a size, and resizing arrays of images."""

from __future__ import annotations

import numpy as np

from ..errors import UserError
from .memory import check_memory

LARGEST = 1024  # pixels on a side; more is surely a typing error


def check_size(size: int) -> None:
    """Make sure that an image size is in 1 .. 1024.

    Raises:
        UserError: naming the size.
    """
    if not 1 <= size <= LARGEST:
        raise UserError(f"Images of {size}x{size} pixels are not possible; give 1 to {LARGEST}.")


def resize(x: np.ndarray, size: int) -> np.ndarray:
    """Images (N, C, H, W) uint8 resized to (N, C, size, size), antialiased (Lanczos).

    Raises:
        UserError: if the size is outside 1 .. 1024.
    """
    check_size(size)
    if x.shape[2:] == (size, size):
        return x
    from PIL import Image

    check_memory(x.shape[0] * x.shape[1] * size**2, f"{len(x):,} images of {size}x{size} pixels")
    out = np.empty((*x.shape[:2], size, size), np.uint8)
    planes = zip(out.reshape(-1, size, size), x.reshape(-1, *x.shape[2:]), strict=True)
    for target, image in planes:
        target[:] = Image.fromarray(image).resize((size, size), Image.Resampling.LANCZOS)
    return out


def middle(x: np.ndarray, side: int) -> np.ndarray:
    """The squares of `side` pixels in the middle of images (N, C, H, W): a view."""
    top, left = ((length - side) // 2 for length in x.shape[2:])
    return x[:, :, top : top + side, left : left + side]
