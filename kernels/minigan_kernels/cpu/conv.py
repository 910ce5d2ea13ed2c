"""Two-dimensional convolution and its gradients by packing windows as columns for BLAS.

Each thread packs the windows of a few images, or of some rows of a large one, into its own
workspace, and multiplies while they are in the cache: all columns at once would be kH*kW times the
image (with BLAS's own threads they took 1.7 to 2.8 times as long, on two busy cores). A window that
covers its whole plane, as at the ends of a GAN, is a matrix product outright, and so is a 1x1
window.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from ..shapes import Pair, Window, check_conv, conv_window, image_shape
from .columns import Block, gather, scatter
from .jit import jit
from .linalg import matmul
from .threads import one_blas_thread, scratch, spread

_COLUMNS = 512  # windows in one product, or a little more: packing the weight is then a small part
_SHARES = 16  # pieces of work that a weight gradient is cut into, or more
_DEPTH = 256  # rows of columns in one piece of a weight gradient

Shape = tuple[int, int, int, int]


def conv2d(
    x: np.ndarray,
    w: np.ndarray,
    *,
    stride: int | Pair = 1,
    padding: int | Pair = 0,
    dilation: int | Pair = 1,
    groups: int = 1,
) -> np.ndarray:
    """Convolution of x (N, C, H, W) with w (O, C/groups, kH, kW), giving (N, O, H', W')."""
    window = conv_window(w.shape, stride, padding, dilation)
    shape = check_conv(x.shape, w.shape, None, window, groups)
    dtype = np.result_type(x, w)
    if groups == 1 and _covers(x.shape, window):
        return matmul(_rows(x), _rows(w).T).reshape(shape)
    if groups == 1 and _is_point(window):
        return matmul(_rows(w), x.reshape(*x.shape[:2], -1)).reshape(shape)
    x, filters = np.ascontiguousarray(x, dtype), _filters(w, groups, dtype)
    y = np.empty(shape, dtype)

    def work(start: int, stop: int) -> None:
        for block in _blocks(start, stop, shape):
            columns = gather(x, (0, x.shape[1]), block, window, shape[2:])
            out = _view(y, block)
            if out is None:
                out = scratch("product", (shape[1], columns.shape[1]), dtype)
            np.matmul(filters, _grouped(columns, groups), out=_grouped(out, groups))
            if not np.may_share_memory(out, y):
                _unpack(out, y, block)

    with one_blas_thread():
        spread(work, shape[0] * shape[2], grain=_block_rows(shape))
    return y


def conv2d_dx(
    g: np.ndarray,
    w: np.ndarray,
    *,
    shape: tuple[int, int, int, int],
    stride: int | Pair = 1,
    padding: int | Pair = 0,
    dilation: int | Pair = 1,
    groups: int = 1,
) -> np.ndarray:
    """Gradient of `conv2d` by its image of `shape` (N, C, H, W), for an output gradient g."""
    window = conv_window(w.shape, stride, padding, dilation)
    check_conv(shape, w.shape, g.shape, window, groups)
    dtype = np.result_type(g, w)
    if groups == 1 and _covers(shape, window):
        return matmul(_rows(g), _rows(w)).reshape(shape)
    if groups == 1 and _is_point(window):
        return matmul(_rows(w).T, g.reshape(*g.shape[:2], -1)).reshape(shape)
    g, filters = np.ascontiguousarray(g, dtype), _filters(w, groups, dtype).transpose(0, 2, 1)
    dx, rows = np.zeros(shape, dtype), g.shape[2]

    def work(start: int, stop: int) -> None:
        for block in _blocks(start * rows, stop * rows, g.shape):
            packed = _packed(g, block)
            columns = scratch("columns", (math.prod(filters.shape[:2]), packed.shape[1]), dtype)
            np.matmul(filters, _grouped(packed, groups), out=_grouped(columns, groups))
            scatter(columns, dx, block, window, g.shape[2:])

    with one_blas_thread():  # windows overlap in dx, so a piece of work has whole images
        spread(work, shape[0], grain=max(1, _block_rows(g.shape) // rows))
    return dx


def conv2d_dw(
    x: np.ndarray,
    g: np.ndarray,
    *,
    shape: tuple[int, int, int, int],
    stride: int | Pair = 1,
    padding: int | Pair = 0,
    dilation: int | Pair = 1,
    groups: int = 1,
) -> np.ndarray:
    """Gradient of `conv2d` by its weight of `shape` (O, C/groups, kH, kW), for a gradient g of y.

    A piece of work has a block of input channels and a share of the windows. Where the channels
    are few, the shares are many, and their sums are added up in order at the end.
    """
    window = conv_window(shape, stride, padding, dilation)
    check_conv(x.shape, shape, g.shape, window, groups)
    dtype = np.result_type(x, g)
    if groups == 1 and _covers(x.shape, window):
        return matmul(_rows(g).T, _rows(x)).reshape(shape)
    x, g = np.ascontiguousarray(x, dtype), np.ascontiguousarray(g, dtype)
    taps = shape[2] * shape[3]
    depth = x.shape[1] if groups > 1 else max(1, _DEPTH // taps)  # input channels of a piece
    pieces = -(-x.shape[1] // depth)
    blocks = list(_blocks(0, g.shape[0] * g.shape[2], g.shape))
    share = max(1, -(-len(blocks) * pieces // _SHARES))  # blocks that a piece of work has
    shares = max(1, -(-len(blocks) // share))
    sums = np.zeros((shares, groups, shape[0] // groups, shape[1] * taps), dtype)
    packed = [np.empty(0, dtype)] * len(blocks)

    def pack(start: int, stop: int) -> None:
        for b in range(start, stop):
            packed[b] = _packed(g, blocks[b], kept=True)

    def work(piece: int, _: int) -> None:
        first, part = piece // pieces * share, piece % pieces
        channels = part * depth, min((part + 1) * depth, x.shape[1])
        inputs = slice(None) if groups > 1 else slice(channels[0] * taps, channels[1] * taps)
        total = sums[piece // pieces, :, :, inputs]
        product = scratch("product", total.shape, dtype)
        for b in range(first, min(first + share, len(blocks))):
            columns = gather(x, channels, blocks[b], window, g.shape[2:])
            transposed = _grouped(columns, groups).transpose(0, 2, 1)
            total += np.matmul(_grouped(packed[b], groups), transposed, out=product)

    with one_blas_thread():
        spread(pack, len(blocks), grain=1)
        spread(work, shares * pieces, grain=1)
    return sums.sum(axis=0).reshape(shape)


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
        for i in range(start, stop):
            gather(x, (0, c), (i, i + 1, 0, oh), window, (oh, ow), columns[i])

    spread(work, n, grain=1)
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
        for i in range(start, stop):
            scatter(columns[i], image, (i, i + 1, 0, oh), window, (oh, ow))

    spread(work, n, grain=1)
    return image


def _covers(shape: tuple[int, ...], window: Window) -> bool:
    return window.kernel == shape[2:] and window.padding == (0, 0)


def _is_point(window: Window) -> bool:
    return window == Window((1, 1), dilation=window.dilation)


def _rows(array: np.ndarray) -> np.ndarray:
    return array.reshape(len(array), math.prod(array.shape[1:]))


def _filters(w: np.ndarray, groups: int, dtype: np.dtype) -> np.ndarray:
    """w as (G, O/G, C/G*kH*kW)."""
    return _grouped(_rows(np.ascontiguousarray(w, dtype)), groups)


def _grouped(rows: np.ndarray, groups: int) -> np.ndarray:
    return rows.reshape(groups, len(rows) // groups, rows.shape[1])


def _block_rows(shape: Shape) -> int:
    """How many rows of windows (N, O, H', W') a product takes: of one image, or whole images."""
    rows = -(-_COLUMNS // shape[3])
    return rows if rows < shape[2] else rows // shape[2] * shape[2]


def _blocks(start: int, stop: int, shape: Shape) -> Iterator[Block]:
    """Cut rows start..stop, counted through all images, to one product each."""
    rows, most = shape[2], _block_rows(shape)
    while start < stop:
        n, i = divmod(start, rows)
        if i == 0 and min(most, stop - start) >= rows:
            images = min(most, stop - start) // rows
            yield n, n + images, 0, rows
            start += images * rows
        else:
            count = min(most, stop - start, rows - i)
            yield n, n + 1, i, i + count
            start += count


def _view(y: np.ndarray, block: Block) -> np.ndarray | None:
    """The block of y (N, O, H', W') as (O, windows) where it lies so in memory: one whole image."""
    n0, n1, i0, i1 = block
    if n1 - n0 > 1 or (i0, i1) != (0, y.shape[2]):
        return None
    return y[n0].reshape(y.shape[1], -1)


def _packed(g: np.ndarray, block: Block, *, kept: bool = False) -> np.ndarray:
    """The block of g as (O, windows): itself, in this thread's workspace, or to be `kept`."""
    view = _view(g, block)
    if view is not None:
        return view
    size = (block[1] - block[0]) * (block[3] - block[2]) * g.shape[3]
    out = (
        np.empty((g.shape[1], size), g.dtype)
        if kept
        else scratch("gradient", (g.shape[1], size), g.dtype)
    )
    _pack(g, block, out)
    return out


@jit()
def _pack(g: np.ndarray, block: Block, out: np.ndarray) -> None:
    n0, n1, i0, i1 = block
    run = (i1 - i0) * g.shape[3]
    planes = g.reshape(g.shape[0], g.shape[1], g.shape[2] * g.shape[3])
    for n in range(n0, n1):
        for o in range(g.shape[1]):
            source = planes[n, o, i0 * g.shape[3] : i1 * g.shape[3]]
            target = out[o, (n - n0) * run : (n - n0 + 1) * run]
            for j in range(run):
                target[j] = source[j]


@jit()
def _unpack(out: np.ndarray, y: np.ndarray, block: Block) -> None:
    n0, n1, i0, i1 = block
    run = (i1 - i0) * y.shape[3]
    planes = y.reshape(y.shape[0], y.shape[1], y.shape[2] * y.shape[3])
    for n in range(n0, n1):
        for o in range(y.shape[1]):
            target = planes[n, o, i0 * y.shape[3] : i1 * y.shape[3]]
            source = out[o, (n - n0) * run : (n - n0 + 1) * run]
            for j in range(run):
                target[j] = source[j]
