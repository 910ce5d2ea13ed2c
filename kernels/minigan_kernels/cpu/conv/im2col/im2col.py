"""`im2col` and `col2im`: the windows of an image as columns, and columns added back.

Row (c, u, v) of an image's columns holds what tap (u, v) of the windows sees of channel c. With
stride s neighbours in it are s pixels apart in the image. So each plane is first split, with its
padding, into s*s small planes, one per phase. A row of windows is then one run of values there.
"""

from __future__ import annotations

import numpy as np

from ....checks import Pair, Window, conv_window, image_shape
from ...compiler.jit import jit
from ...runtime.parallel import parallel_for
from ...runtime.workspace import workspace_array


def im2col(
    x: np.ndarray,
    *,
    kernel: Pair,
    stride: int | Pair = 1,
    padding: int | Pair = 0,
    dilation: int | Pair = 1,
) -> np.ndarray:
    """Every window of x (N, C, H, W) as a column: (N, C*kH*kW, H'*W')."""
    window = conv_window((1, 1, *kernel), stride, padding, dilation)
    n, c, h, w = image_shape(x.shape)
    oh, ow = window.output((h, w))
    x = np.ascontiguousarray(x)
    columns = np.empty((n, c * kernel[0] * kernel[1], oh * ow), x.dtype)

    def work(start: int, stop: int) -> None:
        phases = _phases(window, (oh, ow), x.dtype)
        for i in range(start, stop):
            _gather(x[i], _flat(window), oh, ow, phases, columns[i])

    parallel_for(work, n, grain=1)
    return columns


def col2im(
    columns: np.ndarray,
    *,
    shape: tuple[int, int, int, int],
    kernel: Pair,
    stride: int | Pair = 1,
    padding: int | Pair = 0,
    dilation: int | Pair = 1,
) -> np.ndarray:
    """Adjoint of `im2col`: columns (N, C*kH*kW, H'*W') added back to an image of `shape`."""
    window = conv_window((1, 1, *kernel), stride, padding, dilation)
    n, c, h, w = image_shape(shape)
    oh, ow = window.output((h, w))
    columns = np.ascontiguousarray(columns).reshape(n, c * kernel[0] * kernel[1], oh * ow)
    image = np.zeros(shape, columns.dtype)

    def work(start: int, stop: int) -> None:
        phases = _phases(window, (oh, ow), columns.dtype)
        for i in range(start, stop):
            _scatter(columns[i], _flat(window), oh, ow, phases, image[i])

    parallel_for(work, n, grain=1)
    return image


def _flat(window: Window) -> tuple[int, ...]:
    return (*window.kernel, *window.stride, *window.padding, *window.dilation)


def _phases(window: Window, output: Pair, dtype: np.dtype) -> np.ndarray:
    """Workspace (stride, stride, rows, columns) for what the windows of one channel see."""
    sizes = [
        count + d * (k - 1) // s  # of each phase
        for count, k, s, d in zip(
            output, window.kernel, window.stride, window.dilation, strict=True
        )
    ]
    return workspace_array("phases", (*window.stride, *sizes), dtype)


@jit()
def _gather(
    x: np.ndarray,
    window: tuple[int, ...],
    height: int,
    width: int,
    plane: np.ndarray,
    columns: np.ndarray,
) -> None:
    kh, kw, sy, sx, py, px, dy, dx = window
    _, _, high, wide = plane.shape
    channels, rows, size = x.shape
    pixels, phases = x.reshape(x.size), plane.reshape(plane.size)
    out = columns.reshape(columns.size)
    phases[:] = 0  # the padding stays so
    target = 0
    for c in range(channels):
        for a in range(sy):
            for q in range(high):
                row = q * sy + a - py
                if 0 <= row < rows:
                    source = (c * rows + row) * size
                    for b in range(sx):
                        first, last = _span(b - px, sx, size, wide)
                        target_row = ((a * sx + b) * high + q) * wide
                        for j in range(first, last):
                            at = source + j * sx + b - px
                            phases[np.uintp(target_row + j)] = pixels[np.uintp(at)]
        for u in range(kh):
            for v in range(kw):
                phase = (u * dy % sy) * sx + v * dx % sx
                seen = (phase * high + u * dy // sy) * wide + v * dx // sx
                for _ in range(height):
                    for j in range(width):
                        out[np.uintp(target + j)] = phases[np.uintp(seen + j)]
                    target += width
                    seen += wide


@jit()
def _scatter(
    columns: np.ndarray,
    window: tuple[int, ...],
    height: int,
    width: int,
    plane: np.ndarray,
    image: np.ndarray,
) -> None:
    kh, kw, sy, sx, py, px, dy, dx = window
    _, _, high, wide = plane.shape
    channels, rows, size = image.shape
    pixels, phases = image.reshape(image.size), plane.reshape(plane.size)
    values = columns.reshape(columns.size)
    source = 0
    for c in range(channels):
        phases[:] = 0
        for u in range(kh):
            for v in range(kw):
                phase = (u * dy % sy) * sx + v * dx % sx
                seen = (phase * high + u * dy // sy) * wide + v * dx // sx
                for _ in range(height):
                    for j in range(width):
                        phases[np.uintp(seen + j)] += values[np.uintp(source + j)]
                    seen += wide
                    source += width
        for a in range(sy):
            for q in range(high):
                row = q * sy + a - py
                if 0 <= row < rows:
                    target = (c * rows + row) * size
                    for b in range(sx):
                        first, last = _span(b - px, sx, size, wide)
                        source_row = ((a * sx + b) * high + q) * wide
                        for j in range(first, last):
                            at = target + j * sx + b - px
                            pixels[np.uintp(at)] += phases[np.uintp(source_row + j)]


@jit()
def _span(shift: int, stride: int, size: int, count: int) -> tuple[int, int]:
    """The range of q in range(count) for which q*stride + shift is in range(size)."""
    first = max(0, -(shift // stride))
    last = (size - shift + stride - 1) // stride
    return min(first, count), max(min(first, count), min(last, count))
