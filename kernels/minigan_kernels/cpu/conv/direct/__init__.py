"""Direct convolution and its gradients: GEMMs whose operands the microkernel finds by tables.

Any window, stride, padding, dilation and number of groups is done by one of

    convolve      the accumulators are some pixels of some filters; the sum goes over taps and
                  channels. The gradient with respect to images is done so too, once for each
                  residue of a pixel's position modulo the stride (a phase): those see the same
                  taps.
    gemm_col2im   where outputs have few channels, most of the accumulators would be idle. So a GEMM
                  computes what each pixel of the source adds to the output by all taps, and col2im
                  adds that up: a fractionally strided convolution.
    correlate     the accumulators are some taps of some channels and some filters; the sum goes
                  over pixels, in split-K slices.
    matmul        where the one window is the whole plane, it is a plain matrix product.

Where groups are small, each lane of a vector does its own. `microkernel` has the microkernels and
the GEMM around them, `macrokernels` the three loops, `pack` the packing, `geometry` and `tables`
what is known from the shapes alone.
"""

from __future__ import annotations

import math
from functools import partial

import numpy as np

from ....checks import Window
from ....memo import memoize
from ...activation import NO_EPILOGUE, line_epilogue
from ...isa.simd import LANES
from ...linalg import matmul
from ...runtime.allocator import empty, empty_image
from ...runtime.native_task import NativeTask
from ...runtime.parallel import parallel_for
from ...runtime.workspace import address, aligned_bytes
from ..problem import ConvProblem, End, Ended, Shape
from ..weights import taps_of, transposed
from .macrokernels import Operands, convolve, correlate, gemm_col2im
from .microkernel import NR, NR_BYTES
from .pack import pack_panels
from .tables import col2im_plan, column_size, convolution_plan, correlation_plan

_FEW_CHANNELS = LANES // 2  # so few leave most accumulators idle
_CHUNKS = 16  # that all blocks are dealt out in, at most
_PACKED = 1 << 16  # floats that one thread packs alone


def conv2d(x: np.ndarray, w: np.ndarray, p: ConvProblem, end: End | None = None) -> Ended:
    """Convolution; with a bias and an activation to `end` it, if that takes no pass of its own."""
    x, w, window = np.asarray(x, np.float32), np.asarray(w, np.float32), p.window
    if not (x.size and math.prod(p.output)):
        return _zeros(p.output), end
    if p.groups == 1 and _covers(window, p.image):
        return matmul(_rows(x), _matrix(w)).reshape(p.output), end
    if p.groups == 1 and p.output[1] <= _FEW_CHANNELS and _is_also_dx(window):
        key = "col2im, flipped", window
        filters = memoize(w, key, lambda: _pack_taps(_flipped(taps_of(w)), window))
        return _gemm_col2im(x, filters, _dx_window(window), p.output), end
    return _convolve(x, w, p, end, transposed=False)


def conv2d_dx(g: np.ndarray, w: np.ndarray, p: ConvProblem, end: End | None = None) -> Ended:
    """Gradient with respect to images, for an output gradient g; leaves `end` undone."""
    g, w, window = np.asarray(g, np.float32), np.asarray(w, np.float32), p.window
    if not (g.size and math.prod(p.image)):
        return _zeros(p.image), end
    if p.groups == 1 and _covers(window, p.image):
        rows = matmul(_rows(g), _matrix(w).T)
        n, c, height, width = p.image
        return rows.reshape(n, height, width, c).transpose(0, 3, 1, 2), end
    if p.groups == 1 and p.image[1] <= _FEW_CHANNELS and window.dilation == (1, 1):
        filters = memoize(w, ("col2im", window), lambda: _pack_taps(taps_of(w), window))
        return _gemm_col2im(g, filters, window, p.image), end
    return _convolve(g, w, p, end, transposed=True)


