"""Convolution, its gradients and its transpose in Winograd's domain, for strides 1 and 2.

A convolution of stride s is a sum of s*s convolutions of stride 1, one for each phase (p, q): the
pixels (s i + p, s j + q) of the padded image with the taps (s u + p, s v + q) of the filter. So a
4x4 window of stride 2 is four 2x2 windows of stride 1, and each of those is done by F(m x m, r x r)
(see `toom_cook`): 25 products give 4x4 outputs, where 64 would be needed. With V the transformed
tiles of an image, U the transformed filters, Z the transformed tiles of an output gradient,

    output            y  = A^T [sum over phases and channels of  V U] A
    image gradient    dx = B [Z U^T] B^T, tiles overlapping by r - 1 and added up
    filter gradient   dw = G^T [sum over tiles of  V^T Z] G

each bracket a matrix product for every one of the (m + r - 1)^2 frequencies. The three directions
share the three transforms (decomposed: Huang et al. 2021, arXiv:2002.00552).

Here are the shapes and the memory; the loops are in `tiles` and `products`. They want images
channels last and whole vectors of channels, and filters as (kernel, kernel, channels, filters).
Operands lie as the register tiles of `generate` read them: V and Z as [frequency][group of ROWS
tiles][block of LANES channels][tile][lane], U as [frequency][panel of COLUMNS vectors][channel]
[column], or for a matrix unit in pieces, see `matrix_products`.
"""

from __future__ import annotations

import math
import threading
import weakref
from collections.abc import Callable, Hashable, Iterator
from functools import cache, lru_cache, partial

import numpy as np

from ....checks import Window
from ....memo import attached, evict, memoize
from ...gemm.blocking import A_BLOCK_BYTES, MR, NR_VECTORS
from ...isa.amx import AMX
from ...isa.simd import LANES
from ...runtime.allocator import empty, empty_image, is_channels_last
from ...runtime.native_task import NativeTask
from ...runtime.parallel import parallel_for, thread_count
from ...runtime.workspace import Workspace, address, aligned_bytes
from ..weights import taps_of, transposed
from .forward import into_frequencies
from .inverse import FRESH, from_frequencies, workspace_bytes
from .problem import GAP, Layer, filter_step, filter_units, plane_step

_WAVE = 1 << 27  # bytes of transformed tiles at a time
_FILTERS = 32 << 20  # bytes of transformed filters that are kept
_LARGE = 1 << 23  # bytes of transformed tiles that are too many to be kept
_CHUNK = 512  # tiles whose products are worth adding up at once
_ONCE = 64  # tiles for which filters are not kept but transformed each time
_WIDE = 2  # panels to transform together then, at most; for the next, the tiles are read again
_TILE = MR, NR_VECTORS * LANES  # of sums in registers
_SUMS = 32 << 10 if AMX else 12 << 10  # products of a task in a plane
_BUSY = 1 if AMX else 2  # tasks for each thread, at least
_FILTER_SUMS = 32 << 10 if AMX else 16 << 10  # the same for a filter gradient
_DEEP = 128 if AMX else 512  # channels whose panel, or pieces, stay in a part of the second cache
_TALL = 256 if AMX else 64  # tiles whose pieces stay there, or their channels in the first cache

Shape = tuple[int, int, int, int]


def fits(window: Window, groups: int) -> bool:
    """Whether these kernels can do a convolution: 2 or 3 taps a phase, alike both ways."""
    kernel, stride, _, dilation = window
    return (
        (groups, dilation) == (1, (1, 1))
        and stride in ((1, 1), (2, 2))
        and kernel[0] == kernel[1]
        and _taps(window) in (2, 3)
    )


def conv2d(x: np.ndarray, w: np.ndarray, window: Window, shape: Shape, m: int) -> np.ndarray:
    """Convolution to an output of `shape`, by tiles of m x m outputs."""
    x, taps = _images(x), _filters(w)
    y = empty_image((shape[0], taps.shape[3], *shape[2:]), np.float32)
    for part, t in _waves(x.shape, y.shape, window, m):
        v = _transformed_images(_cut(x, part), t)
        if _few(t):
            _outputs(t, v, None, taps, _cut(y, part))
        else:
            u = _kept_filters(w, ("filters", window, m), partial(_transformed_filters, taps, t))
            _outputs(t, v, u, None, _cut(y, part))
    return _cropped(y, shape[1])


