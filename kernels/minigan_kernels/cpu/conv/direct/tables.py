"""From shapes to tasks: the tables and sizes of the loops in `macrokernels`, built once per shape.

Offsets are in bytes. They count from the first value that a task's first window sees: in the source
itself, or in its packed part.
"""

from __future__ import annotations

from functools import lru_cache
from itertools import accumulate
from typing import Any, NamedTuple

import numpy as np

from ....checks import Pair, Window
from ...isa.simd import LANES
from ...runtime.workspace import Workspace
from .geometry import (
    Blocks,
    Grid,
    Grids,
    SegmentTables,
    backward,
    blocks,
    forward,
    grid_offsets,
    merged,
    segment_tables,
)
from .macrokernels import (
    Col2imSizes,
    Col2imTask,
    ConvolutionSizes,
    ConvolutionTask,
    CorrelationSizes,
    CorrelationTask,
)
from .microkernel import KC, NR, NR_BYTES, Form, Segments, accumulator_bytes
from .pack import Band

_TASK_PIXELS = 512  # outputs in a task: enough to amortise misses to L3 and memory
_LEAST_PIXELS = 64  # outputs in a task, if there are few
_BAND_BYTES = 1 << 19  # that a task packs, if it can: half of an L2
_TASK_COUNT = 16  # enough to balance a few cores
_SLICE_FLOATS = 1 << 20  # in all split-K slices of a weight gradient
_TASK_FLOATS = 1 << 17  # accumulated by one task of a weight gradient
_PLANE_CHANNELS = 16  # packed side by side for a weight gradient: a cache line
_CACHE_LINE = 64

Shape = tuple[int, ...]


class Tables:
    """Tables of int64 for compiled code; they live as long as this does."""

    def __init__(self) -> None:
        self._arrays: list[np.ndarray] = []

    def add(self, values: Any) -> int:
        """The address of a table with these values."""
        array = np.ascontiguousarray(values, np.int64)
        self._arrays.append(array)
        return array.ctypes.data

    def add_segments(self, tables: SegmentTables) -> Segments:
        offsets, lengths, k_blocks = map(self.add, tables)
        return Segments(offsets, lengths, tables.offsets.size, k_blocks, tables.k_blocks.size - 1)


class Images(NamedTuple):
    """Images (N, C, H, W) by their shape and their strides in bytes."""

    shape: Shape
    strides: Shape


class Source(NamedTuple):
    """How a macrokernel reads images: packed, or in place. Strides are in bytes."""

    packed: int  # 1, or 0
    band: Band
    image_stride: int
    plane_stride: int
    line_stride: int
    pixel_stride: int
    packed_bytes: int


def _in_place(x: Images, first_pixel: int) -> Source:
    band = Band(*[0] * len(Band._fields))._replace(start_bytes=first_pixel * x.strides[3])
    return Source(0, band, x.strides[0], 0, x.strides[2], x.strides[3], 0)


def _packed(
    tables: Tables,
    x: Images,
    channels: np.ndarray,
    size: Pair,
    pixels: Pair,
    *,
    planes_first: bool = False,
) -> Source:
    """`size` (images, lines) of x, and the `pixels` from the first to the last, packed.

    channels[plane, k] are the channels of a plane.
    """
    (planes, width), (images, lines), (first, last) = channels.shape, size, pixels
    offsets = channels * x.strides[1]
    begin, end = min(max(0, first), last), max(min(x.shape[3], last), first)
    if begin >= end:  # nothing but padding
        begin = end = last
    left, count, right = (begin - first) * width, end - begin, (last - end) * width
    pixel = 4 * width
    line = pixel * (last - first)
    image, plane = lines * line, images * lines * line
    if not planes_first:
        image, plane = planes * lines * line, lines * line
    contiguous = (np.diff(offsets, axis=1) == 4).all(axis=1)
    run = width
    if planes == 1 and contiguous[0] and x.strides[3] == pixel:  # a line is one run of floats
        run, count = count * width, min(count, 1)
    band = Band(
        x.strides[0], x.strides[2], x.strides[3], x.shape[2], begin * x.strides[3],
        run, left, count, right, image, plane, line,
        tables.add(offsets), 8 * width, tables.add(contiguous),
    )  # fmt: skip
    return Source(1, band, image, plane, line, pixel, images * planes * lines * line)