def conv2d_dw(x: np.ndarray, g: np.ndarray, p: ConvProblem) -> np.ndarray:
    """Gradient with respect to the weight, for an output gradient g."""
    x, g, window = np.asarray(x, np.float32), np.asarray(g, np.float32), p.window
    (filters, each, kh, kw), outputs = p.weight, p.weight[0] // p.groups
    if not (x.size and g.size and math.prod(p.weight)):
        return np.zeros((kh, kw, each, filters), np.float32).transpose(3, 2, 0, 1)
    if p.groups == 1 and _covers(window, p.image):
        dw = matmul(_rows(x).T, _rows(g)).reshape(kh, kw, each, filters)
    elif p.groups == 1 and filters <= _FEW_CHANNELS < each and _is_also_dx(window):
        flipped = np.empty((kh, kw, filters, each), np.float32)
        _correlate(g, x, flipped, _dx_window(window), 1)
        dw = np.ascontiguousarray(_flipped(flipped))
        if not np.isfinite(dw).all():  # an infinite pixel met the zeros around the gradient
            _correlate(x, g, dw, window, 1)
    else:
        dw = empty((kh, kw, each, filters), np.float32)
        if p.groups > 1 and outputs < LANES:
            _correlate(x, g, dw, window, p.groups)
        else:
            for k in range(p.groups):
                ins, outs = slice(k * each, (k + 1) * each), slice(k * outputs, (k + 1) * outputs)
                _correlate(x[:, ins], g[:, outs], dw[..., outs], window, 1)
    return dw.transpose(3, 2, 0, 1)


def _zeros(shape: Shape) -> np.ndarray:
    image = empty_image(shape, np.float32)
    image[...] = 0
    return image


def _covers(window: Window, image: Shape) -> bool:
    """Whether the one window is the plane."""
    return window.kernel == image[2:] and window.padding == (0, 0)


def _is_also_dx(window: Window) -> bool:
    """Whether the convolution is the image gradient of another one, with `_dx_window`."""
    return (window.stride, window.dilation) == ((1, 1), (1, 1)) and all(
        p < k for p, k in zip(window.padding, window.kernel, strict=True)
    )


def _dx_window(window: Window) -> Window:
    (kh, kw), _, (py, px), _ = window
    return window._replace(padding=(kh - 1 - py, kw - 1 - px))


def _flipped(taps: np.ndarray) -> np.ndarray:
    """taps (kH, kW, I, O) in reverse order, as (kH, kW, O, I)."""
    return taps[::-1, ::-1].swapaxes(2, 3)


def _rows(x: np.ndarray) -> np.ndarray:
    """(N, C, H, W) as (N, H*W*C)."""
    return np.ascontiguousarray(x.transpose(0, 2, 3, 1)).reshape(len(x), -1)


def _matrix(w: np.ndarray) -> np.ndarray:
    """w as (kH*kW*I, O)."""
    return taps_of(w).reshape(-1, len(w))


def _transposed_matrix(w: np.ndarray, groups: int) -> np.ndarray:
    """w (O, C/G, kH, kW) as (kH*kW*O/G, C), for the gradient with respect to images."""
    taps = taps_of(w)
    kh, kw, each, filters = taps.shape
    outputs = filters // groups
    if groups == 1 and each % LANES == filters % LANES == 0:
        return transposed(taps).reshape(-1, each)
    grouped = taps.reshape(kh * kw, each, groups, outputs).transpose(0, 3, 2, 1)
    return np.ascontiguousarray(grouped).reshape(kh * kw * outputs, groups * each)