def conv2d_dx(g: np.ndarray, w: np.ndarray, window: Window, shape: Shape, m: int) -> np.ndarray:
    """Gradient by an image of `shape`, for an output gradient g."""
    g, taps = _images(g), _filters(w)
    dx = empty_image((shape[0], taps.shape[2], *shape[2:]), np.float32)
    if not _covered(window, shape, g.shape):
        dx[...] = 0
    for part, t in _waves(dx.shape, g.shape, window, m):
        z = _transformed_gradients(_cut(g, part), t)
        turned = memoize(w, "transposed", partial(transposed, taps))
        if _few(t):
            _image_gradients(t, z, None, turned, _cut(dx, part))
        else:
            name = "transposed filters", window, m
            u = _kept_filters(w, name, partial(_transposed_filters, turned, t))
            _image_gradients(t, z, u, None, _cut(dx, part))
    return _cropped(dx, shape[1])


def conv2d_dw(x: np.ndarray, g: np.ndarray, window: Window, shape: Shape, m: int) -> np.ndarray:
    """Gradient by a weight of `shape`, for an output gradient g."""
    x, g = _images(x), _images(g)
    taps: np.ndarray | None = None
    for part, t in _waves(x.shape, g.shape, window, m):
        v = _transformed_images(_cut(x, part), t)
        z = _transformed_gradients(_cut(g, part), t)
        more = _filter_gradients(t, v, z)
        taps = more if taps is None else taps + more
    assert taps is not None  # a batch has images
    return np.ascontiguousarray(taps[:, :, : shape[1], : shape[0]]).transpose(3, 2, 0, 1)


