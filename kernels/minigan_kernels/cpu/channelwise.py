"""Views and channel sums for compiled loops over (N, C) and (N, C, H, W).

A loop sees images as a contiguous array (outer, lanes, inner), with constants of its own for each
lane:

* Images that are channels last in memory, and (N, C), are (rows, lanes, 1). The CPU's vectors run
  along the lanes. Few channels would make short rows, so a row is several pixels: lanes =
  pixels * C.
* All others are (N, C, H*W), and vectors run along a plane.

A result has the layout of the first array given: channels last, else C-contiguous.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np

from .compiler.jit import jit
from .runtime.allocator import empty, empty_like, is_channels_last
from .runtime.native_task import NativeTask
from .runtime.parallel import TASK_ELEMENTS, parallel_for

# A partial sum is in the arrays' own precision. It has so many terms, then is added in float64.
PARTIAL_ROWS = 64
PARTIAL_PIXELS = 1024  # of a plane; the CPU's vectors have 32 or more accumulators for them
_ROW_LANES = 256  # minimum row length that amortises loop setup
_CHUNKS = 16  # of a large loop: handing one out costs some microseconds


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

    An input in another layout is copied. All but the result are read-only, so that a loop is
    compiled once, and not once more for inputs that are read-only already.
    """
    arrays = [*inputs, out]
    if not out.flags.c_contiguous:
        order = sorted(range(out.ndim), key=lambda i: -out.strides[i])
        arrays = [a.transpose(order) for a in arrays]
    *views, result = [a.ravel() for a in arrays]
    return [*map(read_only, views), result]


def image_like(x: np.ndarray) -> np.ndarray:
    """An empty result in the layout of x (N, C, ...): channels last, else C-contiguous."""
    return empty_like(x) if is_channels_last(x) else empty(x.shape, x.dtype)


def planes(*inputs: np.ndarray, out: np.ndarray | None = None) -> list[np.ndarray]:
    """`inputs`, and the result `out` if there is one, of one shape (N, C, ...), as (outer, lanes,
    inner) in the layout of the first.

    An input in another layout is copied. All but the result are read-only, as those of `flat`.

    Raises:
        ValueError: if they are not (N, C, ...).
    """
    last = is_channels_last(inputs[0])
    shape = _as_planes(inputs[0].shape, last)

    def view(array: np.ndarray) -> np.ndarray:
        return np.ascontiguousarray(array.transpose(0, 2, 3, 1) if last else array).reshape(shape)

    views = [read_only(view(a)) for a in inputs]
    return views if out is None else [*views, view(out)]


def read_only(view: np.ndarray) -> np.ndarray:
    """`view`, which nobody else has yet, made read-only."""
    view.setflags(write=False)
    return view


@lru_cache(4096)
def _as_planes(shape: tuple[int, ...], last: bool) -> tuple[int, int, int]:
    """(outer, lanes, inner) of images of `shape`; `last` if they are channels last in memory."""
    if len(shape) < 2:
        raise ValueError(f"an array of channels must be (N, C, ...), but has shape {shape}")
    n, c = shape[:2]
    size = math.prod(shape[2:])
    if not last and size != 1:
        return n, c, size
    most = max(1, _ROW_LANES // max(1, c))
    wide = next(k for k in range(most, 0, -1) if n * size % k == 0)
    return n * size // wide, wide * c, 1


def of_channels(x: np.ndarray, *vectors: np.ndarray) -> np.ndarray:
    """`vectors` (C,) as the rows of a table in x's dtype.

    Raises:
        ValueError: if one is not (C,) for x (N, C, ...).
    """
    for vector in vectors:
        if vector.shape != x.shape[1:2]:
            raise ValueError(
                f"{x.shape} needs values {x.shape[1:2]}, one a channel, not {vector.shape}"
            )
    return np.concatenate(vectors, dtype=x.dtype).reshape(len(vectors), x.shape[1])


def grain_of(array: np.ndarray, *, cached: bool = False) -> int:
    """How many parts of `array` along its first axis make a chunk of work.

    `cached`: several loops go through a chunk, so it must fit the L2 cache.
    """
    size, count = array.size, len(array)
    if size <= TASK_ELEMENTS:
        return max(1, count)
    least = TASK_ELEMENTS if cached else max(2 * TASK_ELEMENTS, size // _CHUNKS)
    return max(1, least * count // size)


def lane_sums(
    loop: Callable[..., None], arguments: tuple[Any, ...], images: np.ndarray, count: int
) -> np.ndarray:
    """Partial sums in float64 over chunks of `images`, on several cores: (chunks, count, lanes).

    loop(*arguments, sums, grain, first, last) adds what it finds in images[first:last] to
    sums[first // grain], the row of this chunk. `channel_sums` adds up the rows in order, so the
    total does not depend on which thread was first.
    """
    grain = grain_of(images)
    sums = np.zeros((-(-len(images) // grain), count, images.shape[1]))
    parallel_for(NativeTask(loop, *arguments, sums, grain), len(images), grain=grain)
    return sums


@jit()
def channel_sums(sums: np.ndarray, out: np.ndarray) -> None:
    """Write to out (count, C) the totals of partial sums (chunks, count, lanes)."""
    chunks, count, lanes = sums.shape
    channels = out.shape[1]
    for k in range(count):
        for c in range(channels):
            total = 0.0
            for lane in range(c, lanes, channels):
                for chunk in range(chunks):
                    total += sums[chunk, k, lane]
            out[k, c] = total


@jit()
def widened(table: np.ndarray, lanes: int) -> np.ndarray:
    """A table (count, C) as (count, lanes): repeated for each pixel of a row."""
    count, channels = table.shape
    out = np.empty((count, lanes), table.dtype)
    for k in range(count):
        for first in range(0, lanes, max(1, channels)):
            for c in range(channels):
                out[k, first + c] = table[k, c]
    return out


@jit(fastmath={"reassoc", "nsz"})  # one accumulator a vector lane
def add_sums(x: np.ndarray, sums: np.ndarray) -> None:
    """Add x (outer, lanes, inner), summed over its first and last axis, to sums (lanes,)."""
    outer, lanes, inner = x.shape
    if inner == 1:
        rows, totals = x.reshape(outer, lanes), np.zeros(lanes, x.dtype)
        for top in range(0, outer, PARTIAL_ROWS):
            totals[:] = 0
            for r in range(top, min(top + PARTIAL_ROWS, outer)):
                for c in range(lanes):
                    totals[c] += rows[r, c]
            for c in range(lanes):
                sums[c] += totals[c]
        return
    for n in range(outer):
        for c in range(lanes):
            plane = x[n, c]
            for start in range(0, inner, PARTIAL_PIXELS):
                total = x.dtype.type(0)
                part = plane[start : start + PARTIAL_PIXELS]
                for i in range(len(part)):  # from 0 on, or each index might be a negative one
                    total += part[i]
                sums[c] += total
