"""Two-dimensional convolution and its gradients as im2row and a GEMM of BLAS, block by block.

Inside, channels are innermost: what a window sees in one row of the image is then one run of kW*C
values, and unrolling it a copy. Each thread unrolls the windows of a few images, or some rows of a
large one, into its own workspace and multiplies while they are in the cache: all windows at once
would be kH*kW times the image. A window that is the whole plane, as at the ends of a GAN, is a
matrix product outright, and so is a 1x1 window.
"""

from __future__ import annotations

import math

import numpy as np

from ....checks import Window
from ...linalg import matmul, product
from ...runtime.blas import one_blas_thread
from ...runtime.parallel import parallel_for
from ...runtime.workspace import workspace_array
from ..problem import ConvProblem, End, Ended, Shape
from .im2row import Block, channels_first, gather, pack, scatter, unpack

_BLOCK_VALUES = 1 << 19  # of the window matrix in one GEMM: 2 MB, and enough work for BLAS
_K_SLICES = 8  # split-K slices of a weight gradient, if it is small
_SLICE_VALUES = 1 << 22  # values in all of these slices


def conv2d(x: np.ndarray, w: np.ndarray, p: ConvProblem, end: End | None = None) -> Ended:
    """Convolution; leaves `end` undone."""
    dtype, window, groups, shape = np.result_type(x, w), p.window, p.groups, p.output
    if groups == 1 and _covers(p.image, window):
        return matmul(_rows(x), _rows(w).T).reshape(shape), end
    if groups == 1 and _is_point(window):
        return matmul(_rows(w), _images(x, dtype)).reshape(shape), end
    filters = _filters(w, groups, dtype)  # (G, K, O/G)
    x, y = np.ascontiguousarray(x, dtype), np.empty(shape, dtype)
    blocks = _blocks(shape, filters.shape[1] * groups)

    def work(start: int, stop: int) -> None:
        for block in blocks[start:stop]:
            rows = gather(x, block, window, shape[3], groups)  # (G, windows, K)
            out = workspace_array("product", (*rows.shape[:2], filters.shape[2]), dtype)
            product(rows, filters, out)
            unpack(out, y, block)

    with one_blas_thread:
        parallel_for(work, len(blocks), grain=1)
    return y, end


def conv2d_dx(g: np.ndarray, w: np.ndarray, p: ConvProblem, end: End | None = None) -> Ended:
    """Gradient with respect to images, for an output gradient g; leaves `end` undone."""
    dtype, window, groups, shape = np.result_type(g, w), p.window, p.groups, p.image
    if groups == 1 and _covers(shape, window):
        return matmul(_rows(g), _rows(w)).reshape(shape), end
    if groups == 1 and _is_point(window):
        return matmul(_rows(w).T, _images(g, dtype)).reshape(shape), end
    filters = _filters(w, groups, dtype).transpose(0, 2, 1)  # (G, O/G, K)
    g, dx = np.ascontiguousarray(g, dtype), np.empty(shape, dtype)
    # Neighbouring windows overlap, so all blocks of an image are added up by one thread.
    images: dict[int, list[Block]] = {}
    for block in _blocks(p.output, filters.shape[2] * groups):
        images.setdefault(block[0], []).append(block)
    tasks = list(images.values())

    def work(start: int, stop: int) -> None:
        for blocks in tasks[start:stop]:
            n0, n1 = blocks[0][:2]
            plane = workspace_array("plane", _padded(shape, n1 - n0, window), dtype)  # (n, H, W, C)
            plane[...] = 0
            for block in blocks:
                packed = pack(g, block, groups)  # (G, windows, O/G)
                rows = workspace_array("rows", (*packed.shape[:2], filters.shape[2]), dtype)
                product(packed, filters, rows)
                scatter(rows, plane, block, window, g.shape[3])
            channels_first(plane, dx[n0:n1], window.padding)

    with one_blas_thread:
        parallel_for(work, len(tasks), grain=1)
    return dx, end


def conv2d_dw(x: np.ndarray, g: np.ndarray, p: ConvProblem) -> np.ndarray:
    """Gradient with respect to the weight, for an output gradient g."""
    dtype, window, groups, shape = np.result_type(x, g), p.window, p.groups, p.weight
    if groups == 1 and _covers(p.image, window):
        return matmul(_rows(g).T, _rows(x)).reshape(shape)
    x, g = np.ascontiguousarray(x, dtype), np.ascontiguousarray(g, dtype)
    filters, depth = shape[0] // groups, math.prod(shape[1:])
    blocks = _blocks(p.output, depth * groups)
    size = groups * depth * filters
    k_slices = max(2, min(_K_SLICES, _SLICE_VALUES // max(1, size), len(blocks)))
    partial_sums = np.zeros((k_slices, groups, depth, filters), dtype)

    def work(start: int, stop: int) -> None:
        for k in range(start, stop):
            for block in blocks[k::k_slices]:
                rows = gather(x, block, window, g.shape[3], groups)  # (G, windows, K)
                out = workspace_array("product", partial_sums.shape[1:], dtype)
                partial_sums[k] += product(rows.transpose(0, 2, 1), pack(g, block, groups), out)

    with one_blas_thread:
        parallel_for(work, k_slices, grain=1)
    total = partial_sums.sum(axis=0).reshape(groups, *shape[2:], shape[1], filters)
    return np.ascontiguousarray(total.transpose(0, 4, 3, 1, 2)).reshape(shape)


def _covers(shape: tuple[int, ...], window: Window) -> bool:
    return window.kernel == shape[2:] and window.padding == (0, 0)


def _is_point(window: Window) -> bool:
    return window == Window((1, 1), dilation=window.dilation)


def _rows(array: np.ndarray) -> np.ndarray:
    return array.reshape(len(array), math.prod(array.shape[1:]))


def _images(array: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """(N, C, H, W) as (N, C, H*W)."""
    return np.ascontiguousarray(array, dtype).reshape(*array.shape[:2], math.prod(array.shape[2:]))


def _filters(w: np.ndarray, groups: int, dtype: np.dtype) -> np.ndarray:
    """w (O, C/G, kH, kW) as (G, kH*kW*C/G, O/G): rows in the order of an unrolled window."""
    o, c, kh, kw = w.shape
    split = w.reshape(groups, o // groups, c, kh, kw).transpose(0, 3, 4, 2, 1)
    return np.ascontiguousarray(split, dtype).reshape(groups, kh * kw * c, o // groups)


def _padded(shape: Shape, images: int, window: Window) -> Shape:
    """Shape (images, H, W, C) of images of `shape` with their padding, channels innermost."""
    (py, px), (_, c, h, w) = window.padding, shape
    return images, h + 2 * py, w + 2 * px, c


def _blocks(shape: Shape, depth: int) -> list[Block]:
    """Cut the windows of an output (N, O, H', W') into GEMMs: of some images, or rows of one."""
    n, _, oh, ow = shape
    most = max(1, _BLOCK_VALUES // max(1, depth * ow))  # rows of windows
    if most >= oh:
        images = max(1, min(most // oh, -(-n // 4)))
        return [(i, min(i + images, n), 0, oh) for i in range(0, n, images)]
    return [(i, i + 1, j, min(j + most, oh)) for i in range(n) for j in range(0, oh, most)]
