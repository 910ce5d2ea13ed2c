"""Winograd's way back from the products of all frequencies: to outputs and to both gradients."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from typing import NamedTuple

import numpy as np

from ...compiler.codegen import built
from ...gemm.blocking import A_BLOCK_BYTES, B_ROW_BYTES, MR, NR_VECTORS
from ...isa.amx import AMX
from ...isa.simd import LANES, VECTOR_BYTES
from .codegen import transforms
from .forward import into_frequencies
from .problem import (
    GAP,
    Layer,
    compiled,
    filter_step,
    filter_units,
    group_step,
    outputs_of,
    panel_step,
    pixels_of,
    place_of,
    plane_step,
    row_of,
)

if AMX:
    from ...gemm.gemm_amx import gemm_nn, gemm_tn, workspace_bytes
else:
    from ...gemm.gemm_simd import gemm_nn, gemm_tn, workspace_bytes

# Blocks of channels whose filters are transformed at a time, if not kept; an even number.
FRESH = 64 // LANES

__all__ = ["FRESH", "Back", "from_frequencies", "workspace_bytes"]


class Back(NamedTuple):
    """Compiled loops for one scheme F(m, r)."""

    outputs: Callable[..., None]
    image_gradients: Callable[..., None]
    filter_gradients: Callable[..., None]


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
        pieces: int,
    ) -> None:
        """Products with `width` panels of filters that are transformed here, some rows at a time,
        so that they never leave the second cache: their `blocks` blocks from row `start` of all
        phases on.
        """
        table = np.empty(2 * r * r if AMX else r * r, np.int64)
        plane = filter_step(FRESH * LANES, width)
        vectors = min(width * NR_VECTORS, columns // LANES - panel * NR_VECTORS)
        for block in range(0, blocks, FRESH):
            count = min(FRESH, blocks - block)
            for p in range(width):
                for unit in range(filter_units(count * LANES)):
                    i = start + block * LANES + row_of(unit)
                    place = u + p * panel_step(count * LANES) + place_of(unit)
                    filter_row(
                        w, zero, t.kernel, t.stride, rows, columns, i, start + blocks * LANES,
                        panel + p, place, plane, True, table,
                    )  # fmt: skip
            tiles = a + block * A_BLOCK_BYTES
            gemm_nn(
                tiles, a_plane, a_step, count, u, plane, vectors, groups, count, c, c_plane, planes,
                block > 0, zero, pieces,
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
        pieces: int,
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
        panels = -(-t.filters // (NR_VECTORS * LANES))
        groups = t.groups * t.chunks
        step, plane = group_step(blocks), plane_step(blocks, groups)
        b_plane = filter_step(blocks * LANES, panels)
        c_step = wide * NR_VECTORS * A_BLOCK_BYTES
        c_plane = rows * c_step + GAP
        across = -(-panels // wide)
        for task in range(first, last):
            start, panel = task // across * rows, task % across * wide
            count, width = min(rows, groups - start), min(wide, panels - panel)
            vectors = min(width * NR_VECTORS, t.filters // LANES - panel * NR_VECTORS)
            a = images + start * step
            if taps:
                deep, columns = t.channels, t.filters
                fresh_products(
                    t, a, plane, step, count, taps, zero, deep, columns, 0, blocks, panel,
                    width, filters, c, c_plane, pieces,
                )  # fmt: skip
            else:
                b = filters + panel * panel_step(blocks * LANES)
                gemm_nn(
                    a, plane, step, blocks, b, b_plane, vectors, count, depth, c, c_plane, planes,
                    False, zero, pieces,
                )  # fmt: skip
            for group in range(count):
                for row in range(MR):
                    outputs_of(t, out, nowhere, start + group, row, table)
                    for k in range(m * m):
                        table[k] += panel * B_ROW_BYTES
                    source = c + group * width * NR_VECTORS * A_BLOCK_BYTES + row * VECTOR_BYTES
                    output(source, c_plane, A_BLOCK_BYTES, table, VECTOR_BYTES, vectors)

    @partial(compiled, m=m, r=r)
    def image_gradients(
        t: Layer,
        gradients: int,
        filters: int,
        taps: int,
        c: int,
        zero: int,
        nowhere: int,
        pieces: int,
        out: int,
        rows: int,
        wide: int,
        together: int,
        depth: int,
        first: int,
        last: int,
    ) -> None:
        """Image gradients from transformed output gradients and filters.

        A task is a chunk of whole images and `wide` panels of channels, those of `together` phases
        side by side: tiles overlap, and are added to what the tiles above and to the left have left
        there. `taps` as above, transposed.
        """
        table, before = np.empty(planes, np.int64), np.empty(planes, np.int64)
        blocks = t.filters // LANES
        panels = -(-t.channels // (NR_VECTORS * LANES))
        step, plane = group_step(blocks), plane_step(blocks, t.groups * t.chunks)
        b_plane = filter_step(t.filters, t.stride**2 * panels)
        c_plane = rows * wide * NR_VECTORS * A_BLOCK_BYTES + GAP
        across, turns = -(-together * panels // wide), t.stride**2 // together
        for task in range(first, last):
            column, turn = task % across * wide, task // across % turns * together
            chunk = task // (across * turns)
            width = min(wide, together * panels - column)
            vectors = width * NR_VECTORS
            if together == 1:
                vectors = min(vectors, t.channels // LANES - column * NR_VECTORS)
            b = filters + (turn * panels + column) * panel_step(t.filters)
            for start in range(chunk * t.groups, (chunk + 1) * t.groups, rows):
                count = min(rows, (chunk + 1) * t.groups - start)
                a = gradients + start * step
                if taps:
                    deep, columns = t.filters, t.channels
                    fresh_products(
                        t, a, plane, step, count, taps, zero, deep, columns, turn * deep, blocks,
                        column, width, filters, c, c_plane, pieces,
                    )  # fmt: skip
                else:
                    gemm_nn(
                        a, plane, step, blocks, b, b_plane, vectors, count, depth, c, c_plane,
                        planes, False, zero, pieces,
                    )  # fmt: skip
                here = column
                while here < column + width:
                    phase, panel = turn + here // panels, here % panels
                    some = min(panels - panel, column + width - here)
                    full = min(some * NR_VECTORS, t.channels // LANES - panel * NR_VECTORS)
                    sums = c + (here - column) * NR_VECTORS * A_BLOCK_BYTES
                    here += some
                    for group in range(start, start + count):
                        for row in range(MR):
                            if not pixels_of(
                                t, out, nowhere, zero, group, row, phase, panel * B_ROW_BYTES, table,
                                before,
                            ):  # fmt: skip
                                continue
                            source = (
                                sums
                                + (group - start) * width * NR_VECTORS * A_BLOCK_BYTES
                                + row * VECTOR_BYTES
                            )
                            image_gradient(
                                source, c_plane, A_BLOCK_BYTES, before, table, VECTOR_BYTES, full
                            )

    @partial(compiled, m=m, r=r)
    def filter_gradients(
        t: Layer,
        images: int,
        gradients: int,
        c: int,
        zero: int,
        nowhere: int,
        pieces: int,
        out: int,
        rows: int,
        wide: int,
        depth: int,
        first: int,
        last: int,
    ) -> None:
        """Filter gradients (kernel, kernel, channels, filters) from both transforms.

        A task is `rows` of all phases' channels and `wide` panels of filters; the sum over tiles is
        cut in parts of `depth` groups.
        """
        table = np.empty(r * r, np.int64)
        a_blocks, b_blocks = t.stride**2 * t.channels // LANES, t.filters // LANES
        groups = t.groups * t.chunks
        a_step, a_plane = group_step(a_blocks), plane_step(a_blocks, groups)
        b_step, b_plane = group_step(b_blocks), plane_step(b_blocks, groups)
        panels = -(-t.filters // (NR_VECTORS * LANES))
        across = -(-panels // wide)
        c_row = wide * B_ROW_BYTES
        c_plane = -(-rows // MR) * MR * c_row + GAP
        for task in range(first, last):
            top, panel = task // across * rows, task % across * wide
            tall, width = min(rows, a_blocks * LANES - top), min(wide, panels - panel)
            vectors = min(width * NR_VECTORS, b_blocks - panel * NR_VECTORS)
            b = gradients + panel * NR_VECTORS * A_BLOCK_BYTES
            gemm_tn(
                images, a_plane, a_step, top, tall, b, b_plane, b_step, vectors, groups, depth, c,
                c_plane, c_row, planes, zero, pieces,
            )  # fmt: skip
            for row in range(tall):
                phase, channel = (top + row) // t.channels, (top + row) % t.channels
                for u in range(r):
                    for v in range(r):
                        y = t.stride * u + phase // t.stride
                        x = t.stride * v + phase % t.stride
                        at = out + 4 * ((y * t.kernel + x) * t.channels + channel) * t.filters
                        known = y < t.kernel and x < t.kernel
                        table[u * r + v] = at + panel * B_ROW_BYTES if known else nowhere
                filter_gradient(
                    c + row * c_row, c_plane, VECTOR_BYTES, table, VECTOR_BYTES, vectors
                )

    return Back(outputs, image_gradients, filter_gradients)
