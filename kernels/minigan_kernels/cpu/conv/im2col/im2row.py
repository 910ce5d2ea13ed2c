"""im2row: the windows of an image as the rows of a matrix, the left operand of a GEMM.

Row (n, i, j) holds what the window at (i, j) of image n sees, in the order (u, v, c) of its taps
and channels. With groups, there is one such matrix per group. `gather` and `scatter` are each
other's adjoint. `pack` and `unpack` move outputs between (N, O, H', W') and one row per window.
"""

from __future__ import annotations

import math

import numpy as np

from ....checks import Pair, Window
from ...compiler.jit import jit
from ...runtime.workspace import workspace_array

Block = tuple[int, int, int, int]  # first and last image, first and last row of windows
Steps = tuple[int, int, int, int, int, int]  # kernel, stride and dilation


def gather(x: np.ndarray, block: Block, window: Window, width: int, groups: int) -> np.ndarray:
    """The windows of `block` of x (N, C, H, W), W' = `width`: (G, windows, kH*kW*C/G).

    The result is in this thread's workspace.
    """
    n0, n1, i0, i1 = block
    (kh, _), (sy, _), (py, px), (dy, _) = window
    _, c, _, w = x.shape
    # The rows of the image that these windows see; those of the padding above are negative.
    top, high = i0 * sy - py, (i1 - i0 - 1) * sy + (kh - 1) * dy + 1
    plane = workspace_array("plane", (n1 - n0, high, w + 2 * px, c), x.dtype)
    plane[...] = 0
    _channels_last(x[n0:n1], top, px, plane)
    windows = (n1 - n0) * (i1 - i0) * width
    depth = math.prod(window.kernel) * c // groups
    rows = workspace_array("rows", (groups, windows, depth), x.dtype)
    _gather(plane, (i1 - i0, width), _steps(window), rows)
    return rows


def scatter(rows: np.ndarray, plane: np.ndarray, block: Block, window: Window, width: int) -> None:
    """Adjoint of `gather`: add the rows to the padded plane (n, H, W, C)."""
    _, _, i0, i1 = block
    below = plane[:, i0 * window.stride[0] :]
    _scatter(rows, below, (i1 - i0, width), _steps(window))


def channels_first(plane: np.ndarray, image: np.ndarray, padding: Pair) -> None:
    """Copy a padded plane (n, H, W, C) without its padding to an image (n, C, H, W)."""
    _channels_first(plane, *padding, image)


def pack(g: np.ndarray, block: Block, groups: int) -> np.ndarray:
    """The block of g (N, O, H', W') as (G, windows, O/G), in this thread's workspace."""
    n0, n1, i0, i1 = block
    windows = (n1 - n0) * (i1 - i0) * g.shape[3]
    packed = workspace_array("packed", (groups, windows, g.shape[1] // groups), g.dtype)
    _pack(g, block, packed)
    return packed


def unpack(packed: np.ndarray, y: np.ndarray, block: Block) -> None:
    """Write (G, windows, O/G) to the block of y (N, O, H', W')."""
    _unpack(packed, y, block)


def _steps(window: Window) -> Steps:
    return *window.kernel, *window.stride, *window.dilation


@jit()
def _channels_last(x: np.ndarray, top: int, left: int, plane: np.ndarray) -> None:
    images, channels, height, width = x.shape
    for n in range(images):
        for i in range(max(0, -top), min(plane.shape[1], height - top)):
            for c in range(channels):
                for j in range(width):
                    plane[n, i, left + j, c] = x[n, c, top + i, j]


@jit()
def _channels_first(plane: np.ndarray, top: int, left: int, image: np.ndarray) -> None:
    images, channels, height, width = image.shape
    for n in range(images):
        for i in range(height):
            for c in range(channels):
                for j in range(width):
                    image[n, c, i, j] = plane[n, top + i, left + j, c]


@jit()
def _gather(plane: np.ndarray, size: Pair, steps: Steps, rows: np.ndarray) -> None:
    (height, width), (kh, kw, sy, sx, dy, dx) = size, steps
    images, high, wide, channels = plane.shape
    groups = rows.shape[0]
    each = channels // groups
    taps = kw if groups == 1 and dx == 1 else 1  # neighbours whose channels are one run in memory
    run = taps * each
    source, target = plane.reshape(plane.size), rows.reshape(rows.size)
    t = 0
    for g in range(groups):
        for n in range(images):
            for i in range(height):
                for j in range(width):
                    for u in range(kh):
                        for v in range(0, kw, taps):
                            at = ((n * high + i * sy + u * dy) * wide + j * sx + v * dx) * channels
                            s = at + g * each
                            for q in range(run):
                                target[np.uintp(t + q)] = source[np.uintp(s + q)]
                            t += run


@jit()
def _scatter(rows: np.ndarray, plane: np.ndarray, size: Pair, steps: Steps) -> None:
    (height, width), (kh, kw, sy, sx, dy, dx) = size, steps
    images, _, _, channels = plane.shape
    groups = rows.shape[0]
    each = channels // groups
    source = rows.reshape(rows.size)
    s = 0
    for g in range(groups):
        for n in range(images):
            for i in range(height):
                for j in range(width):
                    for u in range(kh):
                        line = plane[n, i * sy + u * dy]
                        for v in range(kw):
                            pixel = line[j * sx + v * dx]
                            for q in range(each):
                                pixel[np.uintp(g * each + q)] += source[np.uintp(s + q)]
                            s += each


@jit()
def _pack(g: np.ndarray, block: Block, packed: np.ndarray) -> None:
    n0, n1, i0, i1 = block
    width, each = g.shape[3], packed.shape[2]
    row = 0
    for n in range(n0, n1):
        for i in range(i0, i1):
            for o in range(g.shape[1]):
                for j in range(width):
                    packed[o // each, row + j, o % each] = g[n, o, i, j]
            row += width


@jit()
def _unpack(packed: np.ndarray, y: np.ndarray, block: Block) -> None:
    n0, n1, i0, i1 = block
    width, each = y.shape[3], packed.shape[2]
    row = 0
    for n in range(n0, n1):
        for i in range(i0, i1):
            for o in range(y.shape[1]):
                for j in range(width):
                    y[n, o, i, j] = packed[o // each, row + j, o % each]
            row += width