def _few(t: Layer) -> bool:
    """Whether filters are used by so few tiles that they are not worth keeping transformed."""
    return t.chunks * t.groups <= -(-_ONCE // MR)


def _taps(window: Window) -> int:
    return -(-window.kernel[0] // window.stride[0])


def _images(x: np.ndarray) -> np.ndarray:
    """x (N, C, H, W) channels last, filled up with channels of zeros to whole vectors."""
    n, c, h, w = x.shape
    if c % LANES == 0 and x.dtype == np.float32 and is_channels_last(x):
        return x
    full = empty_image((n, -(-c // LANES) * LANES, h, w), np.float32)
    full[:, :c], full[:, c:] = x, 0
    return full


def _cropped(x: np.ndarray, channels: int) -> np.ndarray:
    """The first `channels` of x, dense."""
    if channels == x.shape[1]:
        return x
    out = empty_image((len(x), channels, *x.shape[2:]), x.dtype)
    out[...] = x[:, :channels]
    return out


def _filters(w: np.ndarray) -> np.ndarray:
    """w (O, I, kH, kW) as (kH, kW, I, O), I and O filled up with zeros to whole vectors."""
    taps = taps_of(w)
    lacking = [-size % LANES for size in taps.shape[2:]]
    return np.pad(taps, [(0, 0), (0, 0), *((0, n) for n in lacking)]) if any(lacking) else taps


def _covered(window: Window, image: Shape, output: Shape) -> bool:
    """Whether the windows see every pixel of the padded image."""
    return all(
        (count - 1) * stride + kernel >= size + padding
        for size, count, stride, kernel, padding in zip(
            image[2:], output[2:], window.stride, window.kernel, window.padding, strict=True
        )
    )


def _waves(image: Shape, output: Shape, window: Window, m: int) -> Iterator[tuple[slice, Layer]]:
    """The batch in parts whose transformed tiles take at most _WAVE bytes."""
    whole = _layer(image, output, window, m)
    tiles = whole.chunks * whole.groups * MR
    depth = max(whole.channels * whole.stride**2, whole.filters)
    size = 4 * depth * tiles * (m + whole.r - 1) ** 2
    images = max(1, image[0] * _WAVE // size)
    for start in range(0, image[0], images):
        count = min(images, image[0] - start)
        layer = _layer((count, *image[1:]), (count, *output[1:]), window, m)
        yield slice(start, start + count), layer


def _cut(array: np.ndarray, part: slice) -> np.ndarray:
    return array if part == slice(0, len(array)) else array[part]


def _layer(image: Shape, output: Shape, window: Window, m: int) -> Layer:
    (n, channels, height, width), (_, filters, down, across) = image, output
    tiles = -(-down // m) * -(-across // m)
    # At least two tasks, unless so few tiles would make products too small to be fast.
    chunk = max(1, min(n, _CHUNK // tiles, max(64 // tiles, -(-n // 2))))
    return Layer(
        n, channels, height, width, filters, down, across,
        window.kernel[0], window.stride[0], *window.padding, m, _taps(window),
        -(-down // m), -(-across // m), chunk, -(-chunk * tiles // MR), -(-n // chunk),
    )  # fmt: skip


def _transformed_images(x: np.ndarray, t: Layer) -> np.ndarray:
    """V, which the output and the filters' gradient want."""
    run = into_frequencies(t.m, t.r).images
    return _kept(run, x, t, t.stride**2 * t.channels // LANES)


def _transformed_gradients(g: np.ndarray, t: Layer) -> np.ndarray:
    """Z, which both gradients want."""
    run = into_frequencies(t.m, t.r).gradients
    return _kept(run, g, t, t.filters // LANES)


def _kept(run: Callable[..., None], source: np.ndarray, t: Layer, blocks: int) -> np.ndarray:
    """Transformed tiles of `source`, kept with it if they are not _LARGE."""
    # A panel, or a strip of a matrix unit, of which one vector is lacking reads a block too many.
    size = (t.m + t.r - 1) ** 2 * plane_step(blocks, t.chunks * t.groups) + A_BLOCK_BYTES
    if size > _LARGE:
        return _tiles(run, source, t, size)
    return memoize(source, (run, t), lambda: _tiles(run, source, t, size))


def _tiles(run: Callable[..., None], source: np.ndarray, t: Layer, size: int) -> np.ndarray:
    out, groups = aligned_bytes(size), t.chunks * t.groups
    loop = NativeTask(run, t, address(source), _zeros(t), address(out))
    parallel_for(loop, groups, grain=-(-groups // 16))
    return out


def _kept_filters(w: np.ndarray, name: Hashable, compute: Callable[[], np.ndarray]) -> np.ndarray:
    """Transformed filters, kept with w until others that were kept later take _FILTERS bytes.

    A network's filters are used in a row; then they lie there until its parameters move, while
    another network's are used.
    """
    found: np.ndarray | None = attached(w, name)
    if found is not None:
        return found
    u = memoize(w, name, compute)
    if attached(w, name) is u:
        kept, key = _kept_here.filters, (id(w), name)
        kept.pop(key, None)  # of before w was written
        for dead in [k for k, (weights, _) in kept.items() if weights() is None]:
            del kept[dead]
        kept[key] = weakref.ref(w), u.nbytes
        while len(kept) > 1 and sum(size for _, size in kept.values()) > _FILTERS:
            oldest = next(iter(kept))
            weights = kept.pop(oldest)[0]()
            if weights is not None:
                evict(weights, oldest[1])
    return u


class _Kept(threading.local):
    """The transformed filters that a thread has kept, the oldest first, and their bytes."""

    def __init__(self) -> None:
        self.filters: dict[tuple[int, Hashable], tuple[weakref.ref[np.ndarray], int]] = {}


_kept_here = _Kept()


def _transformed_filters(taps: np.ndarray, t: Layer) -> np.ndarray:
    """U, the phases' channels one below the other."""
    return _filters_of(taps, t, side_by_side=False)


def _transposed_filters(turned: np.ndarray, t: Layer) -> np.ndarray:
    """U^T, the phases' panels side by side."""
    return _filters_of(turned, t, side_by_side=True)


def _filters_of(taps: np.ndarray, t: Layer, *, side_by_side: bool) -> np.ndarray:
    rows, columns = taps.shape[2:]
    phases, panels = t.stride**2, -(-columns // (NR_VECTORS * LANES))
    alone = phases if side_by_side else 1
    together = phases * rows // alone
    out = aligned_bytes((t.m + t.r - 1) ** 2 * filter_step(together, alone * panels))
    loop = NativeTask(
        into_frequencies(t.m, t.r).filters, address(taps), _zeros(t), t.kernel, t.stride, rows,
        columns, side_by_side, address(out),
    )  # fmt: skip
    units = alone * filter_units(together)
    parallel_for(loop, units, grain=-(-units // 16))
    return out


def _outputs(
    t: Layer, v: np.ndarray, u: np.ndarray | None, taps: np.ndarray | None, y: np.ndarray
) -> None:
    """y from V and U, or the taps themselves."""
    groups, panels = t.chunks * t.groups, -(-t.filters // (NR_VECTORS * LANES))
    if u is None:
        rows, wide = groups, _together(panels)
    else:
        rows, wide = _blocking((groups, panels), _TILE, _SUMS, 1, thread_count())
    deep = _DEEP // LANES
    places = _places(t, rows, wide, t.filters, workspace_bytes(max(deep, FRESH), rows * MR))
    loop = NativeTask(
        from_frequencies(t.m, t.r).outputs,
        t, address(v), *_filter_room(t, u, taps, wide), *places, address(y), rows, wide, deep,
    )  # fmt: skip
    parallel_for(loop, -(-groups // rows) * -(-panels // wide), grain=1)


def _image_gradients(
    t: Layer, z: np.ndarray, u: np.ndarray | None, turned: np.ndarray | None, dx: np.ndarray
) -> None:
    """dx from Z and U^T, or the transposed taps themselves."""
    panels = -(-t.channels // (NR_VECTORS * LANES))
    together = t.stride**2 if AMX and u is not None else 1  # phases
    tasks = t.stride**2 // together * t.chunks
    if u is None:
        rows, wide = t.groups, _together(tasks * panels)
    else:
        rows, wide = _blocking(
            (t.groups, together * panels),
            _TILE,
            _SUMS,
            tasks,
            thread_count(),
            ordered=True,
        )
    deep = _DEEP // LANES
    places = _places(t, rows, wide, t.channels, workspace_bytes(max(deep, FRESH), rows * MR))
    loop = NativeTask(
        from_frequencies(t.m, t.r).image_gradients,
        t, address(z), *_filter_room(t, u, turned, wide), *places, address(dx), rows, wide,
        together, deep,
    )  # fmt: skip
    parallel_for(loop, tasks * -(-together * panels // wide), grain=1)


def _places(
    t: Layer, rows: int, wide: int, channels: int, pieces: int
) -> tuple[Workspace, int, Workspace, Workspace]:
    """A thread's room for products, a row of zeros, a row that nobody reads, and room for `pieces`
    bytes of cut up factors.
    """
    sums = (t.m + t.r - 1) ** 2 * (rows * wide * NR_VECTORS * A_BLOCK_BYTES + GAP)
    return (
        Workspace("sums", sums),
        _zeros(t),
        Workspace("nowhere", 4 * channels),
        Workspace("pieces", pieces),
    )


def _filter_room(
    t: Layer, u: np.ndarray | None, taps: np.ndarray | None, wide: int
) -> tuple[int | Workspace, int]:
    """Transformed filters, or a thread's room for some and the taps they are made of."""
    if u is not None:
        return address(u), 0
    assert taps is not None
    size = (t.m + t.r - 1) ** 2 * filter_step(FRESH * LANES, wide)
    return Workspace("filters", size), address(taps)


def _filter_gradients(t: Layer, v: np.ndarray, z: np.ndarray) -> np.ndarray:
    out = empty((t.kernel, t.kernel, t.channels, t.filters), np.float32)
    blocks, panels = t.stride**2 * t.channels // LANES, -(-t.filters // (NR_VECTORS * LANES))
    size = LANES, NR_VECTORS * LANES
    rows, wide = _blocking((blocks, panels), size, _FILTER_SUMS, 1, thread_count())
    rows, depth = rows * LANES, -(-_TALL // MR)
    places = _places(t, -(-rows // MR), wide, t.filters, workspace_bytes(2 * depth, rows))
    loop = NativeTask(
        from_frequencies(t.m, t.r).filter_gradients,
        t, address(v), address(z), *places, address(out), rows, wide, depth,
    )  # fmt: skip
    parallel_for(loop, -(-blocks * LANES // rows) * -(-panels // wide), grain=1)
    return out


@lru_cache(512)
def _blocking(
    units: tuple[int, int],
    sizes: tuple[int, int],
    most: int,
    tasks: int,
    threads: int,
    *,
    ordered: bool = False,
) -> tuple[int, int]:
    """How many rows and columns of register tiles make a task: those with the least to read.

    There are `units` of rows and of columns in all, each of `sizes` elements. A task keeps at most
    `most` sums, and reads its rows and its columns once; `tasks` is how many there are for every
    block, or for every column of blocks if rows are `ordered`. Sums are the same whatever the
    blocks, so their number may depend on the threads.
    """

    def cost(block: tuple[int, int]) -> tuple[int, int]:
        down, across = (-(-unit // b) for unit, b in zip(units, block, strict=True))
        lacking = _BUSY * threads - tasks * (1 if ordered else down) * across
        return max(0, lacking), units[0] * sizes[0] * across + units[1] * sizes[1] * down

    rows, columns = ({-(-unit >> k) for k in range(unit.bit_length() + 1)} for unit in units)
    blocks = [(r, c) for r in sorted(rows) for c in sorted(columns)]
    small = [b for b in blocks if math.prod(b) * math.prod(sizes) <= most]
    return min(small or blocks[:1], key=cost)


def _together(panels: int) -> int:
    """How many of so many panels to transform together, so that no thread is idle."""
    return max(1, min(_WIDE, panels // (2 * thread_count())))


def _zeros(t: Layer) -> int:
    """Address of a row of zeros as long as any pixel or tap of this layer."""
    return address(_row_of_zeros(max(t.channels, t.filters)))


@cache
def _row_of_zeros(size: int) -> np.ndarray:
    return np.zeros(size, np.float32)
