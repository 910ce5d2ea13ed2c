"""Winograd's products for every frequency, and the way back: to outputs and to both gradients."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from typing import NamedTuple

import numpy as np

from .generate import COLUMNS, OUTER, OUTER_HALF, ROWS, built, products, transforms
from .jit import jit
from .layer import (
    BLOCK,
    PANEL,
    Layer,
    compiled,
    filter_step,
    group_step,
    outputs_of,
    plane_step,
)
from .simd import LANES, LINE, VECTOR
from .tiles import into_frequencies

FRESH = 64 // LANES  # blocks of channels whose filters are transformed at a time, if not kept


class Back(NamedTuple):
    """Compiled loops for one scheme F(m, r)."""

    outputs: Callable[..., None]
    image_gradients: Callable[..., None]
    filter_gradients: Callable[..., None]


_tiles = {name: built(source) for name, source in products().items()}
_multiply, _multiply_half = _tiles["multiply"], _tiles["multiply_half"]
_outer, _outer_add = _tiles["outer"], _tiles["outer_add"]
_outer_half, _outer_half_add = _tiles["outer_half"], _tiles["outer_half_add"]


@jit()
def _products(
    a: int,
    a_plane: int,
    a_step: int,
    blocks: int,
    b: int,
    b_plane: int,
    vectors: int,
    groups: int,
    depth: int,
    c: int,
    c_plane: int,
    planes: int,
    add: bool,
) -> None:
    """c = a b in every plane, or c += a b with `add`, for `groups` groups of tiles and panels of
    `vectors` vectors of filters in all.

    The sum over `blocks` blocks of channels is cut in pieces of `depth`, so that a panel's piece
    stays near while all groups pass by. Meanwhile the next panel's piece is fetched, and the next
    plane's tiles: each is used by one plane only, so nothing else brings it near.
    """
    panel, panels = blocks * LANES * PANEL, -(-vectors // COLUMNS)
    c_step = panels * COLUMNS * BLOCK
    b_lines = -(-LANES * PANEL // LINE // groups)  # to fetch with each block of each group
    for plane in range(planes):
        a_lines = -(-BLOCK // LINE // panels) if plane + 1 < planes else 0
        for start in range(0, blocks, depth):
            count = min(depth, blocks - start)
            after = (start + count) % blocks * LANES * PANEL  # where the piece behind this one is
            if start + count == blocks:
                after += b_plane
            for p in range(panels):
                factor = b + plane * b_plane + p * panel + start * LANES * PANEL
                b_next = factor + panel if p + 1 < panels else b + plane * b_plane + after
                half = vectors - p * COLUMNS <= COLUMNS // 2
                for group in range(groups):
                    tiles = a + plane * a_plane + group * a_step + start * BLOCK
                    target = c + plane * c_plane + group * c_step + p * COLUMNS * BLOCK
                    a_next = tiles + a_plane + p * count * a_lines * LINE
                    more = add or start > 0
                    if half:
                        _multiply_half(
                            tiles, factor, target, count, b_next, b_lines, a_next, a_lines, more
                        )
                    else:
                        _multiply(
                            tiles, factor, target, count, b_next, b_lines, a_next, a_lines, more
                        )
                    b_next += count * b_lines * LINE


@jit()
def _outer_product(
    a: int,
    a_step: int,
    b: int,
    b_step: int,
    groups: int,
    c: int,
    row: int,
    half: bool,
    add: bool,
) -> None:
    if half:
        if add:
            _outer_half_add(a, a_step, b, b_step, groups, c, row)
        else:
            _outer_half(a, a_step, b, b_step, groups, c, row)
    elif add:
        _outer_add(a, a_step, b, b_step, groups, c, row)
    else:
        _outer(a, a_step, b, b_step, groups, c, row)


@cache
def from_frequencies(m: int, r: int) -> Back:
    """The loops of F(m, r), compiled when first called."""
    size = m + r - 1
    planes = size * size
    sources = transforms(m, r)
    output, image_gradient = built(sources["output"]), built(sources["image_gradient"])
    filter_gradient = built(sources["filter_gradient"])
    filter_row = into_frequencies(m, r).filter_row

    @partial(compiled, m=m, r=r)
    def fresh_products(
        t: Layer,
        a: int,
        a_plane: int,
        a_step: int,
        groups: int,
        w: int,
        zero: int,
        rows: int,
        columns: int,
        start: int,
        blocks: int,
        panel: int,
        width: int,
        u: int,
        c: int,
        c_plane: int,
    ) -> None:
        """Products with `width` panels of filters that are transformed here, some rows at a time,
        so that they never leave the second cache: their `blocks` blocks from row `start` of all
        phases on.
        """
        table = np.empty(r * r, np.int64)
        plane = width * FRESH * LANES * PANEL + 3 * LINE
        vectors = min(width * COLUMNS, columns // LANES - panel * COLUMNS)
        for block in range(0, blocks, FRESH):
            count = min(FRESH, blocks - block)
            for p in range(width):
                for k in range(count * LANES):
                    i = start + block * LANES + k
                    place = u + (p * count * LANES + k) * PANEL
                    filter_row(
                        w, zero, t.kernel, t.stride, rows, columns, i, panel + p, place, plane,
                        True, table,
                    )  # fmt: skip
            tiles = a + block * BLOCK
            _products(
                tiles, a_plane, a_step, count, u, plane, vectors, groups, count, c, c_plane, planes,
                block > 0,
            )  # fmt: skip

    @partial(compiled, m=m, r=r)
    def outputs(
        t: Layer,
        images: int,
        filters: int,
        taps: int,
        c: int,
        zero: int,
        nowhere: int,
        out: int,
        rows: int,
        wide: int,
        depth: int,
        first: int,
        last: int,
    ) -> None:
        """Outputs from transformed images and filters: `rows` groups x `wide` panels a task.

        With `taps`, the filters as they are, `filters` is room to transform them in.
        """
        table = np.empty(m * m, np.int64)
        blocks = t.stride**2 * t.channels // LANES
        panels = -(-t.filters // (COLUMNS * LANES))
        groups = t.groups * t.chunks
        step, plane = group_step(blocks), plane_step(blocks, groups)
        b_plane = filter_step(blocks * LANES, panels)
        c_step = wide * COLUMNS * BLOCK
        c_plane = rows * c_step + 3 * LINE
        across = -(-panels // wide)
        for task in range(first, last):
            start, panel = task // across * rows, task % across * wide
            count, width = min(rows, groups - start), min(wide, panels - panel)
            vectors = min(width * COLUMNS, t.filters // LANES - panel * COLUMNS)
            a = images + start * step
            if taps:
                deep, columns = t.channels, t.filters
                fresh_products(
                    t, a, plane, step, count, taps, zero, deep, columns, 0, blocks, panel,
                    width, filters, c, c_plane,
                )  # fmt: skip
            else:
                b = filters + panel * blocks * LANES * PANEL
                _products(
                    a, plane, step, blocks, b, b_plane, vectors, count, depth, c, c_plane, planes,
                    False,
                )  # fmt: skip
            for group in range(count):
                for row in range(ROWS):
                    outputs_of(t, out, nowhere, start + group, row, table)
                    for k in range(m * m):
                        table[k] += panel * PANEL
                    source = c + group * width * COLUMNS * BLOCK + row * VECTOR
                    output(source, c_plane, BLOCK, table, VECTOR, vectors)

    @partial(compiled, m=m, r=r)
    def image_gradients(
        t: Layer,
        gradients: int,
        filters: int,
        taps: int,
        c: int,
        zero: int,
        nowhere: int,
        out: int,
        rows: int,
        wide: int,
        depth: int,
        first: int,
        last: int,
    ) -> None:
        """Image gradients from transformed output gradients and filters.

        A task is a chunk of whole images, one phase, and `wide` panels of channels: tiles overlap,
        and are added to what the tiles above and to the left have left there. `taps` as above,
        transposed.
        """
        table, before = np.empty(planes, np.int64), np.empty(planes, np.int64)
        blocks = t.filters // LANES
        panels = -(-t.channels // (COLUMNS * LANES))
        step, plane = group_step(blocks), plane_step(blocks, t.groups * t.chunks)
        b_plane = filter_step(t.filters, t.stride**2 * panels)
        c_plane = rows * wide * COLUMNS * BLOCK + 3 * LINE
        across = -(-panels // wide)
        for task in range(first, last):
            panel, phase = task % across * wide, task // across % t.stride**2
            chunk = task // (across * t.stride**2)
            width = min(wide, panels - panel)
            vectors = min(width * COLUMNS, t.channels // LANES - panel * COLUMNS)
            b = filters + (phase * panels + panel) * t.filters * PANEL
            for start in range(chunk * t.groups, (chunk + 1) * t.groups, rows):
                count = min(rows, (chunk + 1) * t.groups - start)
                a = gradients + start * step
                if taps:
                    deep, columns = t.filters, t.channels
                    fresh_products(
                        t, a, plane, step, count, taps, zero, deep, columns, phase * deep, blocks,
                        panel, width, filters, c, c_plane,
                    )  # fmt: skip
                else:
                    _products(
                        a, plane, step, blocks, b, b_plane, vectors, count, depth, c, c_plane,
                        planes, False,
                    )  # fmt: skip
                for group in range(start, start + count):
                    for row in range(ROWS):
                        tile = group % t.groups * ROWS + row
                        n = chunk * t.chunk + tile // (t.down * t.across)
                        if tile >= t.chunk * t.down * t.across or n >= t.images:
                            continue
                        tile_y, tile_x = tile // t.across % t.down, tile % t.across
                        top = tile_y * m * t.stride + phase // t.stride - t.top
                        left = tile_x * m * t.stride + phase % t.stride - t.left
                        for i in range(size):
                            y = top + i * t.stride
                            line = out + 4 * (n * t.height + y) * t.width * t.channels
                            for j in range(size):
                                z = left + j * t.stride
                                at, old = nowhere, zero
                                if 0 <= y < t.height and 0 <= z < t.width:
                                    at = line + 4 * z * t.channels + panel * PANEL
                                    if (tile_y > 0 and i < r - 1) or (tile_x > 0 and j < r - 1):
                                        old = at
                                table[i * size + j], before[i * size + j] = at, old
                        source = c + (group - start) * width * COLUMNS * BLOCK + row * VECTOR
                        image_gradient(source, c_plane, BLOCK, before, table, VECTOR, vectors)

    @partial(compiled, m=m, r=r)
    def filter_gradients(
        t: Layer,
        images: int,
        gradients: int,
        c: int,
        zero: int,
        nowhere: int,
        out: int,
        rows: int,
        wide: int,
        depth: int,
        first: int,
        last: int,
    ) -> None:
        """Filter gradients (kernel, kernel, channels, filters) from both transforms.

        A task is `rows` channels of one phase and `wide` panels of filters; the sum over tiles is
        cut in pieces of `depth` groups, which stay in the first cache.
        """
        table = np.empty(r * r, np.int64)
        a_blocks, b_blocks = t.stride**2 * t.channels // LANES, t.filters // LANES
        groups = t.groups * t.chunks
        a_step, a_plane = group_step(a_blocks), plane_step(a_blocks, groups)
        b_step, b_plane = group_step(b_blocks), plane_step(b_blocks, groups)
        panels = -(-t.filters // (COLUMNS * LANES))
        across = -(-panels // wide)
        c_row = wide * PANEL
        c_plane = rows * c_row + 3 * LINE
        for task in range(first, last):
            top, panel = task // across * rows, task % across * wide
            tall, width = min(rows, a_blocks * LANES - top), min(wide, panels - panel)
            vectors = min(width * COLUMNS, b_blocks - panel * COLUMNS)
            for plane in range(planes):
                for start in range(0, groups, depth):
                    count = min(depth, groups - start)
                    for p in range(width):
                        b = gradients + plane * b_plane + start * b_step
                        b += (panel + p) * COLUMNS * BLOCK
                        half = vectors - p * COLUMNS <= COLUMNS // 2
                        for row in range(0, tall, OUTER_HALF if half else OUTER):
                            channel = top + row
                            a = images + plane * a_plane + start * a_step
                            a += channel // LANES * BLOCK + channel % LANES * 4
                            target = c + plane * c_plane + row * c_row + p * PANEL
                            _outer_product(
                                a, a_step, b, b_step, count, target, c_row, half, start > 0
                            )
            for row in range(tall):
                phase, channel = (top + row) // t.channels, (top + row) % t.channels
                for u in range(r):
                    for v in range(r):
                        y = t.stride * u + phase // t.stride
                        x = t.stride * v + phase % t.stride
                        at = out + 4 * ((y * t.kernel + x) * t.channels + channel) * t.filters
                        known = y < t.kernel and x < t.kernel
                        table[u * r + v] = at + panel * PANEL if known else nowhere
                filter_gradient(c + row * c_row, c_plane, VECTOR, table, VECTOR, vectors)

    return Back(outputs, image_gradients, filter_gradients)