def _planes(channels: int, width: int) -> np.ndarray:
    """Channels in planes of `width`; the last plane repeats its last channel."""
    count = -(-channels // width)
    return np.minimum(np.arange(count * width), channels - 1).reshape(count, width)


def _lanewise_planes(inputs: int, outputs: int, groups: int) -> np.ndarray:
    """For every input of a group a plane: what each output sees as that input."""
    each = inputs // groups
    return np.arange(outputs) // (outputs // groups) * each + np.arange(each)[:, None]


def _workspace(*part_bytes: int) -> tuple[list[int], Workspace]:
    """The offsets of the parts of a workspace, each from a cache line on, and the workspace.

    Each part has a row of a panel to spare: vectors are read to their end.
    """
    sizes = [-(-(size + NR_BYTES) // _CACHE_LINE) * _CACHE_LINE for size in part_bytes]
    *offsets, total = accumulate(sizes, initial=0)
    return offsets, Workspace("direct", total)


class ConvolutionPlan(NamedTuple):
    """A task of `convolve`, and how its filters are packed."""

    task: ConvolutionTask
    weight_rows: list[np.ndarray]  # the rows to pack for each phase
    workspace: Workspace
    tables: Tables


@lru_cache(512)
def convolution_plan(
    x_shape: Shape,
    x_strides: Shape,
    y_shape: Shape,
    y_strides: Shape,
    window: Window,
    groups: int,
    transposed: bool,
) -> ConvolutionPlan:
    """For outputs y of images x; `transposed`: for the gradient y with respect to images, where x
    is that with respect to outputs.

    More than one group is done lanewise.
    """
    x, y, lanewise = Images(x_shape, x_strides), Images(y_shape, y_strides), groups > 1
    grids = (backward if transposed else forward)(window, (y_shape[2], y_shape[3]))
    inputs = x_shape[1] // groups
    channels = (
        _lanewise_planes(x_shape[1], y_shape[1], groups) if lanewise else _planes(inputs, inputs)
    )
    pixels = grids.low[1], (grids.size[1] - 1) * grids.stride[1] + grids.high[1] + 1
    cut = _convolution_blocks(x_shape[0], grids, 4 * channels.size * (pixels[1] - pixels[0]))
    tables = Tables()
    if not lanewise and (inputs == 1 or x_strides[1] == 4) and _no_padding(x, grids, pixels):
        source = _in_place(x, pixels[0])
    else:
        size = cut.block_images, grids.lines_seen(cut.block_lines)
        source = _packed(tables, x, channels, size, pixels)
    form = Form(source.pixel_stride * grids.spacing if lanewise else 4, NR_BYTES, int(lanewise), 0)
    phases, weight_rows, filters_offset = [], [], 0
    for grid in grids.grids:
        taps, each = np.array([tap[0] for tap in grid.taps], np.int64), np.arange(inputs)
        order = taps * inputs + each[:, None] if lanewise else taps[:, None] * inputs + each
        weight_rows.append(order.ravel())
        offsets = _phase_offsets(grid, grids, cut, source, y)
        starts = [
            plane * source.plane_stride
            + (down - grids.low[0]) * source.line_stride
            + (across - grids.low[1]) * source.pixel_stride
            for plane in range(len(channels))
            for _, down, across in grid.taps
        ]
        found = merged(starts, 1 if lanewise else inputs, form.a_stride)
        segments = tables.add_segments(segment_tables(found, form.a_stride))
        panel = order.size * NR_BYTES
        phases.append((*grid.size, *map(tables.add, offsets), *segments, filters_offset, panel))
        filters_offset += -(-y_shape[1] // NR) * panel
    rows = cut.block_images * cut.block_lines * grids.size[1]
    (_, accumulators), workspace = _workspace(source.packed_bytes, accumulator_bytes(rows))
    sizes = ConvolutionSizes(
        source.packed, len(channels), x_strides[0], x_strides[2], grids.stride[0], -grids.low[0],
        grids.lines_seen(1), y_shape[1], y_strides[0], grids.grids[0].step[0] * y_strides[2],
        tables.add(phases), len(phases), accumulators,
    )  # fmt: skip
    return ConvolutionPlan(
        ConvolutionTask(cut, source.band, form, sizes), weight_rows, workspace, tables
    )


def _convolution_blocks(images: int, grids: Grids, line_bytes: int) -> Blocks:
    """Blocks of outputs; what they see of a line takes `line_bytes`, packed."""
    total = images * grids.size[0] * grids.size[1]
    pixels = min(_TASK_PIXELS, max(_LEAST_PIXELS, total // _TASK_COUNT))
    return blocks(
        images,
        grids.size,
        pixels,
        lambda lines: line_bytes * grids.lines_seen(lines) <= _BAND_BYTES,
    )


def _no_padding(x: Images, grids: Grids, pixels: Pair) -> bool:
    """Whether all windows are within x."""
    return (
        grids.low[0] >= 0
        and grids.low[0] + grids.lines_seen(grids.size[0]) <= x.shape[2]
        and grids.low[1] >= 0
        and pixels[1] <= x.shape[3]
    )


def _phase_offsets(
    grid: Grid, grids: Grids, cut: Blocks, source: Source, y: Images
) -> tuple[np.ndarray, np.ndarray]:
    """The rows of a phase in a block: where its pixels are in the source, and in y."""
    size = cut.block_images, min(cut.block_lines, grid.size[0]), grid.size[1]
    (down, across), (_, _, line, pixel) = grids.stride, y.strides
    steps = source.image_stride, down * source.line_stride, across * source.pixel_stride
    out = y.strides[0], grid.step[0] * line, grid.step[1] * pixel
    origin = grid.origin[0] * line + grid.origin[1] * pixel
    return grid_offsets(size, steps), origin + grid_offsets(size, out)


class Col2imPlan(NamedTuple):
    """A task of `gemm_col2im`."""

    task: Col2imTask
    workspace: Workspace
    tables: Tables


def column_size(window: Window, channels: int) -> tuple[int, int, int]:
    """Taps down and across, filled up to whole cells, and floats in the column of a pixel."""
    down, across = (-(-k // s) * s for k, s in zip(window.kernel, window.stride, strict=True))
    return down, across, down * across * channels


@lru_cache(512)
def col2im_plan(
    x_shape: Shape, x_strides: Shape, y_shape: Shape, y_strides: Shape, window: Window
) -> Col2imPlan:
    """For the gradient y with respect to images with few channels, where x is that with respect to
    outputs.
    """
    _, stride, padding, _ = window
    _, depth, height, width = x_shape
    taps_down, taps_across, columns = column_size(window, y_shape[1])
    down, across = taps_down // stride[0], taps_across // stride[1]
    cells_down, cells = (
        (size - 1 + p) // s + 1 for size, p, s in zip(y_shape[2:], padding, stride, strict=True)
    )
    line = 4 * columns * (across - 1 + max(width, cells))  # bytes of a line of columns
    cut = blocks(
        x_shape[0],
        (cells_down, 1),
        cells_down,
        lambda lines: (lines + down - 1) * line <= _BAND_BYTES // 2,
    )._replace(block_images=1)
    most = min(cut.block_lines + down - 1, height)  # lines of the source that a block sees
    tables, x = Tables(), Images(x_shape, x_strides)
    if depth == 1 or x_strides[1] == 4:
        source = _in_place(x, 0)
    else:
        source = _packed(tables, x, _planes(depth, depth), (1, most), (0, width))
    offsets, workspace = _workspace(
        source.packed_bytes,
        most * line + NR_BYTES,
        line + NR_BYTES,
        4 * cells * stride[1] * y_shape[1] + NR_BYTES,
        accumulator_bytes(most * width),
    )
    sizes = Col2imSizes(
        source.packed, x_strides[0], x_strides[2], height, width, *window.kernel, down,
        across, *stride, *padding, cells, y_shape[1], y_shape[2], y_shape[3], depth,
        tables.add(grid_offsets((most, width), (source.line_stride, source.pixel_stride))),
        tables.add(grid_offsets((most, width), (line, 4 * columns))),
        columns, line, *offsets[1:],
    )  # fmt: skip
    segments = tables.add_segments(segment_tables([(0, depth)], 4))
    task = Col2imTask(cut, source.band, Form(4, NR_BYTES, 0, 0), sizes, segments)
    return Col2imPlan(task, workspace, tables)


class CorrelationPlan(NamedTuple):
    """A task of `correlate`: `task_count` of them, and split-K slices to add up."""

    task: CorrelationTask
    task_count: int
    k_slices: int
    workspace: Workspace
    tables: Tables


@lru_cache(512)
def correlation_plan(
    x_shape: Shape,
    x_strides: Shape,
    g_shape: Shape,
    g_strides: Shape,
    window: Window,
    groups: int,
    dw_stride: int,
) -> CorrelationPlan:
    """For the weight gradient from images x and output gradients g, whose rows are `dw_stride`
    bytes apart.

    If there are split-K slices, each has rows of its own without gaps. More than one group is done
    lanewise.
    """
    (kh, kw), (sy, sx), (py, px), (dy, dx) = window
    n, filters, height, width = g_shape
    inputs, panels, lanewise = x_shape[1] // groups, -(-filters // NR), groups > 1
    cut = blocks(n, (height, width), KC, lambda lines: True)
    floats = kh * kw * inputs * filters
    k_slices = max(1, min(_TASK_COUNT, _SLICE_FLOATS // floats, cut.task_count))
    if lanewise:
        channels = _lanewise_planes(x_shape[1], filters, groups)
        task_planes, task_panels = len(channels), panels
    else:
        channels = _planes(inputs, min(inputs, _PLANE_CHANNELS))
        task_planes, task_panels = _task_size(len(channels), panels, kh * kw * inputs, k_slices)
    tables, seen = Tables(), (kh - 1) * dy + 1
    source = _packed(
        tables,
        Images(x_shape, x_strides),
        channels,
        (cut.block_images, (cut.block_lines - 1) * sy + seen),
        (-px, (width - 1) * sx + (kw - 1) * dx + 1 - px),
    )
    gradient = _correlation_gradient(tables, Images(g_shape, g_strides), cut, lanewise)
    taps = grid_offsets((kh, kw), (dy * source.line_stride, dx * source.pixel_stride))
    width_of_plane = 1 if lanewise else channels.shape[1]
    found = _channel_blocks(taps, inputs, width_of_plane, task_planes, source.plane_stride)
    rows = max(offsets.size for offsets in found.x_offsets)
    (_, *offsets), workspace = _workspace(
        source.packed_bytes, gradient.packed_bytes, accumulator_bytes(rows)
    )
    form = Form(sx * source.pixel_stride, gradient.pixel_stride, int(lanewise), 0)
    lines = grid_offsets(
        (cut.block_images, cut.block_lines), (source.image_stride, sy * source.line_stride)
    )
    segments = segment_tables([(int(line), width) for line in lines], form.a_stride)
    sizes = CorrelationSizes(
        gradient.packed, x_strides[0], sy, py, seen, g_strides[0], g_strides[2],
        gradient.plane_stride or NR_BYTES, -(-width // KC), filters, task_panels, k_slices,
        4 * floats, len(found.x_offsets), tables.add(found.starts),
        tables.add(np.concatenate(found.x_offsets)),
        tables.add(np.concatenate(found.dw_rows) * (4 * filters if k_slices > 1 else dw_stride)),
        *offsets,
    )  # fmt: skip
    bands = source.band, gradient.band
    task = CorrelationTask(cut, *bands, form, tables.add_segments(segments), sizes)
    count = k_slices * len(found.x_offsets) * -(-panels // task_panels)
    return CorrelationPlan(task, count, k_slices, workspace, tables)


def _task_size(planes: int, panels: int, rows: int, k_slices: int) -> Pair:
    """Planes of channels and panels of filters for a task of a weight gradient.

    `rows` are the taps of all channels.
    """
    deep, wide = planes, panels
    while deep > 1 or wide > 1:
        task_rows = rows // -(-planes // deep)
        tasks = k_slices * -(-planes // deep) * -(-panels // wide)
        if tasks >= _TASK_COUNT and task_rows * wide * NR <= _TASK_FLOATS:
            break
        if wide == 1 or (deep > 1 and task_rows > wide * NR):
            deep = -(-deep // 2)
        else:
            wide = -(-wide // 2)
    return deep, wide


def _correlation_gradient(tables: Tables, g: Images, cut: Blocks, lanewise: bool) -> Source:
    """The output gradient as the packed right operand: in place, if it is stored so."""
    n, filters, height, width = g.shape
    if (
        (filters == 1 or g.strides[1] == 4)
        and filters % (NR if lanewise else LANES) == 0
        and (height == 1 or g.strides[2] == width * g.strides[3])
        and (n == 1 or g.strides[0] == height * g.strides[2])
    ):
        return _in_place(g, 0)
    size = cut.block_images, cut.block_lines
    return _packed(tables, g, _planes(filters, NR), size, (0, width), planes_first=True)


class _ChannelBlocks(NamedTuple):
    """The rows of a weight gradient, taps by channels, by blocks of planes of channels."""

    starts: list[Pair]  # the first plane and the first row of each block, and the end
    x_offsets: list[np.ndarray]  # by block, the offsets of its rows in the images
    dw_rows: list[np.ndarray]  # by block, the numbers of its rows in the weight gradient


def _channel_blocks(
    taps: np.ndarray, inputs: int, width: int, task_planes: int, plane_stride: int
) -> _ChannelBlocks:
    """Blocks of `task_planes` planes of `width` channels; taps has the offset of each tap."""
    found = _ChannelBlocks([(0, 0)], [], [])
    planes = -(-inputs // width)
    for first in range(0, planes, task_planes):
        last = min(first + task_planes, planes)
        own = np.arange(first * width, min(last * width, inputs))
        inner = (own // width - first) * plane_stride + own % width * 4
        found.x_offsets.append((taps[:, None] + inner).ravel())
        found.dw_rows.append((np.arange(taps.size)[:, None] * inputs + own).ravel())
        found.starts.append((last, found.starts[-1][1] + found.x_offsets[-1].size))
    return found
