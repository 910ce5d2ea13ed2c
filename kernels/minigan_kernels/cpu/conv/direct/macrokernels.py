"""The loops of `direct`: parts of images laid out anew, and `products` over them.

A task takes some lines of one image, or some images. It copies what its windows see to memory of
its own that stays in the second cache, with zeros where the padding is; or it works in place, where
the image lies channels last and no window sees padding. The tables say where things are in either,
from the task's first pixel on, so they are the same for all tasks.
"""

# mypy: disable-error-code="call-arg, var-annotated"
from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ...activation import bias_leaky
from ...compiler.jit import jit
from ...isa.simd import VECTOR_BYTES, load, load_scalar, store, store_scalar, zeros
from .geometry import Blocks
from .microkernel import PANEL, WIDE, Walk, clear, move, products


class Band(NamedTuple):
    """How some lines of some images are laid out: [plane][image] or [image][plane], then [line].

    A line is `left` zeros, `pixels` times `width` floats, and `right` zeros. Steps are in bytes.
    """

    image: int  # in the source, from one image to the next
    line: int
    pixel: int
    height: int  # lines of the source; others are zero
    start: int  # offset of the first pixel that is copied, in its line
    width: int
    left: int
    pixels: int
    right: int
    out_image: int
    out_plane: int
    out_line: int


@jit()
def lay(
    t: Band,
    x: int,
    channels: np.ndarray,
    runs: np.ndarray,
    planes: int,
    images: int,
    top: int,
    lines: int,
    out: int,
) -> None:
    """Lay out `images` images from their line `top` on.

    channels[plane, k] says where the k-th float of a pixel's plane is, from the pixel on; where
    runs[plane], each is 4 bytes from the one before.
    """
    for n in range(images):
        for plane in range(planes):
            places = channels[plane]
            for line in range(lines):
                target = out + n * t.out_image + plane * t.out_plane + line * t.out_line
                y = top + line
                if not 0 <= y < t.height:
                    clear(target, t.left + t.pixels * t.width + t.right)
                    continue
                source = x + n * t.image + y * t.line + t.start
                clear(target, t.left)
                target += 4 * t.left
                if runs[plane]:
                    for pixel in range(t.pixels):
                        move(source + pixel * t.pixel + places[0], target, t.width)
                        target += 4 * t.width
                else:  # channel by channel: each lies in a line of its own
                    for k in range(t.width):
                        at, to = source + places[k], target + 4 * k
                        for _ in range(t.pixels):
                            store_scalar(to, load_scalar(at))
                            at += t.pixel
                            to += 4 * t.width
                    target += 4 * t.width * t.pixels
                clear(target, t.right)


@jit()
def pack(
    w: int, pitch: int, rows: np.ndarray, columns: int, out: int, first: int, last: int
) -> None:
    """Panels first..last of rows of w, `pitch` bytes apart, filled up with columns of zeros."""
    for panel in range(first, last):
        width = min(WIDE, columns - panel * WIDE)
        target = out + panel * len(rows) * PANEL
        for row in range(len(rows)):
            move(w + rows[row] * pitch + panel * PANEL, target, width)
            clear(target + 4 * width, WIDE - width)
            target += PANEL


class Job(NamedTuple):
    """What `convolve` has to know beside its tables; steps are in bytes."""

    walk: Walk
    copied: bool  # or in place
    planes: int
    image: int  # of the source
    line: int
    stride: int  # lines of the source from one line of a phase's grid to the next
    above: int  # lines of the source that a grid's first line sees above the source's first
    seen: int  # lines of the source that one line of the grid sees
    columns: int
    out_image: int
    out_lines: int  # from one line of a phase's grid to the next


PHASE = np.dtype([
    (name, np.int64) for name in (
        "lines", "pixels", "row", "run", "piece", "filters", "runs", "pieces", "panel",
    )
])  # fmt: skip
"""Outputs that see the same taps: a grid (lines, pixels), and where its parts of the tables begin.

`filters` is where the packed filters begin, in bytes, `panel` from one panel to the next.
"""


