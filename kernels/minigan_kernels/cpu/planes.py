"""What the loops over (N, C) and (N, C, H, W) share: contiguous views, and sums over a channel."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from .jit import jit
from .threads import ELEMENTS, spread


def flat(*arrays: np.ndarray) -> list[np.ndarray]:
    """`arrays`, of one shape, as contiguous vectors of one dtype; copied only where need be.

    Raises:
        ValueError: if the shapes differ.
    """
    shape, dtype = arrays[0].shape, np.result_type(*(a.dtype for a in arrays))
    for array in arrays[1:]:
        if array.shape != shape:
            raise ValueError(f"the arrays must have one shape, but have {shape} and {array.shape}")
    return [np.ravel(a.astype(dtype, copy=False)) for a in arrays]


def planes(*arrays: np.ndarray) -> list[np.ndarray]:
    """`flat(arrays)` with axes (N, C, H*W).

    Raises:
        ValueError: if the shapes differ, or are not (N, C, ...).
    """
    shape = arrays[0].shape
    if len(shape) < 2:
        raise ValueError(f"an array of channels must be (N, C, ...), but has shape {shape}")
    return [a.reshape(*shape[:2], int(np.prod(shape[2:]))) for a in flat(*arrays)]


def per_channel(x: np.ndarray, *vectors: np.ndarray) -> list[np.ndarray]:
    """`vectors` (C,) in x's dtype, contiguous.

    Raises:
        ValueError: if one is not (C,) for x (N, C, ...).
    """
    for vector in vectors:
        if vector.shape != x.shape[1:2]:
            raise ValueError(f"{x.shape[1:2]} values a channel expected, not {vector.shape}")
    return [np.ascontiguousarray(vector, x.dtype) for vector in vectors]


def image_sums(
    work: Callable[[slice, np.ndarray], None], images: tuple[int, ...], rows: int
) -> np.ndarray:
    """Sums (rows, C) in float64 over blocks of images (N, C, S), the blocks on several cores.

    work(block, sums) sees to the images of `block` and fills its `sums`. Blocks are added in order,
    so the total does not depend on who was first.
    """
    n, c, size = images
    grain = images_of(c * size)
    parts = np.zeros((-(-n // grain), rows, c))
    spread(lambda i, j: work(slice(i, j), parts[i // grain]), n, grain=grain)
    return parts.sum(axis=0)


def images_of(size: int) -> int:
    """How many images of `size` elements make a piece of work."""
    return max(1, ELEMENTS // max(1, size))


@jit(fastmath={"reassoc", "nsz"})  # sums in vector lanes
def channel_sums(x: np.ndarray, sums: np.ndarray) -> None:
    """Add x (N, C, S) over N and S to sums (C,), in float64."""
    images, channels, size = x.shape
    if size == 1:
        rows = x.reshape(images, channels)
        for n in range(images):
            for c in range(channels):
                sums[c] += rows[n, c]
        return
    for n in range(images):
        for c in range(channels):
            plane, total = x[n, c], 0.0
            for i in range(size):
                total += plane[i]
            sums[c] += total
