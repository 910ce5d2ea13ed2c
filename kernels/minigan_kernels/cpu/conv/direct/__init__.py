"""Convolution and its gradients without a detour: sums of products, blocked for caches.

Any kernel, stride, padding, dilation and number of groups is one of

    convolve     a register tile holds some pixels of some filters; the sum runs over taps and
                 channels. The gradient by an image is done so too, once for each residue of a
                 pixel's place modulo the stride: those pixels see the same taps.
    spill        if outputs have few channels, most of such a tile would be idle. So each pixel of
                 the source is multiplied with all taps at once, and these are added up.
    correlate    the tile holds some taps of some channels and some filters; the sum runs over
                 pixels.
    matmul       for windows that see their whole plane, which are nothing but matrix products.

Where groups are small, tiles are multiplied lane by lane. The loops are in `direct_loops`; what
they have in common is in `direct_tile`.
"""

from __future__ import annotations

import math
from functools import partial

import numpy as np

from ....checks import Window
from ....epilogue import Epilogue
from ....memo import memoize
from ...activation import NO_EPILOGUE, apply_epilogue, line_epilogue
from ...isa.simd import LANES
from ...linalg import matmul
from ...runtime.allocator import empty, empty_image
from ...runtime.native_task import NativeTask
from ...runtime.parallel import parallel_for
from ...runtime.workspace import Workspace, address, aligned_bytes
from ..weights import taps_of, transposed
from .macrokernels import convolve, correlate, pack, spill
from .microkernel import PANEL, WIDE
from .tables import Convolution, convolution, correlation, spillage, spilling

_FEW = LANES // 2  # channels
_PIECES = 16  # that all blocks are dealt out in
_PACKED = 1 << 16  # floats that one thread packs alone

Shape = tuple[int, int, int, int]


def conv2d(
    x: np.ndarray,
    w: np.ndarray,
    window: Window,
    shape: Shape,
    groups: int,
    end: tuple[np.ndarray, Epilogue] | None = None,
) -> np.ndarray:
    """Convolution to an output of `shape` (N, O, H', W'), with a bias and an activation if these
    are to `end` it.
    """
    x, w = np.asarray(x, np.float32), np.asarray(w, np.float32)
    if not (x.size and math.prod(shape)):
        y = _zeros(shape)
    elif groups == 1 and _covers(window, x.shape):
        y = matmul(_rows(x), _matrix(w)).reshape(shape)
    elif groups == 1 and shape[1] <= _FEW and _turns(window):
        name = f"spilling turned filters of {window}"
        filters = memoize(w, name, lambda: _spilling(taps_of(w)[::-1, ::-1].swapaxes(2, 3), window))
        y = _spill(x, filters, _turned(window), shape)
    else:
        return _convolve(x, w, window, shape, groups, backward=False, end=end)
    return y if end is None else apply_epilogue(y, *end)


def conv2d_dx(
    g: np.ndarray, w: np.ndarray, window: Window, shape: Shape, groups: int
) -> np.ndarray:
    """Gradient by an image of `shape` (N, C, H, W), for an output gradient g."""
    g, w = np.asarray(g, np.float32), np.asarray(w, np.float32)
    if not (g.size and math.prod(shape)):
        return _zeros(shape)
    if groups == 1 and _covers(window, shape):
        rows = matmul(_rows(g), _matrix(w).T)
        return rows.reshape(shape[0], *shape[2:], shape[1]).transpose(0, 3, 1, 2)
    if groups == 1 and shape[1] <= _FEW and window.dilation == (1, 1):
        name = f"spilling filters of {window}"
        filters = memoize(w, name, lambda: _spilling(taps_of(w), window))
        return _spill(g, filters, window, shape)
    return _convolve(g, w, window, shape, groups, backward=True)


