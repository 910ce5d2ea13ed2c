"""Windows of an image laid out as columns, and columns added back: a convolution's BLAS operand.

Row (c, u, v) of the columns holds what tap (u, v) of the window sees of channel c. With stride s
neighbours in it lie s apart in the image. So each plane is first dealt out, with its padding, into
s*s small planes of equal phase; a row of windows is then a run of neighbours there.
"""

from __future__ import annotations

import math

import numpy as np

from ..shapes import Pair, Window
from .jit import jit
from .threads import scratch

Block = tuple[int, int, int, int]  # first and last image, first and last row of windows


def gather(
    x: np.ndarray,
    channels: Pair,
    block: Block,
    window: Window,
    output: Pair,
    columns: np.ndarray | None = None,
) -> np.ndarray:
    """The windows of `block` and of channels first..last of x: (channels*kH*kW, windows).

    They are written to `columns`, or to this thread's workspace. `output` is (H', W').
    """
    if columns is None:
        rows = (channels[1] - channels[0]) * math.prod(window.kernel)
        size = (block[1] - block[0]) * (block[3] - block[2]) * output[1]
        columns = scratch("columns", (rows, size), x.dtype)
    plane = _phases(block, window, output, x.dtype)
    _gather(x, *channels, block, _flat(window), output[1], plane, columns)
    return columns


def scatter(
    columns: np.ndarray, dx: np.ndarray, block: Block, window: Window, output: Pair
) -> None:
    """Adjoint of `gather` for all channels: add the columns to their places in dx."""
    plane = _phases(block, window, output, dx.dtype)
    _scatter(columns, dx, block, _flat(window), output[1], plane)


def _flat(window: Window) -> tuple[int, ...]:
    return (*window.kernel, *window.stride, *window.padding, *window.dilation)


def _phases(block: Block, window: Window, output: Pair, dtype: np.dtype) -> np.ndarray:
    """Workspace (stride, stride, rows, columns) for what the windows of one channel see."""
    counts = block[3] - block[2], output[1]
    sizes = [
        count + d * (k - 1) // s  # of each phase
        for count, k, s, d in zip(
            counts, window.kernel, window.stride, window.dilation, strict=True
        )
    ]
    return scratch("phases", (*window.stride, *sizes), dtype)


@jit()
def _gather(
    x: np.ndarray,
    c0: int,
    c1: int,
    block: Block,
    window: tuple[int, ...],
    width: int,
    plane: np.ndarray,
    columns: np.ndarray,
) -> None:
    kh, kw, sy, sx, py, px, dy, dx = window
    n0, n1, i0, i1 = block
    _, _, high, wide = plane.shape
    pixels, phases, out = (
        x.reshape(x.size),
        plane.reshape(plane.size),
        columns.reshape(columns.size),
    )
    phases[:] = 0  # the padding stays so
    for n in range(n0, n1):
        for c in range(c0, c1):
            for a in range(sy):
                for q in range(high):
                    row = (i0 + q) * sy + a - py
                    if 0 <= row < x.shape[2]:
                        source = ((n * x.shape[1] + c) * x.shape[2] + row) * x.shape[3]
                        for b in range(sx):
                            first, last = _span(b - px, sx, x.shape[3], wide)
                            target = ((a * sx + b) * high + q) * wide
                            for j in range(first, last):
                                at = source + j * sx + b - px
                                phases[np.uintp(target + j)] = pixels[np.uintp(at)]
            for u in range(kh):
                for v in range(kw):
                    phase = (u * dy % sy) * sx + v * dx % sx
                    seen = (phase * high + u * dy // sy) * wide + v * dx // sx
                    tap = ((c - c0) * kh + u) * kw + v
                    target = tap * columns.shape[1] + (n - n0) * (i1 - i0) * width
                    for _ in range(i0, i1):
                        for j in range(width):
                            out[np.uintp(target + j)] = phases[np.uintp(seen + j)]
                        target += width
                        seen += wide


@jit()
def _scatter(
    columns: np.ndarray,
    image: np.ndarray,
    block: Block,
    window: tuple[int, ...],
    width: int,
    plane: np.ndarray,
) -> None:
    kh, kw, sy, sx, py, px, dy, dx = window
    n0, n1, i0, i1 = block
    _, _, high, wide = plane.shape
    _, channels, rows, size = image.shape
    pixels, phases = image.reshape(image.size), plane.reshape(plane.size)
    values = columns.reshape(columns.size)
    for n in range(n0, n1):
        for c in range(channels):
            phases[:] = 0
            for u in range(kh):
                for v in range(kw):
                    phase = (u * dy % sy) * sx + v * dx % sx
                    target = (phase * high + u * dy // sy) * wide + v * dx // sx
                    tap = (c * kh + u) * kw + v
                    source = tap * columns.shape[1] + (n - n0) * (i1 - i0) * width
                    for _ in range(i0, i1):
                        for j in range(width):
                            phases[np.uintp(target + j)] += values[np.uintp(source + j)]
                        target += wide
                        source += width
            for a in range(sy):
                for q in range(high):
                    row = (i0 + q) * sy + a - py
                    if 0 <= row < rows:
                        target = ((n * channels + c) * rows + row) * size
                        for b in range(sx):
                            first, last = _span(b - px, sx, size, wide)
                            source = ((a * sx + b) * high + q) * wide
                            for j in range(first, last):
                                at = target + j * sx + b - px
                                pixels[np.uintp(at)] += phases[np.uintp(source + j)]


@jit()
def _span(shift: int, stride: int, size: int, count: int) -> tuple[int, int]:
    """The range of q in range(count) for which q*stride + shift lies in range(size)."""
    first = max(0, -(shift // stride))
    last = (size - shift + stride - 1) // stride
    return min(first, count), max(min(first, count), min(last, count))
