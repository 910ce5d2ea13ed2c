"""The three loops around `indirect_gemm`: convolution, GEMM with col2im, and weight gradient.

A task takes some lines of one image, or some images. It packs what its windows see to a workspace
that stays in L2, with zeros where the padding is. Or it works in place, where the channels of the
image are innermost in memory and no window sees padding. The tables' offsets count from the task's
first pixel, so all tasks share them.
"""

# mypy: disable-error-code="call-arg, var-annotated"
from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ...activation import LineEpilogue, bias_leaky
from ...compiler.jit import jit
from ...isa.simd import VECTOR_BYTES, load, load_int64, store, zeros
from .geometry import Blocks
from .microkernel import NR, NR_BYTES, Form, Panels, Rows, Segments, clear, indirect_gemm, move
from .pack import Band, pack_band


class Operands(NamedTuple):
    """Addresses of a product's two factors and of its result."""

    a: int
    b: int
    c: int


@jit()
def block_at(p: Blocks, block: int) -> tuple[int, int, int, int]:
    """The first image and line of a block, and how many it has of both."""
    down = -(-p.lines // p.block_lines)
    n, line = block // down * p.block_images, block % down * p.block_lines
    return n, line, min(p.block_images, p.images - n), min(p.block_lines, p.lines - line)


class ConvolutionSizes(NamedTuple):
    """What `convolve` has to know beside; strides are in bytes, from one to the next."""

    packed: int  # 1: the source is packed; 0: it is used in place
    planes: int
    image_stride: int  # of the source
    line_stride: int
    stride: int  # lines of the source from one line of a phase's grid to the next
    above: int  # lines that a grid's first line sees above the source's first
    seen: int  # lines of the source that one line of the grid sees
    columns: int  # filters
    y_image_stride: int
    y_grid_stride: int  # of the lines of a phase's grid
    phases: int  # address of a table of `Phase`s
    phase_count: int
    accumulators_offset: int  # in the workspace, which begins with the packed images


class ConvolutionTask(NamedTuple):
    """A convolution for `convolve`, whatever its arrays."""

    blocks: Blocks
    band: Band
    form: Form
    sizes: ConvolutionSizes


class Phase(NamedTuple):
    """Outputs that see the same taps: a grid of `lines` x `pixels`, and its tables."""

    lines: int
    pixels: int
    x_offsets: int  # address of the table of rows of the left operand
    y_offsets: int  # the same for the output
    segments: Segments
    filters_offset: int  # bytes from the first packed filters to those of this phase
    panel_stride: int


PHASE_BYTES = 8 * 11


@jit()
def _phase_at(p: int) -> Phase:
    """The phase whose 11 numbers begin at address p."""
    lines, pixels = load_int64(p), load_int64(p + 8)
    x_offsets, y_offsets = load_int64(p + 16), load_int64(p + 24)
    offsets, lengths, count = load_int64(p + 32), load_int64(p + 40), load_int64(p + 48)
    segments = Segments(offsets, lengths, count, load_int64(p + 56), load_int64(p + 64))
    filters_offset, panel_stride = load_int64(p + 72), load_int64(p + 80)
    return Phase(lines, pixels, x_offsets, y_offsets, segments, filters_offset, panel_stride)


@jit()
def convolve(
    t: ConvolutionTask,
    operands: Operands,
    workspace: int,
    epilogue: LineEpilogue,
    first: int,
    last: int,
) -> None:
    """Outputs c of the blocks first..last, from images a and packed filters b.

    `epilogue.lines` are the lines of all outputs, which get a bias and a LeakyReLU; or none.
    """
    s = t.sizes
    for block in range(first, last):
        n, line, images, lines = block_at(t.blocks, block)
        top = line * s.stride - s.above
        source = operands.a + n * s.image_stride
        if s.packed:
            seen = (lines - 1) * s.stride + s.seen
            pack_band(t.band, source, 0, s.planes, images, top, seen, workspace)
            source = workspace
        else:
            source += top * s.line_stride + t.band.start_bytes
        target = operands.c + n * s.y_image_stride + line * s.y_grid_stride
        for k in range(s.phase_count):
            phase = _phase_at(s.phases + k * PHASE_BYTES)
            rows = images * max(0, min(lines, phase.lines - line)) * phase.pixels
            if rows > 0:
                indirect_gemm(
                    t.form,
                    rows,
                    s.columns,
                    Rows(source, phase.x_offsets),
                    phase.segments,
                    Panels(operands.b + phase.filters_offset, phase.panel_stride),
                    Rows(target, phase.y_offsets),
                    workspace + s.accumulators_offset,
                )
        if len(epilogue.lines) > 0:
            begin = n * t.blocks.lines + line
            end = begin + images * lines
            bias_leaky(epilogue.lines, epilogue.bias, epilogue.lines, epilogue.slope, begin, end)


class Col2imSizes(NamedTuple):
    """What `gemm_col2im` has to know beside; strides are in bytes, from one to the next.

    The padded output is cut into cells of stride_y x stride_x pixels. All taps that a pixel of the
    source has in a cell are added to it together.
    """

    packed: int  # 1: the source is packed; 0: it is used in place
    image_stride: int  # of the source
    line_stride: int
    height: int  # of the source
    width: int
    kernel_y: int
    kernel_x: int
    down: int  # cells that one pixel of the source reaches, vertically
    across: int
    stride_y: int
    stride_x: int
    padding_y: int
    padding_x: int
    cells: int  # in a line of the padded output
    channels: int  # of the output
    out_height: int
    out_width: int
    depth: int  # channels of the source
    x_offsets: int  # address of the table of its pixels
    column_offsets: int  # address of the table of their columns
    columns: int  # floats that one pixel of the source adds to the output: its column
    columns_stride: int  # of a line of columns
    columns_offset: int  # in the workspace, which begins with the packed lines
    zeros_offset: int  # a line of columns that are zero
    line_offset: int  # a line of the padded output
    accumulators_offset: int


class Col2imTask(NamedTuple):
    """A convolution to few channels for `gemm_col2im`, whatever its arrays."""

    blocks: Blocks
    band: Band
    form: Form
    sizes: Col2imSizes
    segments: Segments


@jit()
def gemm_col2im(t: Col2imTask, operands: Operands, workspace: int, first: int, last: int) -> None:
    """Outputs c with few channels, from images a and packed filters b.

    One GEMM computes what each pixel of the source adds to the output by all taps, its column; then
    col2im adds the columns up. A block is some lines of cells.
    """
    s = t.sizes
    columns, empty = workspace + s.columns_offset, workspace + s.zeros_offset
    column_lines = np.empty(s.down, np.int64)
    before = 4 * (s.across - 1) * s.columns  # bytes of zeros before a line of columns
    behind = s.columns_stride - before - 4 * s.width * s.columns
    clear(empty, s.columns_stride // 4 + NR)
    for block in range(first, last):
        n, cell, _, lines = block_at(t.blocks, block)
        end = cell + lines
        top, bottom = max(0, cell - s.down + 1), min(s.height, end)
        source = operands.a + n * s.image_stride
        if s.packed:
            pack_band(t.band, source, 0, 1, 1, top, bottom - top, workspace)
            source = workspace
        else:
            source += top * s.line_stride
        for k in range(bottom - top):
            clear(columns + k * s.columns_stride, before // 4)
            clear(columns + (k + 1) * s.columns_stride - behind, behind // 4)
        if bottom > top:
            indirect_gemm(
                t.form,
                (bottom - top) * s.width,
                s.columns,
                Rows(source, s.x_offsets),
                t.segments,
                Panels(operands.b, s.depth * NR_BYTES),
                Rows(columns + before, s.column_offsets),
                workspace + s.accumulators_offset,
            )
            _clear_filling(s, columns + before, bottom - top)
        for padded_line in range(cell * s.stride_y, end * s.stride_y):
            line = padded_line - s.padding_y
            if not 0 <= line < s.out_height:
                continue
            for u in range(s.down):
                seen = padded_line // s.stride_y - u
                tap = u * s.stride_y + padded_line % s.stride_y
                inside = top <= seen < bottom and tap < s.kernel_y
                column_lines[u] = columns + (seen - top) * s.columns_stride if inside else empty
                column_lines[u] += before
                column_lines[u] += 4 * tap * s.across * s.stride_x * s.channels
            _col2im_line(s, column_lines, workspace + s.line_offset)
            target = operands.c + 4 * (n * s.out_height + line) * s.out_width * s.channels
            cropped = workspace + s.line_offset + 4 * s.padding_x * s.channels
            move(cropped, target, s.out_width * s.channels)


@jit()
def _clear_filling(s: Col2imSizes, columns: int, lines: int) -> None:
    """Clear what the taps that fill up a line to whole cells have added: zero times infinity."""
    filling = (s.across * s.stride_x - s.kernel_x) * s.channels
    if filling == 0:
        return
    tap_line = 4 * s.across * s.stride_x * s.channels  # bytes
    for k in range(lines):
        for i in range(s.width):
            column = columns + k * s.columns_stride + 4 * i * s.columns
            for u in range(s.kernel_y):
                clear(column + u * tap_line + 4 * s.kernel_x * s.channels, filling)


@jit()
def _col2im_line(s: Col2imSizes, column_lines: np.ndarray, line: int) -> None:
    """A line of the padded output: the sum of `across` columns of each of the `column_lines`."""
    column, cell = 4 * s.columns, 4 * s.stride_x * s.channels  # bytes
    for j in range(s.cells):
        for part in range(0, cell, VECTOR_BYTES):
            total = zeros()
            for u in range(s.down):
                for v in range(s.across):
                    total = total + load(column_lines[u] + (j - v) * column + v * cell + part)
            store(line + j * cell + part, total)


class CorrelationSizes(NamedTuple):
    """What `correlate` has to know beside; strides are in bytes, from one to the next."""

    packed: int  # 1: the output gradient is packed; 0: it is used in place
    image_stride: int  # of the images
    stride: int  # lines of an image from one line of outputs to the next
    above: int  # lines that the first outputs see above its first
    seen: int  # lines that one line of outputs sees
    g_image_stride: int
    g_line_stride: int
    g_panel_stride: int  # where it is read
    line_segments: int  # in a line of outputs
    columns: int  # filters
    task_panels: int
    k_slices: int
    slice_bytes: int  # of the weight gradient of one slice
    channel_blocks: int
    block_starts: int  # address of a table: the first plane and row of each, and the end
    x_offsets: int  # address of the table of taps and channels in the images, all blocks' together
    dw_offsets: int  # the same in the weight gradient
    gradient_offset: int  # of the packed output gradient in the workspace; packed images come first
    accumulators_offset: int


class CorrelationTask(NamedTuple):
    """A weight gradient for `correlate`, whatever its arrays."""

    blocks: Blocks
    band: Band  # of the images
    g_band: Band  # of the output gradient
    form: Form
    segments: Segments
    sizes: CorrelationSizes


@jit()
def correlate(
    t: CorrelationTask, operands: Operands, workspace: int, first: int, last: int
) -> None:
    """Weight gradients c, or their split-K slices, from images a and output gradients b.

    A task takes one slice of the blocks of outputs, one block of channels, some panels of filters.
    """
    s = t.sizes
    packed_g = workspace + s.gradient_offset
    total = -(-t.blocks.images // t.blocks.block_images)
    total *= -(-t.blocks.lines // t.blocks.block_lines)
    across = -(-s.columns // (s.task_panels * NR))
    for task in range(first, last):
        k_slice = task // (across * s.channel_blocks)
        starts = s.block_starts + 16 * (task // across % s.channel_blocks)
        plane, row = load_int64(starts), load_int64(starts + 8)
        planes, rows = load_int64(starts + 16) - plane, load_int64(starts + 24) - row
        panel = task % across * s.task_panels
        columns = min(s.task_panels * NR, s.columns - panel * NR)
        dw = operands.c + k_slice * s.slice_bytes + panel * NR_BYTES
        begin = k_slice * total // s.k_slices
        for block in range(begin, (k_slice + 1) * total // s.k_slices):
            n, line, images, lines = block_at(t.blocks, block)
            top, seen = line * s.stride - s.above, (lines - 1) * s.stride + s.seen
            source = operands.a + n * s.image_stride
            pack_band(t.band, source, plane, planes, images, top, seen, workspace)
            g = operands.b + n * s.g_image_stride
            if s.packed:
                panels = -(-columns // NR)
                pack_band(t.g_band, g, panel, panels, images, line, lines, packed_g)
                g = packed_g
            else:
                g += line * s.g_line_stride + panel * NR_BYTES
            segments = Segments(
                t.segments.offsets,
                t.segments.lengths,
                images * lines * s.line_segments,
                t.segments.k_blocks,
                t.segments.k_block_count,
            )
            indirect_gemm(
                Form(t.form.a_stride, t.form.b_stride, t.form.lanewise, int(block > begin)),
                rows,
                columns,
                Rows(workspace, s.x_offsets + 8 * row),
                segments,
                Panels(g, s.g_panel_stride),
                Rows(dw, s.dw_offsets + 8 * row),
                workspace + s.accumulators_offset,
            )