def conv2d_dw(
    x: np.ndarray, g: np.ndarray, window: Window, shape: Shape, groups: int
) -> np.ndarray:
    """Gradient by a weight of `shape` (O, C/groups, kH, kW), for an output gradient g."""
    x, g = np.asarray(x, np.float32), np.asarray(g, np.float32)
    (filters, each, kh, kw), outputs = shape, shape[0] // groups
    if not (x.size and g.size and math.prod(shape)):
        return np.zeros((kh, kw, each, filters), np.float32).transpose(3, 2, 0, 1)
    if groups == 1 and _covers(window, x.shape):
        dw = matmul(_rows(x).T, _rows(g)).reshape(kh, kw, each, filters)
    elif groups == 1 and filters <= _FEW < each and _turns(window):
        turned = np.empty((kh, kw, filters, each), np.float32)
        _correlate(g, x, turned, _turned(window), 1)
        dw = np.ascontiguousarray(turned[::-1, ::-1].swapaxes(2, 3))
    else:
        dw = empty((kh, kw, each, filters), np.float32)
        if groups > 1 and outputs < LANES:
            _correlate(x, g, dw, window, groups)
        else:
            for k in range(groups):
                ins, outs = slice(k * each, (k + 1) * each), slice(k * outputs, (k + 1) * outputs)
                _correlate(x[:, ins], g[:, outs], dw[..., outs], window, 1)
    return dw.transpose(3, 2, 0, 1)


def _zeros(shape: Shape) -> np.ndarray:
    image = empty_image(shape, np.float32)
    image[...] = 0
    return image


def _covers(window: Window, image: tuple[int, ...]) -> bool:
    """Whether the one window is the plane."""
    return window.kernel == image[2:] and window.padding == (0, 0)


def _turns(window: Window) -> bool:
    """Whether the convolution is also the image gradient of one, with `_turned` windows."""
    return (window.stride, window.dilation) == ((1, 1), (1, 1)) and all(
        p < k for p, k in zip(window.padding, window.kernel, strict=True)
    )


def _turned(window: Window) -> Window:
    (kh, kw), _, (py, px), _ = window
    return window._replace(padding=(kh - 1 - py, kw - 1 - px))


def _rows(x: np.ndarray) -> np.ndarray:
    """(N, C, H, W) as (N, H*W*C)."""
    return np.ascontiguousarray(x.transpose(0, 2, 3, 1)).reshape(len(x), -1)


def _matrix(w: np.ndarray) -> np.ndarray:
    """w as (kH*kW*I, O)."""
    return taps_of(w).reshape(-1, len(w))


def _transposed(w: np.ndarray, groups: int) -> np.ndarray:
    """w (O, C/G, kH, kW) as (kH*kW*O/G, C): filters for the way back."""
    taps = taps_of(w)
    kh, kw, each, filters = taps.shape
    outputs = filters // groups
    if groups == 1 and each % LANES == filters % LANES == 0:
        return transposed(taps).reshape(-1, each)
    grouped = taps.reshape(kh * kw, each, groups, outputs).transpose(0, 3, 2, 1)
    return np.ascontiguousarray(grouped).reshape(kh * kw * outputs, groups * each)