def _convolve(
    x: np.ndarray, w: np.ndarray, p: ConvProblem, end: End | None, *, transposed: bool
) -> Ended:
    y = empty_image(p.image if transposed else p.output, np.float32)
    ins, outs = x.shape[1] // p.groups, y.shape[1] // p.groups
    lanes = p.groups if outs < LANES else 1  # groups done lanewise, or one after the other
    operands = [(x, y)]
    if lanes != p.groups:
        operands = [
            (x[:, k * ins : (k + 1) * ins], y[:, k * outs : (k + 1) * outs])
            for k in range(p.groups)
        ]
    (a, c), *_ = operands  # all alike
    plan = convolution_plan(a.shape, a.strides, c.shape, c.strides, p.window, lanes, transposed)
    key = "convolve", p.window, y.shape[2:], p.groups, transposed
    pack = partial(_pack_filters, plan.weight_rows, w, p.groups, lanes, transposed)
    filters = memoize(w, key, pack)
    fused = NO_EPILOGUE
    if end and not transposed and len(operands) == 1:
        fused = line_epilogue(y, *end)
    count = plan.task.blocks.task_count
    for k, (a, c) in enumerate(operands):
        addresses = Operands(a.ctypes.data, address(filters[k]), c.ctypes.data)
        task = NativeTask(convolve, plan.task, addresses, plan.workspace, fused)
        parallel_for(task, count, grain=-(-count // _CHUNKS))
    return y, end if fused is NO_EPILOGUE else None


def _pack_filters(
    rows: list[np.ndarray], w: np.ndarray, groups: int, lanes: int, transposed: bool
) -> list[np.ndarray]:
    """w in panels, by groups that are done one after the other."""
    matrix = _transposed_matrix(w, groups) if transposed else _matrix(w)
    columns = matrix.shape[1] * lanes // groups
    return [
        _pack(matrix[:, start : start + columns], rows)
        for start in range(0, matrix.shape[1], columns)
    ]


def _pack(matrix: np.ndarray, orders: list[np.ndarray]) -> np.ndarray:
    """Panels of NR columns of a matrix, for each phase of the rows in `orders`."""
    columns = matrix.shape[1]
    panels = -(-columns // NR)
    packed = aligned_bytes(sum(rows.size for rows in orders) * panels * NR_BYTES)
    source, target, stride = matrix.ctypes.data, address(packed), matrix.strides[0]
    for rows in orders:
        if rows.size:
            grain = max(1, _PACKED // (rows.size * NR))
            order = rows.ctypes.data
            task = NativeTask(pack_panels, source, stride, order, rows.size, columns, target)
            parallel_for(task, panels, grain=grain)
        target += rows.size * panels * NR_BYTES
    return packed


def _pack_taps(taps: np.ndarray, window: Window) -> np.ndarray:
    """taps (kH, kW, C, O) as panels of (O, taps*C), filled up with zeros to whole strides."""
    kh, kw, few, depth = taps.shape
    down, across, columns = column_size(window, few)
    filled = np.zeros((depth, down, across, few), np.float32)
    filled[:, :kh, :kw] = taps.transpose(3, 0, 1, 2)
    return _pack(filled.reshape(depth, columns), [np.arange(depth)])


def _gemm_col2im(x: np.ndarray, filters: np.ndarray, window: Window, shape: Shape) -> np.ndarray:
    y = empty_image(shape, np.float32)
    plan = col2im_plan(x.shape, x.strides, y.shape, y.strides, window)
    operands = Operands(x.ctypes.data, address(filters), y.ctypes.data)
    task = NativeTask(gemm_col2im, plan.task, operands, plan.workspace)
    count = plan.task.blocks.task_count
    parallel_for(task, count, grain=-(-count // _CHUNKS))
    return y


def _correlate(x: np.ndarray, g: np.ndarray, dw: np.ndarray, window: Window, groups: int) -> None:
    """Write dw (kH, kW, C/G, O)."""
    plan = correlation_plan(x.shape, x.strides, g.shape, g.strides, window, groups, dw.strides[2])
    out = dw if plan.k_slices == 1 else empty((plan.k_slices, *dw.shape), np.float32)
    operands = Operands(x.ctypes.data, g.ctypes.data, out.ctypes.data)
    task = NativeTask(correlate, plan.task, operands, plan.workspace)
    parallel_for(task, plan.task_count, grain=1)
    if plan.k_slices > 1:
        out.sum(axis=0, out=dw)