@jit()
def convolve(
    t: Job,
    blocks: Blocks,
    band: Band,
    channels: np.ndarray,
    consecutive: np.ndarray,
    phases: np.ndarray,
    places: np.ndarray,
    targets: np.ndarray,
    offsets: np.ndarray,
    lengths: np.ndarray,
    pieces: np.ndarray,
    x: int,
    filters: int,
    y: int,
    own: int,
    sums: int,
    ends: np.ndarray,
    bias: np.ndarray,
    slope: float,
    first: int,
    last: int,
) -> None:
    """Outputs of the blocks first..last; `own` and `sums` are this thread's memory. `ends` are the
    lines of all outputs, to which a bias and a LeakyReLU are applied, or none.
    """
    down = -(-blocks.lines // blocks.tall)
    for block in range(first, last):
        n, i = block // down * blocks.some, block % down * blocks.tall
        images, lines = min(blocks.some, blocks.images - n), min(blocks.tall, blocks.lines - i)
        top = i * t.stride - t.above
        source = x + n * t.image
        if t.copied:
            seen = (lines - 1) * t.stride + t.seen
            lay(band, source, channels, consecutive, t.planes, images, top, seen, own)
            source = own
        else:
            source += top * t.line + band.start
        for k in range(len(phases)):
            p = phases[k]
            rows = images * max(0, min(lines, p.lines - i)) * p.pixels
            if rows > 0:
                products(
                    t.walk, rows, source, places[p.row :],
                    p.runs, offsets[p.run :], lengths[p.run :],
                    pieces[p.piece : p.piece + p.pieces],
                    filters + p.filters, p.panel, t.columns,
                    y + n * t.out_image + i * t.out_lines, targets[p.row :], sums,
                )  # fmt: skip
        if len(ends) > 0:
            line = n * blocks.lines + i
            bias_leaky(ends, bias, ends, slope, line, line + images * lines)


class Spill(NamedTuple):
    """What `spill` has to know beside its tables; steps are in bytes."""

    walk: Walk
    copied: bool
    image: int  # of the source
    line: int
    height: int  # lines of the source
    width: int
    up: int  # lines of the source that reach one line of the output
    across: int
    stride_y: int
    stride_x: int
    top: int  # padding
    left: int
    spilt: int  # groups of stride_x pixels in a line of the output and its padding
    few: int  # channels of a pixel of the output
    out_height: int
    out_width: int
    depth: int  # channels of the source
    columns: int  # floats that a pixel of the source spills
    wide: int  # bytes from a line of these to the next


@jit()
def spill(
    t: Spill,
    blocks: Blocks,
    band: Band,
    channels: np.ndarray,
    consecutive: np.ndarray,
    places: np.ndarray,
    targets: np.ndarray,
    offsets: np.ndarray,
    lengths: np.ndarray,
    pieces: np.ndarray,
    x: int,
    filters: int,
    y: int,
    own: int,
    columns: int,
    empty: int,
    line: int,
    sums: int,
    first: int,
    last: int,
) -> None:
    """Lines of outputs with few channels, each the sum of what the pixels of the source spill.

    One product gives all taps of a pixel. A block is some groups of stride_y lines of the output.
    `own`, `columns`, `empty` (a line of zeros), `line` and `sums` are this thread's memory.
    """
    begin = np.empty(t.up, np.int64)
    down = -(-blocks.lines // blocks.tall)
    pitch, group = 4 * t.columns, 4 * t.stride_x * t.few
    before = (t.across - 1) * pitch
    behind = t.wide - before - t.width * pitch
    clear(empty, t.wide // 4 + WIDE)
    for block in range(first, last):
        n, i = block // down, block % down * blocks.tall
        end = min(i + blocks.tall, blocks.lines)
        top, bottom = max(0, i - t.up + 1), min(t.height, end)
        source = x + n * t.image
        if t.copied:
            lay(band, source, channels, consecutive, 1, 1, top, bottom - top, own)
            source = own
        else:
            source += top * t.line
        for k in range(bottom - top):
            clear(columns + k * t.wide, before // 4)
            clear(columns + (k + 1) * t.wide - behind, behind // 4)
        if bottom > top:
            products(
                t.walk, (bottom - top) * t.width, source, places,
                len(offsets), offsets, lengths, pieces,
                filters, t.depth * PANEL, t.columns, columns + before, targets, sums,
            )  # fmt: skip
        for k in range(i * t.stride_y, end * t.stride_y):
            at = k - t.top
            if not 0 <= at < t.out_height:
                continue
            for u in range(t.up):
                seen = k // t.stride_y - u
                inside = top <= seen < bottom
                begin[u] = columns + (seen - top) * t.wide if inside else empty
                begin[u] += before + (u * t.stride_y + k % t.stride_y) * t.across * group
            for j in range(t.spilt):
                for part in range(0, group, VECTOR_BYTES):
                    total = zeros()
                    for u in range(t.up):
                        for v in range(t.across):
                            total = total + load(begin[u] + (j - v) * pitch + v * group + part)
                    store(line + j * group + part, total)
            target = y + 4 * (n * t.out_height + at) * t.out_width * t.few
            move(line + 4 * t.left * t.few, target, t.out_width * t.few)


class Share(NamedTuple):
    """What `correlate` has to know beside its tables; steps are in bytes."""

    begin: Walk
    proceed: Walk
    copied: bool  # the output gradient, or in place
    image: int  # of the source
    stride: int  # lines of it from one line of outputs to the next
    above: int  # lines that the first outputs see above its first
    seen: int  # lines that one line of outputs sees
    g_image: int  # of the output gradient
    g_line: int
    g_panel: int  # where it is read
    parts: int  # of a line, each a run
    columns: int
    wide: int  # panels of a task
    shares: int
    size: int  # bytes of the sums of a share


@jit()
def correlate(
    t: Share,
    blocks: Blocks,
    band: Band,
    channels: np.ndarray,
    consecutive: np.ndarray,
    g_band: Band,
    g_channels: np.ndarray,
    g_consecutive: np.ndarray,
    starts: np.ndarray,
    places: np.ndarray,
    targets: np.ndarray,
    offsets: np.ndarray,
    lengths: np.ndarray,
    pieces: np.ndarray,
    x: int,
    g: int,
    out: int,
    own: int,
    g_own: int,
    sums: int,
    first: int,
    last: int,
) -> None:
    """Filter gradients, or `shares` summands of them.

    A task is a share of the blocks of outputs, some planes of channels, and some panels of filters.
    starts[k] are the first plane and the first row of the k-th part of the channels.
    """
    down = -(-blocks.lines // blocks.tall)
    total = -(-blocks.images // blocks.some) * down
    across = -(-t.columns // (t.wide * WIDE))
    parts = len(starts) - 1
    for task in range(first, last):
        share, part, panel = task // (across * parts), task // across % parts, task % across
        panel *= t.wide
        columns = min(t.wide * WIDE, t.columns - panel * WIDE)
        plane, row = starts[part]
        planes, rows = starts[part + 1, 0] - plane, starts[part + 1, 1] - row
        begin = share * total // t.shares
        for block in range(begin, (share + 1) * total // t.shares):
            n, i = block // down * blocks.some, block % down * blocks.tall
            images, lines = min(blocks.some, blocks.images - n), min(blocks.tall, blocks.lines - i)
            lay(
                band, x + n * t.image, channels[plane:], consecutive[plane:], planes,
                images, i * t.stride - t.above, (lines - 1) * t.stride + t.seen, own,
            )  # fmt: skip
            factor = g + n * t.g_image
            if t.copied:
                lay(
                    g_band, factor, g_channels[panel:], g_consecutive[panel:],
                    -(-columns // WIDE), images, i, lines, g_own,
                )  # fmt: skip
                factor = g_own
            else:
                factor += i * t.g_line + panel * PANEL
            products(
                t.begin if block == begin else t.proceed, rows, own, places[row:],
                images * lines * t.parts, offsets, lengths, pieces,
                factor, t.g_panel, columns,
                out + share * t.size + panel * PANEL, targets[row:], sums,
            )  # fmt: skip