def _convolve(
    x: np.ndarray,
    w: np.ndarray,
    window: Window,
    shape: Shape,
    groups: int,
    *,
    backward: bool,
    end: tuple[np.ndarray, Epilogue] | None = None,
) -> np.ndarray:
    y = empty_image(shape, np.float32)
    ins, outs = x.shape[1] // groups, shape[1] // groups
    lanes = groups if outs < LANES else 1  # of groups, or each is done alone
    parts = [(x, y)]
    if lanes != groups:
        parts = [
            (x[:, k * ins : (k + 1) * ins], y[:, k * outs : (k + 1) * outs]) for k in range(groups)
        ]
    (a, b), *_ = parts  # all alike
    plan = convolution(a.shape, a.strides, b.shape, b.strides, window, lanes, backward)
    name = f"filters of {window}, {shape[2:]}, {groups}, {backward}"
    filters = memoize(w, name, partial(_packed, plan, w, groups, lanes, backward))
    finish = line_epilogue(y, *end) if end and len(parts) == 1 else NO_EPILOGUE
    for k, (a, b) in enumerate(parts):
        loop = NativeTask(
            convolve, plan.job, plan.blocks, plan.source.band, plan.source.channels,
            plan.source.consecutive, plan.phases, plan.places, plan.targets, *plan.runs,
            a.ctypes.data, address(filters[k]), b.ctypes.data,
            Workspace("own", plan.source.size + PANEL), Workspace("sums", plan.sums + PANEL),
            finish.lines, finish.bias, finish.slope,
        )  # fmt: skip
        parallel_for(loop, plan.blocks.tasks, grain=-(-plan.blocks.tasks // _PIECES))
    return apply_epilogue(y, *end) if end and finish is NO_EPILOGUE else y


def _packed(
    plan: Convolution, w: np.ndarray, groups: int, lanes: int, backward: bool
) -> list[np.ndarray]:
    matrix = _transposed(w, groups) if backward else _matrix(w)
    columns = matrix.shape[1] * lanes // groups
    return [
        _panels(matrix[:, start : start + columns], plan.rows)
        for start in range(0, matrix.shape[1], columns)
    ]


def _panels(matrix: np.ndarray, parts: list[np.ndarray]) -> np.ndarray:
    """Some rows of a matrix in panels of WIDE columns, for each of `parts`."""
    columns = matrix.shape[1]
    panels = -(-columns // WIDE)
    out = aligned_bytes(sum(rows.size for rows in parts) * panels * PANEL)
    source, target, pitch = matrix.ctypes.data, address(out), matrix.strides[0]
    for rows in parts:
        if rows.size:
            grain = max(1, _PACKED // (rows.size * WIDE))
            parallel_for(
                NativeTask(pack, source, pitch, rows, columns, target), panels, grain=grain
            )
        target += rows.size * panels * PANEL
    return out


def _spilling(taps: np.ndarray, window: Window) -> np.ndarray:
    """taps (kH, kW, C, O) as panels of (O, taps*C), filled up with zeros to whole strides."""
    kh, kw, few, depth = taps.shape
    down, across, columns = spilling(window, few)
    filled = np.zeros((depth, down, across, few), np.float32)
    filled[:, :kh, :kw] = taps.transpose(3, 0, 1, 2)
    return _panels(filled.reshape(depth, columns), [np.arange(depth)])


def _spill(x: np.ndarray, filters: np.ndarray, window: Window, shape: Shape) -> np.ndarray:
    y = empty_image(shape, np.float32)
    plan = spillage(x.shape, x.strides, y.shape, y.strides, window)
    loop = NativeTask(
        spill, plan.job, plan.blocks, plan.source.band, plan.source.channels,
        plan.source.consecutive, plan.places, plan.targets, *plan.runs,
        x.ctypes.data, address(filters), y.ctypes.data,
        Workspace("own", plan.source.size + PANEL), Workspace("columns", plan.columns + PANEL),
        Workspace("empty", plan.job.wide + 2 * PANEL), Workspace("line", plan.line + PANEL),
        Workspace("sums", plan.sums + PANEL),
    )  # fmt: skip
    parallel_for(loop, plan.blocks.tasks, grain=-(-plan.blocks.tasks // _PIECES))
    return y


def _correlate(x: np.ndarray, g: np.ndarray, dw: np.ndarray, window: Window, groups: int) -> None:
    """Write dw (kH, kW, C/G, O)."""
    plan = correlation(x.shape, x.strides, g.shape, g.strides, window, groups, dw.strides[2])
    shares = plan.job.shares
    out = dw if shares == 1 else empty((shares, *dw.shape), np.float32)
    loop = NativeTask(
        correlate, plan.job, plan.blocks, plan.source.band, plan.source.channels,
        plan.source.consecutive, plan.gradient.band, plan.gradient.channels,
        plan.gradient.consecutive, plan.starts, plan.places, plan.targets, *plan.runs,
        x.ctypes.data, g.ctypes.data, out.ctypes.data,
        Workspace("own", plan.source.size + PANEL), Workspace("g", plan.gradient.size + PANEL),
        Workspace("sums", plan.sums + PANEL),
    )  # fmt: skip
    parallel_for(loop, plan.tasks, grain=1)
    if shares > 1:
        out.sum(axis=0, out=dw)
