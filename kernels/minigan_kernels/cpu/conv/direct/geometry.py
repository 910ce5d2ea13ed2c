"""The geometry of the direct convolution: which output sees which pixels by which taps."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from ....checks import Pair, Window
from .microkernel import KC

Tap = tuple[int, int, int]


class Grid(NamedTuple):
    """One phase: outputs that see the same taps, evenly spaced in their plane.

    The output at origin + step * (i, j) sees its tap (index, down, across) at
    stride * (i, j) + (down, across) in the source.
    """

    origin: Pair
    step: Pair
    size: Pair
    taps: list[Tap]


class Grids(NamedTuple):
    """All outputs of a plane, a grid for each phase, and what they see."""

    grids: list[Grid]
    stride: Pair
    spacing: int  # pixels across, from a tap of a grid to the next one in its line
    size: Pair  # of the largest grid
    low: Pair  # the least down and across of any tap
    high: Pair  # the greatest

    def lines_seen(self, lines: int) -> int:
        """Lines of the source that so many lines of outputs see."""
        return (lines - 1) * self.stride[0] + self.high[0] - self.low[0] + 1


def forward(window: Window, size: Pair) -> Grids:
    """The one grid of a convolution with outputs of `size`."""
    (kh, kw), stride, (py, px), (dy, dx) = window
    taps = [(u * kw + v, u * dy - py, v * dx - px) for u in range(kh) for v in range(kw)]
    return _grids([Grid((0, 0), (1, 1), size, taps)], stride, dx)


def backward(window: Window, size: Pair) -> Grids:
    """The grids of the gradient with respect to an image of `size`.

    There is one for each residue of a pixel's position modulo the stride.
    """
    (kh, kw), (sy, sx), (py, px), (dy, dx) = window
    grids = []
    for y in range(min(sy, size[0])):
        downs = [(u, (y + py - u * dy) // sy) for u in range(kh) if (y + py - u * dy) % sy == 0]
        for x in range(min(sx, size[1])):
            across = [
                (v, (x + px - v * dx) // sx) for v in range(kw) if (x + px - v * dx) % sx == 0
            ]
            taps = [(u * kw + v, down, right) for u, down in downs for v, right in across]
            taps.sort(key=lambda tap: tap[1:])
            lines, pixels = -(-(size[0] - y) // sy), -(-(size[1] - x) // sx)
            grids.append(Grid((y, x), (sy, sx), (lines, pixels), taps))
    return _grids(grids, (1, 1), dx // math.gcd(dx, sx))


def _grids(grids: list[Grid], stride: Pair, spacing: int) -> Grids:
    seen = [tap[1:] for grid in grids for tap in grid.taps] or [(0, 0)]
    size, low, high = (
        (f(pair[0] for pair in pairs), f(pair[1] for pair in pairs))
        for f, pairs in ((max, [grid.size for grid in grids]), (min, seen), (max, seen))
    )
    return Grids(grids, stride, spacing, size, low, high)


class Blocks(NamedTuple):
    """Lines of images cut into blocks: of whole images, or of lines of one image."""

    images: int
    lines: int  # of one image
    block_images: int
    block_lines: int

    @property
    def task_count(self) -> int:
        return -(-self.images // self.block_images) * -(-self.lines // self.block_lines)


def blocks(images: int, size: Pair, pixels: int, fits: Callable[[int], bool]) -> Blocks:
    """Blocks of about `pixels` pixels, of as many lines as fits(lines) allows."""
    lines, width = size
    if lines * width <= pixels:
        most = max(1, pixels // (lines * width))
        some = next(k for k in range(most, 0, -1) if k == 1 or fits(k * lines))
        return Blocks(images, lines, min(some, images), lines)
    tall = next(k for k in range(max(1, pixels // width), 0, -1) if k == 1 or fits(k))
    return Blocks(images, lines, 1, -(-lines // -(-lines // tall)))


class SegmentTables(NamedTuple):
    """The tables of a `Segments`."""

    offsets: np.ndarray
    lengths: np.ndarray
    k_blocks: np.ndarray


def merged(starts: list[int], length: int, step: int) -> list[tuple[int, int]]:
    """Segments of `length` values, `step` bytes apart, that begin at `starts`; neighbours become
    one.

    Gives (offset, length) of each.
    """
    segments: list[tuple[int, int]] = []
    for start in starts:
        if segments and start == segments[-1][0] + segments[-1][1] * step:
            segments[-1] = segments[-1][0], segments[-1][1] + length
        else:
            segments.append((start, length))
    return segments


def segment_tables(segments: list[tuple[int, int]], step: int) -> SegmentTables:
    """Tables of segments (offset, length), each cut evenly so that none is longer than KC.

    A K block is some segments with at most KC values together.
    """
    cut = []
    for start, count in segments:
        parts = -(-count // KC)
        edges = [count * part // parts for part in range(parts + 1)]
        cut += [(start + i * step, j - i) for i, j in pairwise(edges)]
    k_blocks, size = [0], 0
    for k, (_, count) in enumerate(cut):
        if size and size + count > KC:
            k_blocks.append(k)
            size = 0
        size += count
    offsets, lengths = (np.array([segment[i] for segment in cut], np.int64) for i in (0, 1))
    return SegmentTables(offsets, lengths, np.array([*k_blocks, len(cut)], np.int64))


def grid_offsets(sizes: tuple[int, ...], strides: tuple[int, ...]) -> np.ndarray:
    """Offsets of all points of a grid of `sizes`, the last axis innermost."""
    total = np.zeros(1, np.int64)
    for size, stride in zip(sizes, strides, strict=True):
        total = (total[:, None] + stride * np.arange(size)).ravel()
    return total
