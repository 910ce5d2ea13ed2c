"""What the loops over (N, C) and (N, C, H, W) share: how they see memory, and sums over a channel.

A loop sees images as a contiguous array (outer, lanes, inner), with constants of its own for every
lane:

* channels last in memory, and (N, C), it is (rows, lanes, 1), and the CPU's vectors run along the
  lanes. Few channels make short rows, so a row is several pixels: lanes = pixels * C.
* otherwise it is (N, C, H*W), and vectors run along a plane.

A result lies in memory as the first array given does: channels last, else C-contiguous.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache

import numpy as np

from .jit import jit
from .memory import empty, empty_like, is_channels_last
from .threads import ELEMENTS, spread

# A sum is taken in the numbers' own precision over so many, then goes on in float64.
PARTIAL = 64  # rows
PLANE = 1024  # numbers of a plane, which the CPU's vectors add up in 32 or more sums
_ROW = 256  # lanes of a row that is long enough to be worth its beginning
_PIECES = 16  # of a large loop: handing one out costs some microseconds


def matched(*arrays: np.ndarray) -> list[np.ndarray]:
    """`arrays` in one dtype.

    Raises:
        ValueError: if the shapes differ.
    """
    shape, dtype = arrays[0].shape, arrays[0].dtype
    for array in arrays[1:]:
        if array.shape != shape:
            raise ValueError(f"the arrays must have one shape, but have {shape} and {array.shape}")
        if array.dtype != dtype:
            dtype = np.result_type(dtype, array.dtype)
    return [a if a.dtype == dtype else a.astype(dtype) for a in arrays]


def flat(*inputs: np.ndarray, out: np.ndarray) -> list[np.ndarray]:
    """`inputs` and the result `out`, of one shape, as vectors in the memory order of `out`.

    An input that lies otherwise is copied. All but the result are read-only, so that a loop is
    compiled once, and not again for inputs that happen to be.
    """
    order = list(range(out.ndim))
    if not out.flags.c_contiguous:
        order.sort(key=lambda i: -out.strides[i])
    *views, result = (a.transpose(order).ravel() for a in (*inputs, out))
    return [*map(read_only, views), result]


def image_like(x: np.ndarray) -> np.ndarray:
    """An empty result that lies as x (N, C, ...) does: channels last, else C-contiguous."""
    return empty_like(x) if is_channels_last(x) else empty(x.shape, x.dtype)


def planes(*inputs: np.ndarray, out: np.ndarray | None = None) -> list[np.ndarray]:
    """`inputs`, and the result `out` if there is one, of one shape (N, C, ...), as (outer, lanes,
    inner), in the way the first one lies.

    What lies otherwise is copied. All but the result are read-only, as of `flat`.

    Raises:
        ValueError: if they are not (N, C, ...).
    """
    first = inputs[0]
    if first.ndim < 2:
        raise ValueError(f"an array of channels must be (N, C, ...), but has shape {first.shape}")
    n, c = first.shape[:2]
    size = math.prod(first.shape[2:])
    shape, last = (n, c, size), is_channels_last(first)
    if last or size == 1:
        wide = _pixels_of_row(n * size, c)
        shape = n * size // wide, wide * c, 1

    def view(array: np.ndarray) -> np.ndarray:
        return np.ascontiguousarray(array.transpose(0, 2, 3, 1) if last else array).reshape(shape)

    views = [read_only(view(a)) for a in inputs]
    return views if out is None else [*views, view(out)]


def read_only(view: np.ndarray) -> np.ndarray:
    """`view`, a fresh one, with its flag set."""
    view.flags.writeable = False
    return view


@cache
def _pixels_of_row(pixels: int, channels: int) -> int:
    most = max(1, _ROW // max(1, channels))
    return next(k for k in range(most, 0, -1) if pixels % k == 0)


def per_lane(images: np.ndarray, x: np.ndarray, *vectors: np.ndarray) -> list[np.ndarray]:
    """`vectors` (C,) in x's dtype as (lanes,) for `images`, a view of x by `planes`.

    Raises:
        ValueError: if one is not (C,) for x (N, C, ...).
    """
    for vector in vectors:
        if vector.shape != x.shape[1:2]:
            raise ValueError(f"{x.shape[1:2]} values a channel expected, not {vector.shape}")
    channels = max(1, x.shape[1])
    rows = np.empty((len(vectors), images.shape[1] // channels, channels), x.dtype)
    for row, vector in zip(rows, vectors, strict=True):
        row[:] = vector
    return list(rows.reshape(len(vectors), images.shape[1]))


def grain_of(array: np.ndarray, *, cached: bool = False) -> int:
    """How many parts of `array` along its first axis make a piece of work.

    A piece that several loops go through should be `cached`: fit the second-level cache.
    """
    part = max(1, array.size // max(1, len(array)))
    least = ELEMENTS if cached else max(2 * ELEMENTS, array.size // _PIECES)
    return max(1, least // part)


def lane_sums(
    work: Callable[[slice, np.ndarray], None], images: np.ndarray, count: int
) -> np.ndarray:
    """Sums (count, lanes) in float64 over the pieces of `images`, on several cores.

    work(piece, sums) sees to a piece of the outer axis and adds to its `sums`. These are added in
    order, so the total does not depend on who was first.
    """
    grain = grain_of(images)
    parts = np.zeros((-(-len(images) // grain), count, images.shape[1]))
    spread(lambda i, j: work(slice(i, j), parts[i // grain]), len(images), grain=grain)
    return parts.sum(axis=0)


def per_channel(sums: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Sums (count, lanes) as (count, C): over the pixels of a row."""
    return sums.reshape(len(sums), -1, x.shape[1]).sum(axis=1)


@jit(fastmath={"reassoc", "nsz"})  # sums in vector lanes
def add_sums(x: np.ndarray, sums: np.ndarray) -> None:
    """Add x (outer, lanes, inner) over its first and last axis to sums (lanes,)."""
    outer, lanes, inner = x.shape
    if inner == 1:
        rows, part = x.reshape(outer, lanes), np.zeros(lanes, x.dtype)
        for top in range(0, outer, PARTIAL):
            part[:] = 0
            for r in range(top, min(top + PARTIAL, outer)):
                for c in range(lanes):
                    part[c] += rows[r, c]
            for c in range(lanes):
                sums[c] += part[c]
        return
    for n in range(outer):
        for c in range(lanes):
            plane = x[n, c]
            for start in range(0, inner, PLANE):
                total = x.dtype.type(0)
                for i in range(start, min(start + PLANE, inner)):
                    total += plane[i]
                sums[c] += total
