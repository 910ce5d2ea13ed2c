"""Which taps see what, where, and in which order: the geometry of `direct`, without its memory."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from ....checks import Pair, Window
from .microkernel import DEEP

Tap = tuple[int, int, int]


class Grid(NamedTuple):
    """Outputs that see the same taps, evenly spaced in their plane.

    The output at origin + step * (i, j) sees its taps (index, down, across) at the places
    stride * (i, j) + (down, across) of the source.
    """

    origin: Pair
    step: Pair
    size: Pair
    taps: list[Tap]


class Grids(NamedTuple):
    """All outputs of a plane, and what they see."""

    parts: list[Grid]
    stride: Pair
    spacing: int  # across, from a tap of a grid to the next one in its line
    size: Pair  # of the largest part
    low: Pair  # the least down and across of any tap
    high: Pair  # the greatest


def forward(window: Window, size: Pair) -> Grids:
    """Those of a convolution with outputs of `size`."""
    (kh, kw), stride, (py, px), (dy, dx) = window
    taps = [(u * kw + v, u * dy - py, v * dx - px) for u in range(kh) for v in range(kw)]
    return _grids([Grid((0, 0), (1, 1), size, taps)], stride, dx)


def backward(window: Window, size: Pair) -> Grids:
    """Those of the gradient by an image of `size`: one grid for each residue modulo the stride."""
    (kh, kw), (sy, sx), (py, px), (dy, dx) = window
    parts = []
    for y in range(min(sy, size[0])):
        downs = [(u, (y + py - u * dy) // sy) for u in range(kh) if (y + py - u * dy) % sy == 0]
        for x in range(min(sx, size[1])):
            across = [
                (v, (x + px - v * dx) // sx) for v in range(kw) if (x + px - v * dx) % sx == 0
            ]
            taps = [(u * kw + v, down, right) for u, down in downs for v, right in across]
            taps.sort(key=lambda tap: tap[1:])
            lines, pixels = -(-(size[0] - y) // sy), -(-(size[1] - x) // sx)
            parts.append(Grid((y, x), (sy, sx), (lines, pixels), taps))
    return _grids(parts, (1, 1), dx // math.gcd(dx, sx))


def _grids(parts: list[Grid], stride: Pair, spacing: int) -> Grids:
    seen = [tap[1:] for part in parts for tap in part.taps] or [(0, 0)]
    size, low, high = (
        (f(pair[0] for pair in pairs), f(pair[1] for pair in pairs))
        for f, pairs in ((max, [part.size for part in parts]), (min, seen), (max, seen))
    )
    return Grids(parts, stride, spacing, size, low, high)


class Blocks(NamedTuple):
    """Lines of some images cut into blocks: of `some` whole images, or of `tall` lines of one."""

    images: int
    lines: int
    some: int
    tall: int

    @property
    def tasks(self) -> int:
        return -(-self.images // self.some) * -(-self.lines // self.tall)


def blocks(images: int, size: Pair, pixels: int, fits: Callable[[int], bool]) -> Blocks:
    """Blocks of about `pixels` pixels, of which one fits(lines) together."""
    lines, width = size
    if lines * width <= pixels:
        some = next(
            k for k in range(max(1, pixels // (lines * width)), 0, -1) if k == 1 or fits(k * lines)
        )
        return Blocks(images, lines, min(some, images), lines)
    tall = next(k for k in range(max(1, pixels // width), 0, -1) if k == 1 or fits(k))
    return Blocks(images, lines, 1, -(-lines // -(-lines // tall)))


class Runs(NamedTuple):
    """What a row of a left operand is made of: see `direct_tile`."""

    offsets: np.ndarray
    lengths: np.ndarray
    pieces: np.ndarray


def joined(starts: list[int], length: int, step: int) -> list[tuple[int, int]]:
    """Where runs of `length` values `step` apart begin: one run where the next begins at the end.

    Gives (offset, length) of each.
    """
    spans: list[tuple[int, int]] = []
    for start in starts:
        if spans and start == spans[-1][0] + spans[-1][1] * step:
            spans[-1] = spans[-1][0], spans[-1][1] + length
        else:
            spans.append((start, length))
    return spans


def runs(spans: list[tuple[int, int]], step: int) -> Runs:
    """Tables of runs (offset, length), each cut evenly so that no part is longer than DEEP.

    A piece is some runs with at most DEEP values together.
    """
    cut = []
    for start, count in spans:
        parts = -(-count // DEEP)
        edges = [count * part // parts for part in range(parts + 1)]
        cut += [(start + i * step, j - i) for i, j in pairwise(edges)]
    pieces, size = [0], 0
    for k, (_, count) in enumerate(cut):
        if size and size + count > DEEP:
            pieces.append(k)
            size = 0
        size += count
    offsets, lengths = (np.array([run[part] for run in cut], np.int64) for part in (0, 1))
    return Runs(offsets, lengths, np.array([*pieces, len(cut)], np.int64))


def positions(sizes: tuple[int, ...], steps: tuple[int, ...]) -> np.ndarray:
    """Offsets of all positions of a grid of `sizes`, the last axis innermost."""
    total = np.zeros(1, np.int64)
    for size, step in zip(sizes, steps, strict=True):
        total = (total[:, None] + step * np.arange(size)).ravel()
    return total
